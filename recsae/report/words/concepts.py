"""Which concepts come first: how useful each is, and which are the same."""

from recsae.concepts.attributes.names import FANS
from recsae.report.schema.parts import Concept, Figure
from recsae.report.schema.report import Report


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
