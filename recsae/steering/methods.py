"""A steering method: what is done to states, at any strength."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch

from recsae.steering.frontier import Steered
from recsae.steering.steered_scores import HeadScorer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from recsae.steering.steered_scores import Edit, SteeredScores

NO_LATENTS = torch.zeros(0, dtype=torch.int64)


class SteeringMethod(NamedTuple):
    """An edit of states that takes a strength."""

    name: str
    edit: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]
    """States ``(b, d)``, the activations ``(b, m)`` of ``latents`` there and a strength give the
    edited states."""
    latents: torch.Tensor = NO_LATENTS
    """``(m,)``"""
    max_strength: float | None = None
    """The largest strength; None: there is none."""
    identity_at_zero: bool = False
    """Whether a strength of 0 leaves every state as it is."""

    def on(self, scorer: SteeredScores) -> Steered:
        """Apply the method to some cases."""

        def at(strength: float) -> Edit:
            return lambda states, z: self.edit(states, z, strength)

        def scores(part: slice, strength: float) -> torch.Tensor:
            return scorer.scores(part, at(strength), self.latents)

        steered = Steered(
            self.name, scores, self.max_strength, scorer.at_once, self.identity_at_zero
        )
        if not isinstance(scorer, HeadScorer):
            return steered
        lists_of = scorer.lists

        def lists(strength: float, k: int) -> NDArray[np.int64]:
            return lists_of(at(strength), self.latents, k)

        return replace(steered, lists=lists)


def along(name: str, vector: torch.Tensor) -> SteeringMethod:
    """Add the same vector ``(d,)``, times the strength, to every state."""
    return SteeringMethod(
        name, lambda states, _, strength: states + strength * vector, identity_at_zero=True
    )
