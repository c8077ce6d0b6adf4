"""Groups of users in sentences: which were compared, and what difference would have been seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recsae.core.text import one_line
from recsae.report.words.formats import listing, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recsae.report.schema.goals import UserGroups
    from recsae.report.schema.parts import Figure


def compared(divided_by: Sequence[str], n_groups: int, n_warnings: int, margin: Figure) -> str:
    """Say which groups were compared, whether any loses several times what another does, and how
    large a difference must be to be seen.

    >>> said, least = compared(["gender", "age"], 9, 0, 0.012).split(": ")
    >>> said[:51]
    'None of 9 groups of users (by gender and age) loses'
    >>> least
    'up to 1.2 points more than twice as much may be chance.'
    """
    by = listing(short(one_line(name)) for name in divided_by)
    found = "Some" if n_warnings else "None"
    loses = "lose" if n_warnings else "loses"
    said = (
        f"{found} of {n_groups} groups of users (by {by}) {loses} several times the part of "
        "NDCG@10 that another does"
    )
    if n_warnings or not margin:
        return f"{said}."
    least = f"as far as can be told: up to {100 * margin:.1f} points more than twice as much"
    return f"{said}, {least} may be chance."


def said_of(groups: UserGroups) -> str:
    """Say it of the groups of a report, and what of the users' columns is left out."""
    by = list(dict.fromkeys(row.by for row in groups.rows))
    said = compared(by, len(groups.rows), len(groups.warnings), groups.margin)
    return f"{said} {left_out(groups.left_out)}".rstrip()


def left_out(reasons: dict[str, str]) -> str:
    """Say which columns of the table of users are left out, in part or as a whole; may be empty.

    >>> left_out({"zip_code": "1,012 different values"})
    'Left out: zip_code (1,012 different values).'
    """
    if not reasons:
        return ""
    said = "; ".join(f"{short(one_line(column))} ({why})" for column, why in reasons.items())
    return f"Left out: {said}."
