"""A steering method: what is done to states, at any strength."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch

from recsae.steering.frontier import Steered

if TYPE_CHECKING:
    from recsae.steering.steered_scores import SteeredScores

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

        def scores(part: slice, strength: float) -> torch.Tensor:
            return scorer.scores(part, lambda h, z: self.edit(h, z, strength), self.latents)

        return Steered(self.name, scores, self.max_strength, scorer.at_once, self.identity_at_zero)


def along(name: str, vector: torch.Tensor) -> SteeringMethod:
    """Add the same vector ``(d,)``, times the strength, to every state."""
    return SteeringMethod(
        name, lambda states, _, strength: states + strength * vector, identity_at_zero=True
    )
