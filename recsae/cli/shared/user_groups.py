"""What steering costs and gives groups of users, as a person reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from recsae.cli.shared.tables import Column, Columns, say, show_rows
from recsae.report.words.formats import interval, number, times, two_digits
from recsae.report.words.user_groups import compared, left_out

if TYPE_CHECKING:
    from recsae.steering.fairness.results import GroupEffects


def show_warnings(groups: GroupEffects) -> None:
    """Say where one group loses several times what another does."""
    for warning in groups.warnings:
        say(f"Warning: {warning}")


def show_groups(groups: GroupEffects, *, everything: bool) -> None:
    """All groups, or in a line whether any loses several times what another does."""
    if not groups.rows:
        if everything:
            say("\nUsers are too few to be divided: no two groups have enough of them.")
        return
    said = compared(groups.divided_by, len(groups.rows), len(groups.warnings), groups.margin)
    if not everything:
        say(f"\n{said} --all shows all groups.")
        return
    amount = amount_of(groups.quantity or "")
    columns: Columns = {
        "users": "users",
        "n": "n",
        "ndcg": "NDCG@10",
        "kept": Column("kept", interval),
        "before": Column("before", amount),
        "after": Column("after", amount),
        "times": Column("times", times, optional=True),
    }
    rows = [
        {
            "users": row.users.removeprefix("users "),
            "n": row.n_users,
            "ndcg": row.ndcg_before,
            "kept": row.ndcg_kept,
            "before": row.before,
            "after": row.after,
            "times": row.ratio,
        }
        for row in groups.rows
    ]
    known = {key: c for key, c in columns.items() if any(r[key] is not None for r in rows)}
    counted = f", and the {groups.quantity}" if groups.quantity else ""
    say(f"\nGroups of held-out users, the part of NDCG@10 that they keep{counted}:")
    show_rows(known, rows, top=None)
    say(f"\n{said}")
    if groups.left_out:
        say(left_out(groups.left_out))


def amount_of(quantity: str) -> Callable[[float | None], str]:
    """How values of a quantity are said: shares in per cent, popularity as a number."""
    return two_digits if quantity.startswith("share") else popular


def popular(value: float | None) -> str:
    """How often items were consumed on average."""
    return number(value, 0 if value is not None and value >= 100 else 1)
