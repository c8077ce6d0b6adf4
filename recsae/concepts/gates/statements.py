"""Candidates for the core: what can be said of a case, neither of few nor of most of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.concepts.predicates import Columns, Predicates

RATES = (0.02, 0.05, 0.1, 0.2, 0.35)
"""Of each column and sign the thresholds whose rates are nearest to these are candidates."""
RAREST, BROADEST = 0.01, 0.5
"""Rates between which a statement says something of a case."""


class Statements(NamedTuple):
    """S predicates: column, step from 1, negated or not, and the share of cases they are true of.

    ``(S,)`` each.
    """

    column: NDArray[np.int64]
    step: NDArray[np.int64]
    negated: NDArray[np.bool_]
    rate: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.column)

    def take(self, which: NDArray[np.int64]) -> Statements:
        """Some of the statements."""
        return Statements(
            self.column[which], self.step[which], self.negated[which], self.rate[which]
        )

    def spans(self, columns: Columns) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First predicate of each, and the end: those steps of the column make it true."""
        return columns.start[self.column] + self.step - 1, columns.start[self.column + 1]


def candidate_statements(parts: Sequence[Predicates]) -> Statements:
    """Of every value and view the counts whose rate is nearest to :data:`RATES`, and complements.

    ``parts`` are the same predicates on different cases.
    """
    columns, n = parts[0].columns, sum(part.n_cases for part in parts)
    rate = np.sum([part.total() for part in parts], 0) / max(n, 1)
    found: list[tuple[NDArray[np.int64], bool]] = []
    for negated in (False, True):
        of = 1 - rate if negated else rate
        usable = (of >= RAREST) & (of <= BROADEST)
        distance = np.abs(np.log(np.where(usable, of, 1.0))[:, None] - np.log(RATES))
        distance[~usable] = np.inf
        picked = [
            _nearest_of_columns(distance[:, wanted], columns.column) for wanted in range(len(RATES))
        ]
        found.append((np.unique(np.concatenate(picked)), negated))
    place = np.concatenate([places for places, _ in found])
    sign = np.concatenate([np.full(len(places), negated) for places, negated in found])
    true = np.where(sign, 1 - rate[place], rate[place])
    return Statements(columns.column[place], columns.step[place], sign, true)


def _nearest_of_columns(
    distance: NDArray[np.float64], column: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Of each column the predicate with the smallest finite distance, the first of equal ones."""
    order = np.lexsort((distance, column))
    first = np.r_[True, column[order][1:] != column[order][:-1]]
    best = order[first]
    return np.asarray(best[np.isfinite(distance[best])])
