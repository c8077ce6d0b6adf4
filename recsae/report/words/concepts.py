"""Which concepts come first, which are the same, what each follows and how right its label is."""

from recsae.concepts.attributes.names import FANS
from recsae.report.schema.parts import Concept, Figure, Status
from recsae.report.schema.report import Report

MIN_CASES = 20
"""Held-out cases with an item, from which on it may be said that a concept follows the item."""
MOSTLY = 0.5
"""Share of these cases on which a concept is active, from which on it follows the item."""


def fire_rate(concept: Concept) -> Figure:
    """Return how often a concept is active, on held-out cases where that is known."""
    known = concept.heldout_fire_rate
    return concept.fire_rate if known is None else known


def distinct_key(concept: Concept) -> tuple[str, str]:
    """Return what makes two concepts the same: attribute and value, else the name."""
    if concept.attribute is not None and concept.value is not None:
        return concept.attribute, concept.value
    return "", concept.name.casefold()


def never_back(concept: Concept) -> bool:
    """Whether no dictionary that was made again has a latent active on the same cases."""
    return concept.back is not None and concept.back.get("activity") == 0


def usefulness(concept: Concept) -> float:
    """Precision, times the share of the scores that it explains, times how often it comes back.

    Where nothing was made again, all count as coming back.
    """
    back = 1.0 if concept.back is None else concept.back.get("label") or 0.0
    return (concept.precision or 0.0) * (concept.explains or 0.0) * back


def plainness(concept: Concept) -> int:
    """0 for what items are, 1 for some of them by name, 2 for denials and situations."""
    if concept.negated or concept.kind in ("situation", "general"):
        return 2
    return int(concept.kind == "item" or concept.attribute == FANS)


def best_distinct(report: Report, n: int = 20) -> list[Concept]:
    """Return the most useful verified concepts that nobody rejected, each distinct one once.

    The most useful first, see :func:`usefulness`. What says what items are comes first, then
    what names a few of them, then what says that something is not there, or how long or popular;
    what never comes back is last.
    """
    verified = [
        c for c in report.concepts.list if c.status == "verified" and c.correction != "rejected"
    ]
    verified.sort(
        key=lambda c: (
            never_back(c),
            plainness(c),
            -usefulness(c),
            c.latent,
        )
    )
    first: dict[tuple[str, str], Concept] = {}
    for concept in verified:
        first.setdefault(distinct_key(concept), concept)
    return list(first.values())[:n]


def follows(concept: Concept) -> list[str]:
    """Return the items that a concept follows, those that tell most first.

    It is active on at least half of the held-out cases whose last item is one of them, and there
    are enough of these.
    """
    there = [
        told
        for told in concept.active_on
        if told.view == "last"
        and told.n_cases >= MIN_CASES
        and told.n_active >= MOSTLY * told.n_cases
    ]
    there.sort(key=lambda told: (-told.n_active / (told.n_cases + MIN_CASES), told.item))
    return [told.item for told in there]


def right_words(status: Status, precision: Figure, recall: Figure) -> str:
    """Say how often a label is right and what it finds in tenths, which a person can repeat.

    >>> right_words("verified", 0.852, 0.876)
    'Right 9 times of 10 when it speaks, finds 9 of 10'
    >>> right_words("supported", 0.97, 0.03)
    'Right more than 9 times of 10 when it speaks, finds less than 1 of 10'
    """
    if status == "dead":
        return "Never active on held-out users"
    if precision is None or recall is None:
        return "Too few cases to test"
    return f"Right {_tenths(precision)} times of 10 when it speaks, finds {_tenths(recall)} of 10"


def _tenths(share: float) -> str:
    """Never all of ten, nor none, where it is less or more than that."""
    n = round(10 * share)
    if n == 10 and share < 1:
        return "more than 9"
    return "less than 1" if n == 0 and share > 0 else str(n)
