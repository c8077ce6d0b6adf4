"""The report's charts as inline SVG that follows the page's colours.

Matplotlib draws with marker colours that stand for the page's CSS variables, so one drawing
serves the light and the dark scheme. The same report gives the same bytes.
"""

import re
from collections.abc import Callable
from functools import partial
from html import escape
from io import StringIO
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from recsae.report.schema.goals import ReachedGoal
from recsae.report.schema.parts import Code
from recsae.report.schema.report import Baselines, NamedShare, Report
from recsae.report.words.concepts import fire_rate
from recsae.report.words.formats import number, percent, short
from recsae.report.words.goals import LATENTS, is_share, visible
from recsae.report.words.headlines import CODE_NAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

# colour drawn -> CSS variable it stands for
INK = "#010101"
MUTED = "#020202"
LINE = "#030303"
ACCENT = "#040404"
VERIFIED = "#050505"
SUPPORTED = "#060606"
UNSUPPORTED = "#070707"
REST = "#080808"
SOFT = "#090909"
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    ACCENT: "var(--accent)",
    VERIFIED: "var(--verified)",
    SUPPORTED: "var(--supported)",
    UNSUPPORTED: "var(--unsupported)",
    REST: "var(--untested)",
    SOFT: "var(--soft)",
}
_MATPLOTLIB: Any = {
    "svg.fonttype": "none",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "legend.frameon": False,
}
_MARKERS: dict[Code, str] = {
    "sae": "o",
    "core": "v",
    "plain": "P",
    "gates": "X",
    "random": "s",
    "neurons": "^",
    "pca": "D",
}
"""Of the codes that charts show, in their order."""
LOWEST_NDCG_KEPT = 0.9
"""Goal charts end here: a method that keeps less of NDCG@10 is no choice."""
LONGEST_LINE_NAME = 28
"""Letters of a method's name beside its line."""
LABEL_GAP = 0.072
"""Between the names at the right, as a part of the chart's height."""
_METHOD_STYLES: dict[str, dict[str, Any]] = {
    LATENTS: {"color": ACCENT, "linewidth": 2.6, "marker": "o", "markersize": 5, "zorder": 4},
    "re-ranking": {"color": SUPPORTED, "linewidth": 1.6, "marker": "s", "zorder": 3},
    "re-ranking by probability": {
        "color": SUPPORTED,
        "linewidth": 1.6,
        "linestyle": "--",
        "marker": "D",
        "zorder": 3,
    },
    "class mean": {"color": MUTED, "marker": "^"},
    "probe": {"color": MUTED, "marker": "v"},
    "neurons": {"color": INK, "marker": "x"},
    "reconstruction steering": {"color": ACCENT, "linestyle": "--", "marker": "o"},
    "random direction": {"color": MUTED, "linestyle": ":"},
}
_OTHER_STYLE: dict[str, Any] = {"color": MUTED, "linewidth": 1.1, "markersize": 3.5, "zorder": 2}


class Point(NamedTuple):
    """What the charts show of a concept."""

    status: str
    precision: float | None
    recall: float | None
    fire_rate: float | None


class Charted(NamedTuple):
    """All that the charts show of a report, so that equal ones have equal charts."""

    codes: Baselines
    shares: dict[Code, NamedShare]
    threshold: float | None
    concepts: list[Point]
    goals: list[ReachedGoal]


def charted(report: Report) -> Charted:
    """Return what the charts show of a report."""
    return Charted(
        report.baselines,
        report.named_share,
        report.protocol.threshold,
        [Point(c.status, c.precision, c.recall, fire_rate(c)) for c in report.concepts.list],
        report.goals.rows if report.goals else [],
    )


def figures(data: Charted) -> dict[str, str]:
    """Draw every chart there is data for.

    Returns
    -------
    dict
        ``verified``, ``share``, ``scatter`` and ``firing``, and ``goal0``, ``goal1``, ... of goals,
        each an ``<svg>`` element; absent where there is nothing to draw.
    """
    draws: dict[str, Callable[[], Canvas | None]] = {
        name: partial(draw, data) for name, draw in _DRAW.items()
    }
    return drawn(draws | {f"goal{n}": partial(_curves, row) for n, row in enumerate(data.goals)})


def drawn(draws: "dict[str, Callable[[], Canvas | None]]") -> dict[str, str]:
    """Let each function draw in the report's style; an ``<svg>`` element for those that did."""
    import matplotlib

    drawings: dict[str, str] = {}
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_MATPLOTLIB)
        for name, draw in draws.items():
            matplotlib.rcParams["svg.hashsalt"] = name
            if (canvas := draw()) is not None:
                drawings[name] = _svg(canvas, name)
    return drawings


def new_canvas(width: float, height: float) -> "tuple[Canvas, Axes]":
    """Return an empty drawing, in inches, and its only axes."""
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(width, height), layout="constrained")
    return canvas, canvas.subplots()


def _svg(canvas: "Canvas", name: str) -> str:
    """Return the drawing as an element that can stand in the page beside others.

    Its label is what it says to those who do not see it.
    """
    said = escape(str(canvas.get_label()), quote=True)
    out = StringIO()
    canvas.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    text = out.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.S)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{name}-", text)
    text = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1">', text, count=1)
    text = text.replace("<svg ", f'<svg role="img" aria-label="{said}" ', 1)
    text = text.replace("xlink:href", "href")
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    return text.strip()


def _scatter(data: Charted) -> "Canvas | None":
    """Precision against recall of every tested concept, coloured by status."""
    styles = (
        ("unsupported", UNSUPPORTED, "unsupported", "x"),
        ("supported", SUPPORTED, "supported", "^"),
        ("verified", VERIFIED, "verified", "o"),
    )
    tested = [c for c in data.concepts if c.precision is not None and c.recall is not None]
    if not tested:
        return None
    canvas, axes = new_canvas(5.2, 4.4)
    for status, colour, label, marker in styles:
        points = [c for c in tested if c.status == status]
        axes.plot(
            [c.recall or 0.0 for c in points],
            [c.precision or 0.0 for c in points],
            linestyle="none",
            marker=marker,
            markersize=4,
            color=colour,
            alpha=0.6,
            markeredgewidth=0 if marker != "x" else 1,
            label=f"{label} ({len(points):,})",
        )
    if (asked := data.threshold) is not None:  # of both, to be supported
        axes.plot([asked, asked, 1.02], [1.02, asked, asked], color=MUTED, linewidth=0.8)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set_xlabel("recall: active cases that the label finds")
    axes.set_ylabel("precision: how often the label is right")
    handles, labels = axes.get_legend_handles_labels()
    canvas.legend(
        handles[::-1],
        labels[::-1],
        loc="outside upper left",
        ncols=3,
        handletextpad=0.1,
        columnspacing=1,
    )
    canvas.set_label(f"Precision against recall of concepts: {', '.join(labels[::-1])}.")
    return canvas


def _verified(data: Charted) -> "Canvas | None":
    """Verified and distinct verified concepts of every code."""
    counts = {c: n for c in _MARKERS if (n := getattr(data.codes, c, None)) is not None}
    if not counts:
        return None
    canvas, axes = new_canvas(5.2, 3.6)
    for offset, key, colour, label in (
        (-0.2, "verified", SOFT, "verified"),
        (0.2, "distinct_verified", ACCENT, "of these, different"),
    ):
        heights = [getattr(n, key) for n in counts.values()]
        places = [i + offset for i in range(len(heights))]
        bars = axes.bar(places, heights, 0.38, color=colour, label=label)
        axes.bar_label(bars, [f"{h:,}" for h in heights], padding=2, fontsize=9, color=MUTED)
    axes.set_xticks(range(len(counts)), [CODE_NAMES[c].replace(" ", "\n", 1) for c in counts])
    axes.grid(axis="x", visible=False)
    axes.set_ylabel("concepts")
    canvas.legend(loc="outside upper left", ncols=2)
    said = [
        f"{CODE_NAMES[c]} {n.verified:,} and {n.distinct_verified:,}" for c, n in counts.items()
    ]
    canvas.set_label(f"Verified concepts, and how many of them differ: {'; '.join(said)}.")
    return canvas


def _share(data: Charted) -> "Canvas | None":
    """The share explained by 8, 16 and 32 verified concepts of every code."""
    if not data.shares:
        return None
    canvas, axes = new_canvas(5.2, 3.6)
    said = []
    for code, marker in _MARKERS.items():
        if (share := data.shares.get(code)) is None:
            continue
        sizes = [(8, share.of_8), (16, share.of_16), (32, share.of_32)]
        known = [(n, 100 * v) for n, v in sizes if v is not None]
        said.append(f"{CODE_NAMES[code]} {', '.join(f'{v:.0f}% by {n}' for n, v in known)}")
        axes.plot(
            [n for n, _ in known],
            [v for _, v in known],
            marker=marker,
            markersize=6 if code == "sae" else 4.5,
            linewidth=2.4 if code == "sae" else 1.2,
            color=ACCENT if code == "sae" else MUTED,
            label=CODE_NAMES[code],
        )
    axes.set_xticks([8, 16, 32])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("concepts used")
    axes.set_ylabel("share explained, %")
    canvas.legend(loc="outside upper left", ncols=2, handlelength=1.6)
    canvas.set_label(f"Share explained by so many verified concepts: {'; '.join(said)}.")
    return canvas


def _firing(data: Charted) -> "Canvas | None":
    """How often concepts are active, on a logarithmic scale."""
    rates = [c.fire_rate for c in data.concepts if c.fire_rate]
    if not rates:
        return None
    import numpy as np

    canvas, axes = new_canvas(5.2, 3.2)
    low = min(np.log10(min(rates)), -3.0)
    axes.hist(rates, bins=list(np.logspace(low, 0, 31)), color=ACCENT, rwidth=0.9)
    axes.set_xscale("log")
    ticks = [10.0**e for e in range(int(np.floor(low)), 1)]
    axes.set_xticks(ticks, [f"{100 * t:g}%" for t in ticks])
    axes.set_xlabel("share of held-out cases on which the concept is active")
    axes.set_ylabel("concepts")
    axes.grid(axis="x", visible=False)
    axes.locator_params(axis="y", integer=True)
    axes.tick_params(axis="x", pad=6)
    canvas.set_label(
        f"How often {len(rates):,} concepts are active: half of them on less than "
        f"{100 * np.median(rates):.2g}% of held-out cases, the most active on "
        f"{100 * max(rates):.2g}%."
    )
    return canvas


_DRAW = {"verified": _verified, "share": _share, "scatter": _scatter, "firing": _firing}


def _curves(row: ReachedGoal) -> "Canvas | None":
    lines = {way.way: visible(way, LOWEST_NDCG_KEPT) for way in row.ways}
    lines = {name: points for name, points in lines.items() if points}
    if not lines:
        return None
    canvas, axes = new_canvas(6.2, 4.0)
    for name, points in lines.items():
        style = {**_OTHER_STYLE, **_METHOD_STYLES.get(name, {})}
        axes.plot([kept for kept, _ in points], [value for _, value in points], **style)
    most = max(kept for points in lines.values() for kept, _ in points)
    axes.set_xlim(max(most, 1.0) + 0.002, LOWEST_NDCG_KEPT)
    axes.xaxis.set_major_formatter(_percent)
    axes.set_xlabel("NDCG@10 kept")
    axes.set_ylabel(short(row.quantity), parse_math=False)
    if is_share(row):
        axes.yaxis.set_major_formatter(_percent)
    ends = {name: points[-1] for name, points in lines.items()}
    _label(axes, ends)
    shown = [
        f"{name} {percent(value, 1) if is_share(row) else number(value, 1)} at {percent(kept, 1)}"
        for name, (kept, value) in ends.items()
    ]
    canvas.set_label(
        f"{row.quantity}, at the least NDCG@10 kept that is drawn: {'; '.join(shown)}."
    )
    return canvas


def _percent(value: float, _: object) -> str:
    return f"{100 * value:.6g}%"


def _label(axes: "Axes", ends: dict[str, tuple[float, float]]) -> None:
    """Name every line at the right, in the order in which they end."""
    low, high = axes.get_ylim()
    order = sorted(ends, key=lambda name: ends[name][1])
    heights = apart([(ends[name][1] - low) / (high - low) for name in order])
    for name, height in zip(order, heights, strict=True):
        colour = _METHOD_STYLES.get(name, _OTHER_STYLE).get("color", MUTED)
        axes.annotate(
            short(name.replace("re-ranking by ", ""), LONGEST_LINE_NAME),
            ends[name],
            (1.03, height),
            textcoords="axes fraction",
            va="center",
            color=colour,
            fontsize=9,
            fontweight="bold" if name == LATENTS else "normal",
            parse_math=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.5,
                "relpos": (0, 0.5),
                "shrinkA": 1,
            },
            annotation_clip=False,
        )


def apart(heights: list[float], gap: float = LABEL_GAP) -> list[float]:
    """Move ascending heights so far apart that labels there do not touch, and down below 1.

    >>> [round(height, 2) for height in apart([0.5, 0.52, 0.99, 1.0], gap=0.1)]
    [0.5, 0.6, 0.9, 1.0]
    """
    moved = list(heights)
    for i, (one, _) in enumerate(pairwise(heights)):
        moved[i + 1] = max(moved[i + 1], max(moved[i], one) + gap)
    top = 1.0
    for i in reversed(range(len(moved))):
        moved[i] = min(moved[i], top)
        top = moved[i] - gap
    return moved
