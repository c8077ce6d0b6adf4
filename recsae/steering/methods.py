"""A steering method: what is done to states and to lists, at any strength."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from recsae.steering.frontier import Steered

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from recsae.steering.steered_scores import SteeredScores
    from recsae.steering.steps.applied import Applied
    from recsae.steering.steps.first import FirstItems
    from recsae.steering.steps.kinds import Step
    from recsae.steering.steps.pools import Pool


class SteeringMethod(NamedTuple):
    """A steering that takes a strength."""

    name: str
    at: Callable[[float], Applied]
    """What is done at a strength."""
    max_strength: float | None = None
    """The largest strength; None: there is none."""
    identity_at_zero: bool = False
    """Whether a strength of 0 leaves every list as it is."""
    steps: Callable[[float], list[Step]] | None = None
    """What a steering file keeps of it; None: it cannot be kept."""
    only_gain: bool = False
    """Whether strengths differ in the gain of the last re-ranking only."""
    by_own: bool = True
    """Whether lists are made by the model's own probabilities, or by better ones."""

    def on(self, scorer: SteeredScores, first: FirstItems | None = None) -> Steered:
        """Apply the method to some cases, whose first items may be known."""
        kept: dict[str, Pool] = {}

        def lists(strength: float, k: int) -> NDArray[np.int32]:
            return self.at(strength).lists(scorer, k, kept if self.only_gain else None, first)

        return Steered(self.name, lists, self.max_strength, self.identity_at_zero)
