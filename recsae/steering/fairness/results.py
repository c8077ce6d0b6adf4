"""What steering costs and gives groups of users, and the form in which it is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recsae.concepts.wording import of_people
from recsae.core.notebook.cells import Table
from recsae.core.text import one_line
from recsae.steering.fairness.groups import INTERACTIONS, POPULARITY

if TYPE_CHECKING:
    from recsae.steering.frontier import Estimate

LONGEST = 48
"""Letters of a group's name: longer ones are cut."""
NOUNS = ("women", "men")


@dataclass(frozen=True)
class GroupEffect:
    """NDCG@10 and the counted quantity of one group of users, with and without steering."""

    by: str
    """What users are divided by, such as a column of the table of users."""
    value: str
    n_users: int
    ndcg_before: float
    ndcg_kept: Estimate
    """NDCG@10 as a share of what it was."""
    before: float | None = None
    """The quantity; None where none is counted."""
    after: float | None = None
    ratio: Estimate | None = None
    """``after`` as a multiple of ``before``; None where that is 0."""

    @property
    def users(self) -> str:
        """Who they are, in words."""
        return users_words(self.by, self.value)

    def to_dict(self) -> dict[str, Any]:
        """As it is written."""
        counted = {"before": self.before, "after": self.after}
        return {
            "by": self.by,
            "value": self.value,
            "users": self.users,
            "held-out users": self.n_users,
            "NDCG@10 before": self.ndcg_before,
            "NDCG@10 kept": list(self.ndcg_kept),
            **({} if self.before is None else counted),
            **({} if self.ratio is None else {"times": list(self.ratio)}),
        }

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> GroupEffect:
        """Read what :meth:`to_dict` made."""
        return cls(
            by=row["by"],
            value=row["value"],
            n_users=row["held-out users"],
            ndcg_before=row["NDCG@10 before"],
            ndcg_kept=_estimate(row["NDCG@10 kept"]),
            before=row.get("before"),
            after=row.get("after"),
            ratio=_estimate(row["times"]) if "times" in row else None,
        )


@dataclass(frozen=True)
class GroupEffects:
    """What steering costs and gives all groups of the users it was measured on."""

    quantity: str | None
    """What is counted in the lists, such as the share of the top 10; None: nothing."""
    rows: tuple[GroupEffect, ...]
    """Groups of one division next to each other."""
    warnings: tuple[str, ...] = ()
    """Sentences, one for each division of which one group loses several times what another does."""
    n_compared: int = 0
    """So many pairs of groups were compared."""
    margin: float | None = None
    """By how much a group must lose more than twice the part of NDCG@10 that another loses, so that
    it is told from chance: the least of all pairs; None where none was compared."""
    left_out: dict[str, str] = field(default_factory=dict)
    """By column of the table of users what of it is left out, and why."""

    @property
    def divided_by(self) -> list[str]:
        """What users are divided by."""
        return list(dict.fromkeys(row.by for row in self.rows))

    def table(self) -> Table:
        """As notebooks show it."""
        columns = ("users", "number", "NDCG@10", "kept", "before", "after", "times")
        counted = slice(None if self.quantity else 4)
        rows: list[tuple[object, ...]] = [
            (
                *(row.users, row.n_users, row.ndcg_before, _said(row.ndcg_kept)),
                *(row.before, row.after, None if row.ratio is None else _said(row.ratio)),
            )
            for row in self.rows
        ]
        title = f"Groups of users{f', {self.quantity}' if self.quantity else ''}"
        return Table(title, columns[counted], [row[counted] for row in rows])

    def to_dict(self) -> dict[str, Any]:
        """As it is written."""
        return {
            "quantity": self.quantity,
            "rows": [row.to_dict() for row in self.rows],
            "warnings": list(self.warnings),
            "pairs compared": self.n_compared,
            "told from chance": self.margin,
            "left out": self.left_out,
        }

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> GroupEffects:
        """Read what :meth:`to_dict` made."""
        return cls(
            quantity=record["quantity"],
            rows=tuple(map(GroupEffect.from_dict, record["rows"])),
            warnings=tuple(record["warnings"]),
            n_compared=record["pairs compared"],
            margin=record["told from chance"],
            left_out=record["left out"],
        )


def users_words(by: str, value: str) -> str:
    """How a person says who the users of a group are.

    >>> users_words("gender", "F"), users_words("age", "20s"), users_words("job", "nurse")
    ('women', 'users in their 20s', 'users with job nurse')
    >>> users_words("number of interactions", "up to 38"), users_words("occupation", "student")
    ('users with up to 38 interactions', 'students')
    >>> users_words("popularity of their items", "tail")
    'users of tail items'
    """
    if by == INTERACTIONS:
        return f"users with {value} interactions"
    if by == POPULARITY:
        return f"users of {value} items"
    said = one_line(of_people(by, value))
    if said not in NOUNS and said != f"{value}s":
        said = f"users {said}"
    return said if len(said) <= LONGEST else f"{said[: LONGEST - 1]}…"


def _said(estimate: Estimate) -> str:
    return "{:.3f} ({:.3f} to {:.3f})".format(*estimate)


def _estimate(values: list[float]) -> Estimate:
    value, low, high = values
    return value, low, high
