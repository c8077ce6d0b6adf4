"""Reach a goal within an accuracy budget, by whichever method does it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse
import torch

from recsae.capture.cases import spread
from recsae.core.errors import InvalidInput, NotEnoughData
from recsae.steering.fairness.measure import group_effects
from recsae.steering.files import Steering
from recsae.steering.frontier import Point, outcome_of, strength_at
from recsae.steering.shortlist import Shortlist
from recsae.steering.steered_scores import (
    HeadScorer,
    activations,
    linearised,
    n_scored,
    steered_scores_of,
    thinned,
)
from recsae.steering.steps.applied import steered_lists
from recsae.steering.steps.first import FirstItems
from recsae.steering.steps.goals import goal_of, popularity_goal, popularity_of
from recsae.steering.steps.kinds import Wishes
from recsae.steering.steps.ranking import N_FIRST
from recsae.steering.tuning.baselines import (
    CONCEPT_0,
    FILTER,
    LATENTS,
    RANDOM,
    RE_RANKINGS,
    WITHIN,
    MethodMaker,
    directions_to,
    scale_of,
)
from recsae.steering.tuning.calibrated import TIMES_AS_MANY, popularity_by_others, powers_of
from recsae.steering.tuning.choice import Trial, Tried, chosen, try_methods
from recsae.steering.tuning.facts import (
    MIN_SCORED,
    TuningCases,
    choices,
    effects_at_losses,
    goal_effect,
    latent_settings,
    method_results,
    side_effects,
    verdict,
)
from recsae.steering.tuning.losses import Expectation, steadied
from recsae.steering.tuning.path import MAX_TUNED_LATENTS, natural_path
from recsae.steering.tuning.popularity import N_CANDIDATE_LATENTS, cohens_d, popularity_measures
from recsae.steering.tuning.popularity_direction import direction_to
from recsae.steering.tuning.results import TuningResult
from recsae.steering.tuning.scored import Scored

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.run.workspace import Workspace
    from recsae.sae.model import SAE
    from recsae.steering.methods import SteeringMethod
    from recsae.steering.steered_scores import Nearby
    from recsae.steering.steps.goals import Goal
    from recsae.steering.tuning.path import TuningPath
    from recsae.steering.tuning.popularity_direction import PopularityDirection
    from recsae.steering.tuning.results import MethodResult

MIN_SEARCHED = 200
"""Where scoring cases is costly, the path is found on so many at least."""
MIN_TUNED_USERS = 10
"""With fewer construction users of a cohort, latents and strength are those for everybody."""
SLACK = 0.2
"""By what part the allowed loss may be exceeded on the cases that the strength is chosen on."""
MAX_HALVED = 4
"""How often the smallest of them is halved where it loses too much."""
END_THINNING = 4
"""On how many times fewer cases than the curves themselves their ends are looked for."""
RETRIED = (0.8, 1.0, 1.4, 1.9)
"""Multiples of a strength tried again on more cases: losses grow about as their squares."""


class Sizes(NamedTuple):
    """Limits on how many cases are used."""

    search: int = 4_000
    """To find the path."""
    confirm: int = 100_000
    """To choose the strength; with so many a loss of 1 % is known to about half a point."""
    heldout: int = 1_000_000
    """To measure the effect."""
    at_losses: int = 20_000
    """To try the methods, and to measure the effect at other losses."""
    curves: int = 10_000
    """To draw the curves of all methods."""
    candidates: tuple[int, ...] = (50, 100, 500)
    """Within so many items re-ranking is drawn as well, as it is done behind a retriever."""


IN_FULL = Sizes()
"""For a goal that is given."""
IN_BRIEF = Sizes(2_500, 20_000, 20_000, 4_000, 2_000, (100,))
"""For the goals that a run tries by itself."""


@dataclass(frozen=True)
class Tuned:
    """A steering that reaches a goal within the budget, and how far it does."""

    steering: Steering
    result: TuningResult


def tune(
    work: Workspace,
    goal: Goal,
    max_loss: float,
    *,
    users: NDArray[np.int64] | None = None,
    n_latents: int = MAX_TUNED_LATENTS,
    method: str | None = None,
    candidates: int | None = None,
    compare: bool = True,
    sizes: Sizes = IN_FULL,
) -> Tuned:
    """Find the method that reaches most, and how far to go, on construction users; measure the
    effect on held-out ones.

    Where scores are not linear in the states of the run's site, the path is found by how they
    change on average, and everything else by running the model, on fewer cases.

    Parameters
    ----------
    max_loss
        The part of NDCG@10 that may be lost, e.g. 0.01. The strength is about the largest at
        which construction users that the path was not found on lose this much; their measured
        loss may exceed it by a fifth (``SLACK``).
    users
        Rows of the users it is for, ``(n,)``; everybody if None. With fewer than ten construction
        users of them the method and its strength are those for everybody.
    n_latents
        How many latents are turned at most.
    method
        The method that is asked for, by its name in ``choice.NAMES``; the best one if None.
    candidates
        Re-rank within so many items, the first by score; all if None.
    compare
        Whether the curves of all methods are drawn as well, on the same held-out cases. Without
        them, and with ``method``, no other method is tried.

    Raises
    ------
    InvalidInput
        Nothing fits the goal, or it has no such method.
    NotEnoughData
        None of the users was held out.
    """
    if not (goal.items & work.recommender.catalog.recommendable).any():
        raise InvalidInput(f"No item that can be recommended is one of {goal.name!r}.")
    if candidates is not None and candidates >= work.recommender.catalog.recommendable.sum():
        candidates = None  # which are all
    found = _Setting.of(work, goal, _cases(work, users, sizes), n_latents, sizes)
    cases, trial = found.cases, found.trial(max_loss)
    only = None if compare else method
    tried = try_methods(found.trying, trial, found.directions, candidates, only)
    mine, best = chosen(trial, tried, method), trial.best(tried)
    strength, by_curve = mine.strength, list[Point]()
    if mine.method.name != FILTER:  # which has no strength
        by_curve = trial.whole_curve(mine)
    if by_curve:
        confirming = found.scored(cases.confirm, None, expects=True)
        strength = _refined(strength, confirming, mine.method, max_loss)
    some = found.scored(thinned(work, cases.heldout, sizes.at_losses, MIN_SCORED))
    again = {one.method.name: one._replace(method=found.maker.again(one.method)) for one in tried}
    done = again[mine.method.name].method
    at_losses = effects_at_losses(by_curve, done, some, goal) if by_curve else []
    steering = Steering(done.steps(strength) if strength and done.steps else [])
    before, after = (
        outcome_of(steered_lists(work, cases.heldout, steps), cases.heldout, goal.counted)
        for steps in ([], steering.steps)
    )
    reached = choices(again.values(), some)
    methods = found.curves(trial, list(again.values())) if compare else []
    said = [verdict(methods, goal)] if methods else []
    if found.concept_0 is not None:
        said.append(found.concept_0.said(reached, max_loss))
    counted = cases.heldout.counted
    result = TuningResult(
        goal=goal.name,
        quantity=goal.quantity,
        allowed_loss=max_loss,
        strength=strength,
        latents=tuple(latent_settings(work, steering.interventions)),
        effect=goal_effect(before, after, cases.heldout),
        at_losses=tuple(at_losses),
        side_effects=tuple(side_effects(work.attributes, goal, before, after)),
        popularity=()
        if goal.by_popularity is None
        else tuple(popularity_measures(before, after, cases.heldout, goal.by_popularity)),
        methods=tuple(methods),
        verdict=" ".join(said) or None,
        ranked_in_full=counted[Shortlist].in_full if Shortlist in counted else None,
        method=done.name,
        recommended=best.method.name,
        done=tuple(map(str, steering.steps)),
        choices=tuple(reached),
        groups=group_effects(work, cases.heldout, before, after, goal.quantity),
    )
    return Tuned(steering, result)


@dataclass(frozen=True)
class _Setting:
    """All that methods towards a goal are made of and tried on."""

    work: Workspace
    goal: Goal
    cases: TuningCases
    sizes: Sizes
    near: Nearby
    """How scores of the search cases follow their states."""
    maker: MethodMaker
    trying: MethodMaker
    """The same, with the popularity of items as others than the cases to try them on have it."""
    directions: dict[str, torch.Tensor]
    concept_0: PopularityDirection | None

    @classmethod
    def of(
        cls, work: Workspace, goal: Goal, cases: TuningCases, n_latents: int, sizes: Sizes
    ) -> _Setting:
        """Find the path of latents, the directions, the units and the calibration of re-ranking."""
        searched = steered_scores_of(work, cases.search)
        near, scale = linearised(searched), scale_of(searched)
        path = _path(work.sae, near, goal, cases.search, n_latents)
        more = thinned(work, cases.fit, TIMES_AS_MANY * sizes.search, MIN_SEARCHED)
        by_others = popularity_by_others(popularity_of(work.construction), popularity_of(cases.fit))
        powers = powers_of(steered_scores_of(work, more), scale.temperature, by_others)
        popular = goal_of(work, Wishes(popularity="+"))
        maker = MethodMaker(goal, work.sae, path, scale, powers, popular)
        trying = maker._replace(popular=_popular_by_others(work, cases.confirm))
        directions = directions_to(goal, cases.fit, torch.from_numpy(cases.search.states))
        real = work.recommender.catalog.recommendable
        concept_0 = direction_to(goal, near, real, cases.search.states)
        if concept_0 is not None:
            directions[CONCEPT_0] = concept_0.vector
        return cls(work, goal, cases, sizes, near, maker, trying, directions, concept_0)

    def scored(self, some: Cases, candidates: int | None = 0, *, expects: bool = False) -> Scored:
        """Some of the cases, on which methods are measured: several that choose among so many
        ``candidates`` at most, or one where that is None."""
        scorer, temperature = steered_scores_of(self.work, some), self.maker.scale.temperature
        first = expectation = None
        n = max(N_FIRST, candidates or 0)
        if candidates is not None and isinstance(scorer, HeadScorer) and FirstItems.fit(scorer, n):
            first = FirstItems(scorer, temperature, n)
        if expects:
            known = self.goal.counted, self.trying.better, first
            expectation = Expectation.of(scorer, temperature, *known)
        return Scored(scorer, self.goal.counted, expectation, first)

    def trial(self, max_loss: float) -> Trial:
        """The cases that methods are tried on."""
        few, fewer = (
            thinned(self.work, self.cases.confirm, limit, MIN_SCORED)
            for limit in (self.sizes.at_losses, self.sizes.curves // END_THINNING)
        )
        return Trial(self.scored(few, expects=True), self.scored(fewer), self.goal, max_loss)

    def curves(self, trial: Trial, tried: list[Tried]) -> list[MethodResult]:
        """The curves of all methods on held-out cases: those that were tried, the latents first,
        re-ranking within the first items, and what cannot be kept."""
        maker, sizes = self.maker, self.sizes
        ours = next(one for one in tried if one.method.name == LATENTS)
        methods = {one.method.name: one.method for one in tried if one.method.name != FILTER}
        ends = {one.method.name: one.far for one in tried}
        by_lists = [one for one in tried if one.method.name.partition(WITHIN)[0] in RE_RANKINGS]
        kind = trial.best(by_lists).method.name.partition(WITHIN)[0]
        others = [maker.re_ranking(kind, n) for n in (None, *sizes.candidates)]
        if ours.far:
            others += [maker.retrieved(ours.far, n) for n in sizes.candidates]
        others += [
            maker.along(RANDOM, self.directions[RANDOM]),
            maker.neurons(self.cases.search, self.near),
            maker.reconstruction(),
        ]
        for method in others:
            methods.setdefault(method.name, method)

        def end_of(method: SteeringMethod) -> float:
            known = ends.get(method.name)
            return trial.end_of(method) if known is None else known

        drawn = thinned(self.work, self.cases.heldout, sizes.curves, MIN_SCORED)
        heldout = self.scored(drawn, max(sizes.candidates))
        every = [methods.pop(LATENTS), *methods.values()]
        return method_results(self.work.attributes, every, end_of, heldout, self.goal)


def _popular_by_others(work: Workspace, cases: Cases) -> Goal:
    """More popular items, as construction users other than those of the cases have it: what one
    user had is no sign, for that user, of an item's popularity."""
    counts = popularity_by_others(popularity_of(work.construction), popularity_of(cases))
    whole = np.rint(counts).astype(np.int64)
    return popularity_goal(whole, work.recommender.catalog.recommendable, more=True)


def _refined(strength: float, confirming: Scored, method: SteeringMethod, loss: float) -> float:
    """Correct, on more cases, a strength that was chosen on few.

    The interpolated strength is measured too: where the loss jumps between two measured strengths,
    interpolation overshoots, and the largest measured strength within the loss is returned.
    """
    if not strength:
        return 0.0

    def at(strengths: Iterable[float]) -> list[Point]:
        return confirming.curve(method, strengths)

    def steady(points: list[Point]) -> list[Point]:
        return steadied(points, loss, confirming.before)

    most = method.max_strength or math.inf
    points = at([0.0, *sorted({min(x * strength, most) for x in RETRIED})])
    for _ in range(MAX_HALVED):
        if steady(points)[1].kept >= 1 - loss:
            break
        points[1:] = [*at([points[1].strength / 2]), *points[1:]]
    refined = strength_at(steady(points), loss)
    *before_it, last = steady([*points, *at([refined])])
    if last.kept >= 1 - (1 + SLACK) * loss:
        return refined
    return max((point.strength for point in before_it if point.kept >= 1 - loss), default=0.0)


def _cases(work: Workspace, users: NDArray[np.int64] | None, sizes: Sizes) -> TuningCases:
    construction, heldout = work.construction, work.heldout
    if users is not None:
        heldout = heldout.take(np.flatnonzero(np.isin(heldout.sequence, users)))
        mine = np.flatnonzero(np.isin(construction.sequence, users))
        n_users = len(np.unique(construction.sequence[mine]))
        if n_users >= MIN_TUNED_USERS and len(mine) >= MIN_SCORED:
            construction = construction.take(mine)
    if not len(heldout):
        raise NotEnoughData(
            "None of these users was held out for testing, so what is reached for them cannot be "
            "measured."
        )
    ours, others = (np.flatnonzero(construction.user % 2 == half) for half in (0, 1))
    search = ours[spread(len(ours), n_scored(work, sizes.search, MIN_SEARCHED))]
    confirm = others[spread(len(others), n_scored(work, sizes.confirm, MIN_SCORED))]
    return TuningCases(
        construction.take(ours),
        construction.take(search),
        construction.take(confirm),
        thinned(work, heldout, sizes.heldout, MIN_SCORED),
    )


def _path(sae: SAE, near: Nearby, goal: Goal, cases: Cases, n_latents: int) -> TuningPath:
    z = activations(sae, torch.from_numpy(cases.states), torch.arange(sae.n_latents))
    candidates = None
    if goal.by_popularity is not None:
        d = np.abs(cohens_d(scipy.sparse.csr_matrix(z.numpy()), cases, goal.by_popularity))
        candidates = np.zeros(sae.n_latents, dtype=bool)
        candidates[np.argsort(-d)[:N_CANDIDATE_LATENTS]] = True
    return natural_path(goal.weights, cases, z, sae.directions(), near, candidates, n_latents)
