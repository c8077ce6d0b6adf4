"""The answer to a goal: whether the lists moved, and what reaches clearly more than latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recsae.steering.frontier import BUDGETS
from recsae.steering.tuning.baselines import BY_PROBABILITY, RERANKING

if TYPE_CHECKING:
    from recsae.steering.tuning.results import TuningResult


RE_RANKING = (RERANKING, BY_PROBABILITY)


@dataclass(frozen=True)
class Alternative:
    """What another method reaches for as much of NDCG@10 as latents lose, or less."""

    method: str
    value: float
    """The goal's quantity."""
    loss: float
    """The part of NDCG@10 that it loses, 0 to 1."""
    latents_value: float
    latents_loss: float
    """What latents reach, and lose, on the same cases."""
    by_lists: bool
    """Whether it re-ranks lists."""


def moved(result: TuningResult) -> bool:
    """Whether the goal's quantity surely moved towards the goal: its interval says so."""
    _, low, high = result.effect.ratio
    return low > 1 if wants_more(result) else high < 1


def wants_more(result: TuningResult) -> bool:
    """Whether there should be more of the goal's quantity, by the goal's name."""
    return result.goal.startswith("more ")


def better_method(result: TuningResult) -> Alternative | None:
    """The method that reaches clearly more than latents, at the smallest loss; None: none does.

    Clearly: by more than half the width of the 95 % interval of what latents reach, and more over
    all losses. Compared at the largest loss of the curves that is no more than was allowed.
    Re-ranking comes before other methods: everybody can have it.
    """
    if not result.methods:
        return None
    latents, *others = result.methods
    within = [b for b in BUDGETS if b <= result.allowed_loss + 1e-9 and b in latents.at_loss]
    if not within:
        return None
    loss, sign = within[-1], 1 if wants_more(result) else -1
    ours = latents.at_loss[loss]
    _, low, high = result.effect.ratio
    margin = result.effect.before * (high - low) / 2
    clearly = [
        (method.method not in RE_RANKING, b, -sign * method.at_loss[b], method)
        for method in others
        for b in within
        if method.area > latents.area and sign * (method.at_loss[b] - ours) > margin
    ]
    if not clearly:
        return None
    _, smallest, _, best = min(clearly, key=lambda found: found[:3])
    by_lists = best.method in RE_RANKING
    return Alternative(best.method, best.at_loss[smallest], smallest, ours, loss, by_lists)
