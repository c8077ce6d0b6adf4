"""What a label counts on a case, in words: why it is right or wrong there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recsae.concepts.attributes.table import N_ITEMS, SITES
from recsae.concepts.wording import MANY
from recsae.core import columns as C

BOTH = {
    "and": ("its first part does not hold", "its first part holds, its second does not"),
    "or": ("neither part holds", "one of its two parts holds"),
}


def why(label: Mapping[str, Any], level: int) -> str:
    """Say what a label finds where :class:`recsae.concepts.labeler.Predictions` has a level.

    Parameters
    ----------
    label
        The predicate columns of the label.
    level
        Of a predicate: at how many steps of its site's ladder the count of items is; of a negated
        one, how many are left above it; of a pair, how many parts hold.

    >>> label = {"attribute": "genres", "second_attribute": None, "predicate_site": "last20"}
    >>> why(label | {"threshold": 5, "negated": False}, 7)
    '8 or 9 of the last 20 items match, 5 needed'
    """
    if label[C.ATTRIBUTE] is None:
        return "says active everywhere"
    if label[C.SECOND_ATTRIBUTE] is not None:
        return "both parts hold" if level == 2 else BOTH[label[C.JOINT]][level]
    site, threshold = label[C.PREDICATE_SITE], int(label[C.THRESHOLD])
    ladder = SITES[site]
    steps = len(ladder) - level if label[C.NEGATED] else level
    if site not in MANY:
        return "matches" if steps else "does not match"
    needed = f"{'fewer than ' if label[C.NEGATED] else ''}{threshold} needed"
    return f"{_count(steps, ladder, N_ITEMS[site])} of the {MANY[site]} match, {needed}"


def _count(steps: int, ladder: tuple[int, ...], most: int) -> str:
    """How many items there are at a step of a ladder, which may skip numbers.

    >>> _count(0, (1, 2, 4), 5), _count(2, (1, 2, 4), 5), _count(3, (1, 2, 4), 9)
    ('0', '2 or 3', '4 to 9')
    """
    least = ladder[steps - 1] if steps else 0
    top = ladder[steps] - 1 if steps < len(ladder) else most
    if least == top:
        return str(least)
    return f"{least} {'or' if top == least + 1 else 'to'} {top}"
