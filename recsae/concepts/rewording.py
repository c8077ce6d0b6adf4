"""What to call a gate: the statement of its value that is right most often about it.

A gate is made for one statement ("the last item is Sci-Fi"), and may follow another one of the same
value better ("at least 4 of the top 10 recommendations are Sci-Fi").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recsae.concepts.predicates import f1_of
from recsae.concepts.search import alone, broad_cost, clear_gain, rows_of, truth

if TYPE_CHECKING:
    import scipy.sparse

    from recsae.concepts.search import HalfOfUsers

REWORD_COST = 0.02
"""By so much F1 another statement must be better, as well as beyond chance."""
Said = tuple[int, int, bool]
"""A predicate: its column, its step from 1 on, and whether it is negated."""


def best_said(
    halves: tuple[HalfOfUsers, HalfOfUsers],
    active: tuple[scipy.sparse.csc_matrix, ...],
    asked: list[Said],
) -> list[Said]:
    """For each gate the statement of its value, with the same sign, that predicts it best.

    Parameters
    ----------
    halves
        Searched on the first, confirmed on the second.
    active
        ``(n, m)`` of both halves, sorted: when each of the m gates is open.
    asked
        The statements that the gates were made for; those that are not clearly worse are kept.
    """
    search, confirm = halves
    columns, total = search.predicates.columns, search.predicates.total()
    cost, n = broad_cost(search.predicates), search.predicates.n_cases
    value, found = columns.value[columns.column], []
    for latent, (column, step, negated) in enumerate(asked):
        own = np.flatnonzero(value == columns.value[column])
        rows = rows_of(active[0], latent)
        both, predicted = search.predicates.among(rows)[own], total[own]
        if negated:
            both, predicted = len(rows) - both, n - predicted
        best = own[int((f1_of(both, predicted, len(rows)) - cost[int(negated), own]).argmax())]
        two = np.array([[columns.column[best], column], [columns.step[best], step], [negated] * 2])
        new, old = truth(confirm.predicates, alone(*two.astype(np.int64)))
        gain = clear_gain(new, old, confirm.user, rows_of(active[1], latent))
        better = gain > REWORD_COST
        found.append((int(two[0, 0]), int(two[1, 0]), negated) if better else asked[latent])
    return found
