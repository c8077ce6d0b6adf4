"""Which method reaches a goal: all that a file can keep, tried on construction users."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from recsae.core.errors import InvalidInput
from recsae.steering.frontier import (
    LIST_LENGTH,
    MAX_CURVE_LOSS,
    Point,
    curve,
    outcome_of,
    share_at,
    strength_at,
    strength_within,
    up_to,
)
from recsae.steering.steered_scores import steered_scores_of
from recsae.steering.steps.applied import Applied
from recsae.steering.tuning.baselines import (
    BY_PROBABILITY,
    CALIBRATED,
    CONCEPT_0,
    FILTER,
    LATENTS,
    LOGIT,
    MEAN,
    PROBE,
    RE_RANKINGS,
    RERANKING,
    THEN,
    WITHIN,
    Parts,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch

    from recsae.capture.cases import Cases
    from recsae.run.workspace import Workspace
    from recsae.steering.methods import SteeringMethod
    from recsae.steering.steps.goals import Goal
    from recsae.steering.tuning.baselines import MethodMaker

N_STRENGTHS = 13
"""Strengths on the curve that the strength is chosen on."""
END_HALVINGS = 4
"""How many halvings find the end of a curve: it need be known roughly only."""
END_MARGIN = 1.2
"""How much further than the end that was found a curve is drawn: the curve itself shows what is
reached where, but one that ends early is cut off."""
ENOUGH = 2.0
"""A method is followed to so many times the loss that is allowed."""
NAMES = {
    "latents": LATENTS,
    "re-ranking": RERANKING,
    "probability": BY_PROBABILITY,
    "calibrated-probability": CALIBRATED,
    "logit-adjustment": LOGIT,
    "popularity-direction": CONCEPT_0,
    "latents+re-ranking": THEN,
    "class-mean": MEAN,
    "probe": PROBE,
    "filter": FILTER,
}
"""Methods as people ask for them, and what the names of those that are meant begin with."""


class Tried(NamedTuple):
    """A method on construction users that the path was not found on."""

    method: SteeringMethod
    far: float
    """About the strength at which a tenth of NDCG@10 is lost."""
    points: list[Point]
    strength: float
    """At which the loss that is allowed is lost."""
    value: float
    """The goal's quantity there."""


class Trial:
    """The cases that methods are tried on.

    Parameters
    ----------
    cases, fewer
        Cases that strengths are chosen on, and fewer of them, on which it is found how far to go.
    loss
        The part of NDCG@10 that may be lost.
    """

    def __init__(
        self, work: Workspace, cases: Cases, fewer: Cases, goal: Goal, loss: float
    ) -> None:
        self.cases, self.fewer, self.goal, self.loss = cases, fewer, goal, loss
        self._scorers = [steered_scores_of(work, some) for some in (cases, fewer)]
        self.before, self._before = (
            outcome_of(Applied().lists(scorer, LIST_LENGTH), scorer.cases, goal.counted)
            for scorer in self._scorers
        )

    def end_of(self, method: SteeringMethod) -> float:
        """About the strength at which a tenth of NDCG@10 is lost, or the method's largest."""
        steered = method.on(self._scorers[1])
        counted = self.goal.counted
        far = END_MARGIN * strength_within(
            self.fewer, steered, MAX_CURVE_LOSS, counted, END_HALVINGS, self._before
        )
        return min(far, method.max_strength or far)

    def whole_curve(self, tried: Tried) -> list[Point]:
        """The curve of a method that was followed until enough was lost, to its end."""
        done = tried.points[-1].strength
        if done >= tried.far:
            return tried.points
        left = [s for s in up_to(tried.far, N_STRENGTHS).tolist() if s > done]
        steered = tried.method.on(self._scorers[0])
        further = curve(self.cases, steered, left, self.goal.counted, self.before)
        return [*tried.points, *further]

    def of(self, method: SteeringMethod) -> Tried:
        """Find the strength, and what is reached there."""
        far = self.end_of(method)
        strengths = [0.0, 1.0] if method.name == FILTER else up_to(far, N_STRENGTHS).tolist()
        steered, counted = method.on(self._scorers[0]), self.goal.counted
        until = ENOUGH * self.loss
        points = curve(self.cases, steered, strengths, counted, self.before, until)
        value = share_at(points, self.loss, self.before.mean_share, more=self.goal.more)
        return Tried(method, far, points, strength_at(points, self.loss), value)

    def gain(self, tried: Tried) -> float:
        """What a method gains at the loss that is allowed."""
        sign = 1 if self.goal.more else -1
        return sign * (tried.value - self.before.mean_share)

    def best(self, tried: Iterable[Tried]) -> Tried:
        """The method that gains most; of equal ones the first."""
        return max(tried, key=self.gain)

    def then(self, maker: MethodMaker, latents: Tried, other: Tried) -> SteeringMethod:
        """Latents, then re-ranking: each as far as it goes alone, in proportion to its gain."""
        gains = [max(self.gain(one), 0.0) for one in (latents, other)]
        largest = max(gains) or 1.0
        parts = Parts(gains[0] / largest * latents.strength, gains[1] / largest * other.strength)
        return maker.then(latents.method, other.method, parts)


def try_methods(
    maker: MethodMaker,
    trial: Trial,
    directions: dict[str, torch.Tensor],
    candidates: int | None,
    only: str | None = None,
) -> list[Tried]:
    """Try every method that a file can keep; the simplest come first.

    ``only`` is the one that is asked for, by its name in ``NAMES``: no other is tried but those
    that it is made of.
    """
    goal, found = maker.goal, list[Tried]()
    wanted = None if only is None else NAMES[only]

    def asked(name: str) -> bool:
        return wanted is None or wanted == name

    latents_then = asked(THEN)
    if goal.unlearned and asked(FILTER):
        found.append(trial.of(maker.filter()))
    unfit = {LOGIT} if goal.by_popularity is None else set[str]()
    unfit |= {CALIBRATED} if maker.calibration is None else set()
    names = [name for name in RE_RANKINGS if name not in unfit]
    by_lists = [
        trial.of(maker.re_ranking(name, candidates))
        for name in names
        if latents_then or asked(name)
    ]
    latents = [trial.of(maker.latents())] if latents_then or asked(LATENTS) else []
    found += latents + by_lists
    found += [
        trial.of(maker.along(name, directions[name]))
        for name in (CONCEPT_0, MEAN, PROBE)
        if name in directions and asked(name)
    ]
    if latents_then:
        found.append(trial.of(trial.then(maker, latents[0], trial.best(by_lists))))
    return found


def chosen(trial: Trial, tried: list[Tried], name: str | None) -> Tried:
    """The method that gains most, or the one that is asked for.

    Raises
    ------
    InvalidInput
        The goal has no such method.
    """
    if name is None:
        return trial.best(tried)
    for one in tried:
        # re-ranking within some candidates says so at the end of its name
        own = one.method.name.partition(WITHIN)[0]
        if own == NAMES[name] or (NAMES[name] == THEN and own.startswith(THEN)):
            return one
    why = {
        "filter": "a filter is for what is never to be recommended (--never)",
        "logit-adjustment": "logit adjustment is for popularity (--popularity)",
        "popularity-direction": "that direction is for popularity (--popularity)",
    }.get(name, "too few histories tell the goal's items from others")
    raise InvalidInput(f"There is no {name} for the goal {trial.goal.name!r}: {why}.")
