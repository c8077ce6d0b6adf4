"""Which method reaches a goal: all that a file can keep, tried on construction users."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsae.core.errors import InvalidInput
from recsae.core.threads import in_threads
from recsae.steering.frontier import (
    MAX_CURVE_LOSS,
    Point,
    share_at,
    strength_at,
    strength_within,
    up_to,
)
from recsae.steering.tuning.baselines import (
    BY_PROBABILITY,
    CALIBRATED,
    CONCEPT_0,
    FILTER,
    LATENTS,
    LOGIT,
    MEAN,
    PLACED,
    PROBE,
    RE_RANKINGS,
    RERANKING,
    THEN,
    WITHIN,
)
from recsae.steering.tuning.losses import FURTHEST, steadied

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch
    from numpy.typing import NDArray

    from recsae.steering.methods import SteeringMethod
    from recsae.steering.steps.goals import Goal
    from recsae.steering.tuning.baselines import MethodMaker
    from recsae.steering.tuning.scored import Scored

    Floats = NDArray[np.float64]

N_STRENGTHS = 9
"""Strengths on the curve that the strength is chosen on."""
END_HALVINGS = 3
"""How many halvings find the end of a curve: it need be known roughly only."""
END_MARGIN = 1.2
"""How much further than the end that was found a curve is drawn: the curve itself shows what is
reached where, but one that ends early is cut off."""
N_RESAMPLED = 200
"""Samples of users that say whether one method is ahead of another."""
NAMES = {
    "latents": LATENTS,
    "latents-by-probability": PLACED,
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
    few, fewer
        Cases that strengths are chosen on, and fewer of them, on which it is found how far to go.
    loss
        The part of NDCG@10 that may be lost.
    """

    def __init__(self, few: Scored, fewer: Scored, goal: Goal, loss: float) -> None:
        self.few, self.fewer, self.goal, self.loss = few, fewer, goal, loss

    def end_of(self, method: SteeringMethod) -> float:
        """About the strength at which a tenth of NDCG@10 is lost, or the method's largest."""
        fewer = self.fewer
        far = END_MARGIN * strength_within(
            *(fewer.cases, fewer.on(method), MAX_CURVE_LOSS, fewer.counted),
            *(END_HALVINGS, fewer.before),
        )
        fewer.forget(method)
        return min(far, method.max_strength or far)

    def whole_curve(self, tried: Tried) -> list[Point]:
        """The curve of a method that was followed until enough was lost, to its end."""
        done = tried.points[-1].strength
        if done >= tried.far:
            return tried.points
        left = [s for s in up_to(tried.far, N_STRENGTHS).tolist() if s > done]
        further = self.few.curve(tried.method, left)
        self.few.forget(tried.method)
        return [*tried.points, *further]

    def of(self, method: SteeringMethod) -> Tried:
        """Find the strength, and what is reached there."""
        far = self.end_of(method)
        strengths = [0.0, 1.0] if method.name == FILTER else up_to(far, N_STRENGTHS).tolist()
        points = self.few.curve(method, strengths, FURTHEST * self.loss)
        self.few.forget(method)
        steady = steadied(points, self.loss, self.few.before)
        value = share_at(steady, self.loss, self.few.before.mean_share, more=self.goal.more)
        return Tried(method, far, points, strength_at(steady, self.loss), value)

    def gain(self, tried: Tried) -> float:
        """What a method gains at the loss that is allowed."""
        sign = 1 if self.goal.more else -1
        return sign * (tried.value - self.few.before.mean_share)

    def best(self, tried: Iterable[Tried]) -> Tried:
        """The method that gains most, of equal ones the first; one that combines others only where
        it is clearly ahead of the best that does not."""
        simple, combined = list[Tried](), list[Tried]()
        for one in tried:
            (combined if one.method.name.startswith(THEN) else simple).append(one)
        best = max(simple or combined, key=self.gain)
        for one in combined:
            best = one if self.is_ahead(one, best) else best
        return best

    def is_ahead(self, one: Tried, other: Tried) -> bool:
        """Whether a method gains more than another in 97.5 % of samples of the users."""
        if one is other:
            return False
        rng, sign = np.random.default_rng(0), 1 if self.goal.more else -1
        times = rng.poisson(1.0, (N_RESAMPLED, len(self.few.before.n))).astype(np.float64)
        values = [self._values(tried, times) for tried in (one, other)]
        return bool(np.quantile(sign * (values[0] - values[1]), 0.025) > 0)

    def _values(self, tried: Tried, times: Floats) -> Floats:
        """The goal's quantity at the allowed loss where users count so many ``times (B, U)``."""
        points, before = tried.points, self.few.unsteered(tried.method)
        outcomes = [before, *(point.outcome for point in points if point.outcome)]

        def sums(name: str) -> Floats:
            of_users: Floats = np.stack([getattr(one, name) for one in outcomes])
            return of_users @ times.T

        ndcg, share, n = sums("ndcg"), sums("share"), times @ self.few.before.n
        known = all(one.expected is not None for one in outcomes)
        expected = sums("expected") if known else None
        values = []
        for b in range(len(times)):
            resampled = [
                point._replace(
                    kept=float(ndcg[s, b] / ndcg[0, b]),
                    share=float(share[s, b] / n[b]),
                    expected=None if expected is None else float(expected[s, b] / expected[0, b]),
                )
                for s, point in enumerate(points, start=1)
            ]
            steady = steadied(resampled, self.loss, before)
            base = float(share[0, b] / n[b])
            values.append(share_at(steady, self.loss, base, more=self.goal.more))
        return np.asarray(values)


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

    if goal.unlearned and asked(FILTER):
        found.append(trial.of(maker.filter()))
    far = 0.0
    if any(map(asked, (LATENTS, PLACED, THEN))):
        found.append(trial.of(maker.latents()))
        far = found[-1].far
    further = [maker.placed(far, candidates)] if far and asked(PLACED) else []
    unfit = {LOGIT} if goal.by_popularity is None else set[str]()
    unfit |= {CALIBRATED} if maker.powers is None else set()
    names = [name for name in RE_RANKINGS if name not in unfit and asked(name)]
    further += [maker.re_ranking(name, candidates) for name in names]
    further += [
        maker.along(name, directions[name])
        for name in (CONCEPT_0, MEAN, PROBE)
        if name in directions and asked(name)
    ]
    if far and (wanted == THEN or (wanted is None and candidates is not None)):
        further.append(maker.retrieved(far, candidates))
    return [*found, *in_threads(trial.of, further, at_once=trial.few.scorer.at_once)]


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
        "latents-by-probability": "no latent moves the lists",
        "latents+re-ranking": "no latent moves the lists",
        "popularity-direction": "that direction is for popularity (--popularity)",
    }.get(name, "too few histories tell the goal's items from others")
    raise InvalidInput(f"There is no {name} for the goal {trial.goal.name!r}: {why}.")
