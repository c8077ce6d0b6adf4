"""Figures and names as text: percentages, intervals, signs, and what is too long cut short."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from recsae.report.schema.goals import Measured
    from recsae.report.schema.parts import Figure


def percent(value: Figure, digits: int = 0) -> str:
    """Return a share as a percentage, or a dash where there is none.

    >>> percent(0.714), percent(None)
    ('71%', '–')
    """
    return "–" if value is None else f"{100 * value:.{digits}f}%"


def two_digits(value: Figure) -> str:
    """Return a share as a percentage of two significant digits, or a dash where there is none.

    Only what is all is 100%.

    >>> two_digits(0.714), two_digits(0.0312), two_digits(0.000837), two_digits(None)
    ('71%', '3.1%', '0.084%', '–')
    >>> two_digits(0), two_digits(1.0), two_digits(0.9996), two_digits(-0.0996)
    ('0%', '100%', '99.9%', '-10%')
    """
    if value is None or not value:
        return "–" if value is None else "0%"
    if 0.995 <= value < 1:
        return f"{math.floor(1000 * value) / 10}%"
    rounded = float(f"{100 * value:.2g}")
    return f"{rounded:.{max(0, 1 - math.floor(math.log10(abs(rounded))))}f}%"


def floor_percent(value: Figure) -> str:
    """Return a lower bound as a percentage that is no higher than it, or a dash.

    >>> floor_percent(0.4999), floor_percent(0.57), floor_percent(None)
    ('49%', '57%', '–')
    """
    return "–" if value is None else f"{math.floor(100 * value + 1e-9)}%"


def number(value: Figure, digits: int = 2) -> str:
    """Return a figure with ``digits`` decimals, or a dash where there is none.

    >>> number(0.0564, 3), number(None)
    ('0.056', '–')
    """
    return "–" if value is None else f"{value:.{digits}f}"


def points(value: Figure) -> str:
    """Return the change of a share in percentage points, with its sign.

    >>> points(0.0312), points(-0.004)
    ('+3.1', '−0.4')
    """
    return "–" if value is None else f"{100 * value:+.1f}".replace("-", "−")


def signed(value: Figure) -> str:
    """Return a figure with its sign.

    >>> signed(0.236), signed(-3.86), signed(None)
    ('+0.24', '−3.86', '–')
    """
    return "–" if value is None else f"{value:+.2f}".replace("-", "−")


def interval(measured: Measured | None, digits: int = 1) -> str:
    """Return a share with its interval.

    >>> interval((0.986, 0.977, 0.995))
    '98.6% (97.7 to 99.5)'
    """
    if measured is None or measured[0] is None:
        return "–"
    value, low, high = measured
    if low is None or high is None:
        return percent(value, digits)
    return f"{percent(value, digits)} ({100 * low:.{digits}f} to {100 * high:.{digits}f})"


def times(measured: Measured | None) -> str:
    """Return what something is multiplied with, and its interval.

    >>> times((1.355, 1.335, 1.376)), times((0.908, 0.905, 0.911))
    ('×1.35 (1.33 to 1.38)', '×0.908 (0.905 to 0.911)')
    """
    if measured is None or measured[0] is None:
        return "–"
    value, low, high = measured
    if low is None or high is None:
        return f"×{number(value)}"
    digits = 2 if high - low >= 0.02 else 3
    return f"×{number(value, digits)} ({number(low, digits)} to {number(high, digits)})"


def correlation(measured: Measured | None) -> str:
    """Return a correlation with its interval.

    >>> correlation((0.61, 0.47, 0.73)), correlation(None)
    ('0.61 (0.47 to 0.73)', '–')
    """
    if measured is None:
        return "–"
    value, low, high = map(number, measured)
    return f"{value} ({low} to {high})".replace("-", "−")


def short(name: str, length: int = 48) -> str:
    """Return a name that is not too long for a sentence.

    >>> short("fans of Toy Story, Fargo, Return of the Jedi", 24)
    'fans of Toy Story…'
    """
    if len(name) <= length:
        return name
    return name[: length - 1].rsplit(" ", 1)[0].rstrip(" ,+&–-") + "…"


def listing(names: Iterable[str], last: str = "and") -> str:
    """Join names as in a sentence.

    >>> listing(["a", "b", "c"])
    'a, b and c'
    """
    *head, tail = list(names) or [""]
    return f"{', '.join(head)} {last} {tail}" if head else tail
