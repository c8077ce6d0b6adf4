"""The page's charts, kept in the run's folder and drawn anew only where they show something else.

Drawing takes most of a second, half of it to import Matplotlib.
"""

import json
import re
from pathlib import Path
from typing import NamedTuple

from recsae.core import layout
from recsae.core.files import UNREADABLE, digest_of, digest_of_file, read_text
from recsae.report import figures

_TAG = re.compile(r"<[/!?]?([^\s/>]*)")
_TAGS = frozenset({"svg", "defs", "style", "g", "path", "use", "text", "clipPath", "rect"})
"""All that Matplotlib draws the charts with."""
_NEVER_DRAWN = re.compile(r"""\son\w+\s*=|href\s*=\s*["']?(?!["'#])|@import|url\((?!#)""", re.I)
"""Handlers of events, links to elsewhere."""


class KeptFigures(NamedTuple):
    """The content of ``figures.json``."""

    drawn_from: str
    """Digest of what the charts show, and of how they are drawn."""
    svg: dict[str, str]
    """The chart of each name, as :func:`recsae.report.figures.figures` returns them."""

    def to_json(self) -> str:
        """Return the text of ``figures.json``."""
        return json.dumps(self._asdict(), ensure_ascii=False, indent=1) + "\n"


def kept_figures(folder: Path, data: figures.Charted) -> KeptFigures:
    """Return the charts: those kept in a folder, or drawn if it has none of the same data.

    Parameters
    ----------
    folder
        The run's folder. A ``figures.json`` in it that is damaged, or that holds what charts never
        do, such as a script, counts as none.
    data
        What the charts show.
    """
    drawn_from = _digest(data)
    try:
        kept = KeptFigures(**json.loads(read_text(folder / layout.FIGURES)))
        if kept.drawn_from == drawn_from and all(map(_is_chart, kept.svg.values())):
            return kept
    except (*UNREADABLE, TypeError, AttributeError):
        pass
    return KeptFigures(drawn_from, figures.figures(data))


def _digest(data: figures.Charted) -> str:
    shown = [
        data.codes.model_dump(),
        {code: share.model_dump() for code, share in data.shares.items()},
        *(data.threshold, data.concepts),
        [row.model_dump() for row in data.goals],
    ]
    source = map(digest_of_file, sorted(Path(__file__).parent.rglob("*.py")))
    return digest_of([*source, shown])


def _is_chart(svg: str) -> bool:
    """Whether a text has nothing but what the charts are drawn with.

    >>> _is_chart('<svg width="9"><path/></svg>'), _is_chart('<svg width="9"><script/></svg>')
    (True, False)
    """
    whole = svg.startswith("<svg ") and svg.endswith("</svg>")
    return whole and not set(_TAG.findall(svg)) - _TAGS and not _NEVER_DRAWN.search(svg)
