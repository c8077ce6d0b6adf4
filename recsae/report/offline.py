"""A page that is one file: it opens offline, makes no request, and runs no script but its own.

The templates escape what they print; what a script shows travels as JSON and becomes text nodes,
never markup. The page's own policy allows no other script and no request.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsae.report.escape import script_json
from recsae.report.words import formats

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_TEMPLATES = Path(__file__).parent / "templates"
_FILTERS: dict[str, Callable[..., Any]] = {
    "pct": formats.percent,
    "num": formats.number,
    "at_least": formats.floor_percent,
    "points": formats.points,
    "short": formats.short,
    "count": lambda n: f"{n:,}",
}


def offline_page(
    template: str,
    *,
    styles: Sequence[str],
    scripts: Sequence[str],
    data: Any,
    filters: Mapping[str, Callable[..., Any]],
    **shown: Any,
) -> str:
    """Return the text of a page.

    Parameters
    ----------
    template
        File of the templates folder. ``head.html``, which it includes, has the policy.
    styles, scripts
        Files of the same folder, one after another in the page; the scripts as the data flows, in a
        scope of their own.
    data
        What the scripts read, as JSON.
    filters
        Filters of the template besides those for figures.
    shown
        What the template names.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update({**_FILTERS, **filters})
    script = '(() => {\n"use strict";\n' + "\n".join(map(_read, scripts)) + "\n})();"
    return environment.get_template(template).render(
        **shown,
        style=Markup("\n".join(map(_read, styles))),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=Markup(script_json(data)),
    )


def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8").rstrip("\n")
