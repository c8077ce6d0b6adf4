"""One chart per goal: what each way reaches against how much of NDCG@10 it keeps."""

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from recsae.report.figures.charts import ACCENT, INK, MUTED, SUPPORTED, drawn, new_canvas
from recsae.report.schema.goals import ReachedGoal
from recsae.report.schema.report import Report
from recsae.report.words.goals import LATENTS, is_share, visible
from recsae.report.words.headlines import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

WORST = 0.9
LONGEST = 28
GAP = 0.072
"""Between the labels at the right, as a part of the height."""
_STYLES: dict[str, dict[str, Any]] = {
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
_OTHERS: dict[str, Any] = {"color": MUTED, "linewidth": 1.1, "markersize": 3.5, "zorder": 2}


def goal_figures(report: Report) -> list[str]:
    """Return an ``<svg>`` element for every goal, empty where no ways were compared."""
    rows = report.goals.rows if report.goals else []
    found = drawn({f"goal{n}": partial(_curves, row) for n, row in enumerate(rows)})
    return [found.get(f"goal{n}", "") for n in range(len(rows))]


def _curves(row: ReachedGoal) -> "Canvas | None":
    lines = {way.way: visible(way, WORST) for way in row.ways}
    lines = {name: points for name, points in lines.items() if points}
    if not lines:
        return None
    canvas, axes = new_canvas(6.2, 4.0)
    for name, points in lines.items():
        style = {**_OTHERS, **_STYLES.get(name, {})}
        axes.plot([kept for kept, _ in points], [value for _, value in points], **style)
    most = max(kept for points in lines.values() for kept, _ in points)
    axes.set_xlim(max(most, 1.0) + 0.002, WORST)
    axes.xaxis.set_major_formatter(_percent)
    axes.set_xlabel("NDCG@10 kept")
    axes.set_ylabel(short(row.quantity), parse_math=False)
    if is_share(row):
        axes.yaxis.set_major_formatter(_percent)
    _label(axes, {name: points[-1] for name, points in lines.items()})
    return canvas


def _percent(value: float, _: object) -> str:
    return f"{100 * value:.6g}%"


def _label(axes: "Axes", ends: dict[str, tuple[float, float]]) -> None:
    """Name every line at the right, in the order in which they end."""
    low, high = axes.get_ylim()
    order = sorted(ends, key=lambda name: ends[name][1])
    heights = apart([(ends[name][1] - low) / (high - low) for name in order])
    for name, height in zip(order, heights, strict=True):
        colour = _STYLES.get(name, _OTHERS).get("color", MUTED)
        axes.annotate(
            short(name, LONGEST),
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


def apart(heights: list[float], gap: float = GAP) -> list[float]:
    """Move ascending heights so far apart that labels there do not touch, and down below 1.

    >>> [round(height, 2) for height in apart([0.5, 0.52, 0.99, 1.0], gap=0.1)]
    [0.5, 0.6, 0.9, 1.0]
    """
    found = list(heights)
    for i, (one, _) in enumerate(pairwise(heights)):
        found[i + 1] = max(found[i + 1], max(found[i], one) + gap)
    top = 1.0
    for i in reversed(range(len(found))):
        found[i] = min(found[i], top)
        top = found[i] - gap
    return found
