"""Steps of labels on cases: how many of their predicates hold, or of their thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import scipy.sparse

from recsae.concepts.attributes.table import VIEWS

if TYPE_CHECKING:
    from recsae.concepts.wording import Predicate

AND = "and"
OR = "or"
Steps: TypeAlias = Mapping[tuple[str, str, str], scipy.sparse.csc_matrix]
"""Steps ``(n, 1)`` by view, attribute and value."""


def steps_of_label(
    joint: str | None, parts: Sequence[Predicate | None], steps: Steps, n: int
) -> tuple[scipy.sparse.csc_matrix, int]:
    """Steps ``(n, 1)`` of a label, and the step from which on it says "active".

    Of "or" step 1 where one of its predicates holds and 2 where both do; of "and" as many as hold,
    counted from the first on; a label without a predicate has step 1 everywhere.
    """
    made = [_single(predicate, steps) for predicate in parts if predicate is not None]
    if not made:
        return scipy.sparse.csc_matrix(np.ones((n, 1), dtype=np.int8)), 1
    if len(made) == 1:
        return made[0]
    holds = np.stack([step.toarray()[:, 0] >= least for step, least in made])
    if joint != OR:
        holds = np.logical_and.accumulate(holds)
    number = holds.sum(0, dtype=np.int8)
    return scipy.sparse.csc_matrix(number[:, None]), 1 if joint == OR else len(made)


def _single(predicate: Predicate, steps: Steps) -> tuple[scipy.sparse.csc_matrix, int]:
    """Steps of one predicate, and its own; for a negated one, how many steps a case misses."""
    step = steps[predicate[:3]]
    least = VIEWS[predicate.view].index(predicate.threshold) + 1
    if not predicate.negated:
        return step, least
    below = (len(VIEWS[predicate.view]) - step.toarray()).astype(np.int8)
    return scipy.sparse.csc_matrix(below), len(VIEWS[predicate.view]) - least + 1
