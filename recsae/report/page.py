"""``report.html``: one file that opens offline and makes no request.

The template escapes what it prints; what the script shows travels as JSON and becomes text
nodes, never markup. The page's own policy allows no other script and no request.
"""

import base64
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from recsae.report.escape import script_json
from recsae.report.figures import figures, goal_figures
from recsae.report.page_data import page_data
from recsae.report.schema.report import Report
from recsae.report.schema.turn import TurnData
from recsae.report.words import findings, formats
from recsae.report.words import goals as goal_words
from recsae.report.words import headlines as words

_TEMPLATES = Path(__file__).parent / "templates"
_STYLES = ("page.css", "map.css", "turn.css")
_SCRIPTS = ("helpers.js", "evidence.js", "table.js", "map.js", "turn.js", "page.js")


def page(report: Report, turn: TurnData | None = None, sliders: Sequence[int] | None = None) -> str:
    """Return the text of ``report.html``.

    With ``turn`` concepts can be turned in it; ``sliders`` are latents that have one when it
    opens, by default the best distinct ones.
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
    environment.filters.update(
        pct=formats.percent,
        num=formats.number,
        at_least=formats.floor_percent,
        points=formats.points,
        short=formats.short,
        share_of=words.share_of,
        count=lambda n: f"{n:,}",
        **_GOAL_FILTERS,
    )
    script = _script()
    placed = [c for c in report.concepts.list if c.x is not None]
    return environment.get_template("page.html").render(
        r=report,
        verdict=words.verdict(report),
        headlines=words.headlines(report),
        heldout_note=words.heldout_note(report),
        examples=[c.name for c in words.best_distinct(report, 3)],
        code_names=words.CODE_NAMES,
        core=findings.core(report),
        labels_stand=words.standing(words.label_outcomes(report)),
        mean_auc=lambda code: words.mean_auc(report.attributes, code),
        methods=findings.METHODS,
        measures=findings.MEASURES,
        has_lift=report.supervised is not None and "lift" in report.supervised.means,
        again=findings.stability_section(report),
        cost=findings.cost(report),
        corrections=findings.corrections(report),
        **_goals(report),
        turn=turn,
        n_placed=len(placed),
        n_mapped=sum(c.correction != "rejected" for c in placed),
        style=Markup("\n".join(map(_read, _STYLES))),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=Markup(script_json(page_data(report, turn, sliders))),
        figures={name: Markup(svg) for name, svg in figures(report).items()},
    )


_GOAL_FILTERS: dict[str, Callable[..., Any]] = {
    "amount": goal_words.amount,
    "area": goal_words.area,
    "correlation": formats.correlation,
    "from_to": goal_words.from_to,
    "interval": formats.interval,
    "is_share": goal_words.is_share,
    "signed": formats.signed,
    "times": formats.times,
}


def _goals(report: Report) -> dict[str, Any]:
    """Return what the section on steering by goal shows."""
    from markupsafe import Markup

    shown = goal_words.goals(report)
    tried = {way.way for one in shown for way in one.ways}
    check = report.goals.check if report.goals else None
    return {
        "steering": goal_words.steering_line(report),
        "goals": shown,
        "charts": [Markup(svg) for svg in goal_figures(report)],
        "losses": goal_words.LOSSES,
        "ways": {name: does for name, does in goal_words.METHODS.items() if name in tried},
        "interventions": goal_words.INTERVENTIONS,
        "check_says": goal_words.check_says(check) if check else "",
    }


def _script() -> str:
    """Return the page's script: its files, as the data flows, in a scope of their own."""
    return '(() => {\n"use strict";\n' + "\n".join(map(_read, _SCRIPTS)) + "\n})();"


def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8").rstrip("\n")
