"""Whether the lists moved towards a goal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recsae.steering.tuning.results import TuningResult


def moved(result: TuningResult) -> bool:
    """Whether the goal's quantity surely moved towards the goal: its interval says so."""
    _, low, high = result.effect.ratio
    return low > 1 if result.goal.startswith("more ") else high < 1
