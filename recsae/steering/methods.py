"""A way to steer: what is done to states, at any strength."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch

from recsae.steering.frontier import Steered

if TYPE_CHECKING:
    from recsae.steering.steered_scores import SteeredScores

NO_LATENTS = torch.zeros(0, dtype=torch.int64)


class SteeringMethod(NamedTuple):
    """A way to edit states ``(b, d)`` at a strength, given the activations of ``latents`` there."""

    name: str
    edit: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]
    latents: torch.Tensor = NO_LATENTS
    longest: float | None = None

    def on(self, scorer: SteeredScores) -> Steered:
        """The way taken with some cases."""

        def scores(part: slice, strength: float) -> torch.Tensor:
            return scorer.scores(part, lambda h, z: self.edit(h, z, strength), self.latents)

        return Steered(self.name, scores, self.longest, scorer.at_once)


def along(name: str, vector: torch.Tensor) -> SteeringMethod:
    """The same vector ``(d,)`` added to every state."""
    return SteeringMethod(name, lambda states, _, strength: states + strength * vector)
