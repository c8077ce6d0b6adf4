"""Popularity as one direction of the states: concept 0, closed form, the same whatever the seed.

A score is a product of a state and an item's vector. What popularity adds to every state's scores
is a rank-one part of their table: one vector of the states' space times the vectors of the items.
That vector is the least-squares fit of log popularity on the vectors of the items.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from recsae.steering.tuning.baselines import CONCEPT_0, LOGIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from recsae.steering.steered_scores import Nearby
    from recsae.steering.steps.goals import Goal
    from recsae.steering.tuning.results import Choice

SMALLEST = 1e-4
"""Singular values of the items' vectors that are a smaller part of the largest are noise."""
ITEMS_AT_ONCE = 2**16
"""Vectors that are held in double precision at a time: 32 MB at width 64."""


class PopularityDirection(NamedTuple):
    """The direction that best carries log popularity, and how much of what it holds."""

    vector: torch.Tensor
    """``(d,)`` added to a state, it adds to every item's score what one direction can of the
    logarithm of one more than how often the item was consumed, up to a constant."""
    carried: float
    """R2: the part of the variance of log popularity over items that it carries, 0 to 1."""
    of_states: float
    """The part of the states' variance that lies along it, 0 to 1; one of d at random has 1 / d."""

    def said(self, choices: Sequence[Choice], loss: float) -> str:
        """What it carries, and what turning it reaches beside logit adjustment, in a sentence."""
        words = (
            f"One direction of the states carries {100 * self.carried:.0f} % of log popularity "
            f"and {100 * self.of_states:.1f} % of the states' variance"
        )
        reached = {one.method: one.effect for one in choices}
        if CONCEPT_0 not in reached:
            return f"{words}."
        own = reached[CONCEPT_0]
        words += (
            f"; turned alone, it takes average popularity from {own.before:.1f} to {own.after:.1f} "
            f"at a loss of {100 * loss:g} % on construction users"
        )
        logit = reached.get(LOGIT)
        return f"{words}." if logit is None else f"{words}, logit adjustment to {logit.after:.1f}."


def popularity_direction(
    items: torch.Tensor,
    popularity: NDArray[np.int64],
    recommendable: NDArray[np.bool_],
    states: NDArray[np.float32],
) -> PopularityDirection:
    """Fit the direction.

    Parameters
    ----------
    items
        ``(n_items, d)`` the vectors whose products with states are the scores.
    popularity, recommendable
        ``(n_items,)`` how often construction users consumed each item, and which items count.
    states
        ``(n, d)`` of construction users, of which the part along the direction is told.

    Examples
    --------
    >>> items = torch.tensor([[1.0, 0], [0, 1], [2, 0]])
    >>> counts = np.expm1([1.0, 0, 2]).astype(np.float64)
    >>> found = popularity_direction(items, counts, np.ones(3, bool), np.eye(2, dtype=np.float32))
    >>> found.vector.numpy().round(3).tolist(), round(found.carried, 3)
    ([1.0, 0.0], 1.0)
    """
    rows = np.flatnonzero(recommendable)
    logs = np.log1p(popularity[rows].astype(np.float64))
    logs -= logs.mean()
    total, d = float(logs @ logs), items.shape[1]
    mean, moments, crossed = np.zeros(d), np.zeros((d, d)), np.zeros(d)
    for first in range(0, len(rows), ITEMS_AT_ONCE):
        part = slice(first, first + ITEMS_AT_ONCE)
        table = items[torch.from_numpy(rows[part])].double().cpu().numpy()
        mean += table.sum(0)
        moments += table.T @ table
        crossed += table.T @ logs[part]
    moments -= np.outer(mean, mean) / max(1, len(rows))
    vector = np.linalg.pinv(moments, rcond=SMALLEST**2, hermitian=True) @ crossed
    length = float(np.linalg.norm(vector))
    spread = float(states.astype(np.float64).var(0).sum())
    along = float((states @ (vector / length)).var()) if length else 0.0
    return PopularityDirection(
        torch.from_numpy(vector).float(),
        float(vector @ crossed) / total if total else 0.0,
        along / spread if spread else 0.0,
    )


def direction_to(
    goal: Goal, near: Nearby, recommendable: NDArray[np.bool_], states: NDArray[np.float32]
) -> PopularityDirection | None:
    """The direction, where the goal is about popularity; it points the way the goal wants."""
    if goal.by_popularity is None:
        return None
    found = popularity_direction(near.head.items, goal.by_popularity, recommendable, states)
    return found if goal.more else found._replace(vector=-found.vector)
