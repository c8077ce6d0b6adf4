"""Gates: for each statement the direction of states that tells it, and the bound that it passes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsae.capture.cases import spread
from recsae.core import kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.concepts.gates.statements import Statements
    from recsae.concepts.predicates import Predicates

    Floats = NDArray[np.float64]

RIDGE = 1.0
"""Penalty of the directions, as a share of the states' mean variance. It leans Fisher's direction
to the difference of the means, in which states vary more: such gates explain more of the scores and
are hardly less right."""
LEARNABLE = 0.55
"""How far precision and recall must be from chance to perfect, on users a gate was not fitted on.
By chance precision is the rate of the statement, and recall that of the gate."""
MAX_BOUND_CASES = 10_000
"""Cases at most on which a gate's bound is found, evenly spread: bounds the time."""
AT_ONCE = 256
"""Statements in one go: bounds the tables of cases and statements."""


@dataclass(frozen=True)
class Side:
    """Cases of some of the users: their standardised states ``(n, d)`` and all predicates."""

    states: NDArray[np.float32]
    predicates: Predicates

    @cached_property
    def sums(self) -> tuple[Floats, Floats]:
        """``(S + 1, d)`` and ``(S + 1,)`` for the predicates' steps: sums of states, and cases.

        Each over the steps from one on to the last of all columns, so that a statement's is the
        difference of two.
        """
        number = np.diff(self.predicates.by_column.indptr).astype(np.float64)
        sums = np.zeros((len(number), self.states.shape[1]), dtype=np.float32)
        kernels.add_rows(*self.predicates.reached, self.states, sums)
        return _from_each_on(sums.astype(np.float64)), _from_each_on(number)


class GateFit(NamedTuple):
    """m gates: open where ``weight . x > bound``, x being standardised states."""

    weight: Floats  # (m, d), of unit deviation of weight . x
    bound: Floats  # (m,)

    def take(self, which: NDArray[np.int64]) -> GateFit:
        """Some of the gates."""
        return GateFit(self.weight[which], self.bound[which])


class LearnedStatements(NamedTuple):
    """Statements that the states hold, their gates, and how right those are on unseen users."""

    statements: Statements
    gates: GateFit
    f1: Floats  # (m,)


def learn(statements: Statements, search: Side, confirm: Side) -> LearnedStatements:
    """Fit a gate for each statement; keep those that also tell it on other users.

    The direction is ``(S + ridge)^-1 cov(x, y)``, y being the statement's truth and S the
    covariance of x: Fisher's linear discriminant. The gate is open as often as the statement is
    true. It is fitted on the search half and kept if precision and recall on the confirm half are
    at least .55 of the way from chance to 1; then it is fitted on both.
    """
    hits, is_open, true = _tried(statements, _fit(statements, (search,)), confirm)
    kept = np.flatnonzero(
        (beyond_chance(hits, is_open, true) >= LEARNABLE)
        & (beyond_chance(hits, true, is_open) >= LEARNABLE)
    )
    f1 = 2 * hits[kept] / (is_open[kept] + true[kept])
    statements = statements.take(kept)
    return LearnedStatements(statements, _fit(statements, (search, confirm)), f1)


def beyond_chance(hits: Floats, of: Floats, chance: Floats) -> Floats:
    """How far ``hits / of`` is from ``chance`` to 1: 0 by chance, 1 at best; shares of the cases.

    >>> beyond_chance(np.array([0.3, 0.1]), np.array([0.4, 0.4]), np.array([0.25, 0.25])).round(2)
    array([0.67, 0.  ])
    """
    share = hits / np.maximum(of, 1e-12)
    return np.asarray((share - chance) / np.maximum(1 - chance, 1e-12))


def _fit(statements: Statements, sides: tuple[Side, ...]) -> GateFit:
    n = sum(len(side.states) for side in sides)
    first, end = statements.spans(sides[0].predicates.columns)
    true = sum(side.sums[0][first] - side.sums[0][end] for side in sides)
    number = sum(side.sums[1][first] - side.sums[1][end] for side in sides)
    mean = sum(side.states.sum(0, dtype=np.float64) for side in sides) / n
    gram = sum(side.states.T.astype(np.float64) @ side.states for side in sides)
    covariance = gram / n - np.outer(mean, mean)
    cross = true / n - np.outer(number / n, mean)
    cross[statements.negated] *= -1
    d = len(mean)
    penalty = RIDGE * np.trace(covariance) / d * np.eye(d)
    weight = np.linalg.solve(covariance + penalty, cross.T).T
    deviation = np.sqrt(np.einsum("sd,de,se->s", weight, covariance, weight))
    weight /= np.maximum(deviation, 1e-12)[:, None]
    some = np.concatenate(
        [side.states[spread(len(side.states), MAX_BOUND_CASES // len(sides))] for side in sides]
    )
    bound = np.empty(len(weight))
    for start in range(0, len(weight), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        told = weight[part].astype(np.float32) @ some.T
        place = np.round((1 - statements.rate[part]) * (len(some) - 1)).astype(np.int64)
        for row, at in enumerate(place):
            bound[start + row] = np.partition(told[row], at)[at]
    return GateFit(weight, bound)


def _from_each_on(values: Floats) -> Floats:
    """Sums over the rows from each one on, and 0 after the last."""
    return np.concatenate([np.cumsum(values[::-1], 0)[::-1], np.zeros((1, *values.shape[1:]))])


def _tried(statements: Statements, gates: GateFit, side: Side) -> tuple[Floats, Floats, Floats]:
    """Shares of other users' cases, ``(m,)`` each: open and true, open, and true."""
    n, predicates = len(side.states), side.predicates
    shares = np.zeros((3, len(statements)))
    for start in range(0, len(statements), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        told = gates.weight[part].astype(np.float32) @ side.states.T
        is_open = told > gates.bound[part, None].astype(np.float32)
        for row in range(len(is_open)):
            j = start + row
            rows = predicates.rows(int(statements.column[j]), int(statements.step[j]))
            number, hits = int(is_open[row].sum()), int(is_open[row, rows].sum())
            true = len(rows)
            if statements.negated[j]:
                hits, true = number - hits, n - true
            shares[:, j] = hits / n, number / n, true / n
    hits_of, open_of, true_of = shares
    return hits_of, open_of, true_of
