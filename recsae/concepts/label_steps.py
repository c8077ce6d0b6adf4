"""Steps of labels on cases: how many of their predicates hold, or of their thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import scipy.sparse

from recsae.concepts.attributes.names import VIEWS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.concepts.wording import Predicate

AND = "and"
OR = "or"


@dataclass(frozen=True)
class Predictions:
    """Predictions of labels on n cases, as steps and the step from which each says "active".

    Label j predicts "active" where ``steps[:, column[j]] >= threshold[j]``; labels that differ in
    their threshold alone share a column.
    """

    steps: scipy.sparse.csc_matrix
    """``(n, G)`` for each different label, 0 not stored: how many of the thresholds of its view a
    case reaches (negated: misses), or how many predicates of several hold."""
    column: NDArray[np.int64]
    """``(m,)`` of each label."""
    threshold: NDArray[np.int64]
    """``(m,)`` of each label, a step."""

    @classmethod
    def of(cls, active: NDArray[np.bool_]) -> Predictions:
        """Of labels that say yes or no, ``(n, m)``.

        >>> Predictions.of(np.array([[True, False]])).steps.toarray().tolist()
        [[1, 0]]
        """
        m = active.shape[1]
        steps = scipy.sparse.csc_matrix(active.astype(np.int8))
        return cls(steps, np.arange(m), np.ones(m, dtype=np.int64))


class Column(NamedTuple):
    """A step for each case, but for those of which it is 0."""

    rows: NDArray[np.int32]
    """``(r,)`` cases, ascending."""
    steps: NDArray[np.int8]
    """``(r,)`` above 0."""


Steps: TypeAlias = Mapping[tuple[str, str, str], Column]
"""Steps by view, attribute and value."""


def steps_of_label(
    joint: str | None, parts: Sequence[Predicate | None], steps: Steps, n: int
) -> tuple[Column, int]:
    """Steps of a label on n cases, and the step from which on it says "active".

    Of "or" step 1 where one of its predicates holds and 2 where both do; of "and" as many as hold,
    counted from the first on; a label without a predicate has step 1 everywhere.
    """
    made = [_single(predicate, steps, n) for predicate in parts if predicate is not None]
    if not made:
        return Column(np.arange(n, dtype=np.int32), np.ones(n, dtype=np.int8)), 1
    if len(made) == 1:
        return made[0]
    number = np.zeros(n, dtype=np.int8)
    for before, (column, least) in enumerate(made):
        rows = column.rows[column.steps >= least]
        number[rows if joint == OR else rows[number[rows] == before]] += 1
    return _column(number), 1 if joint == OR else len(made)


def _single(predicate: Predicate, steps: Steps, n: int) -> tuple[Column, int]:
    """Steps of one predicate, and its own; for a negated one, how many steps a case misses."""
    column, thresholds = steps[predicate[:3]], VIEWS[predicate.view]
    least = thresholds.index(predicate.threshold) + 1
    if not predicate.negated:
        return column, least
    missed = np.full(n, len(thresholds), dtype=np.int8)
    missed[column.rows] -= column.steps
    return _column(missed), len(thresholds) - least + 1


def _column(steps: NDArray[np.int8]) -> Column:
    rows = np.flatnonzero(steps).astype(np.int32)
    return Column(rows, steps[rows])
