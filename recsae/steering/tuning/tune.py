"""Reach a goal within an accuracy budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse
import torch

from recsae.capture.cases import spread
from recsae.core.errors import InvalidInput, NotEnoughData
from recsae.steering.files import Steering
from recsae.steering.frontier import Point, curve, outcome, strength_at, up_to
from recsae.steering.steered_scores import (
    activations,
    linearised,
    n_scored,
    steered_scores_of,
    thinned,
)
from recsae.steering.tuning.baselines import by_latents, fit_methods
from recsae.steering.tuning.facts import (
    MIN_CASES,
    Sides,
    compare_methods,
    dials,
    reached,
    side_effects,
    strengths,
    verdict,
)
from recsae.steering.tuning.path import N_LATENTS, natural_path
from recsae.steering.tuning.popularity import N_CANDIDATES, cohens_d, popularity_figures

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.run.workspace import Workspace
    from recsae.sae.model import SAE
    from recsae.steering.frontier import Counted, Steered
    from recsae.steering.steered_scores import Nearby
    from recsae.steering.tuning.goals import Goal
    from recsae.steering.tuning.path import TuningPath

MIN_FITTED = 200
N_TRIED = 13
MIN_USERS = 10
SLACK = 0.2
"""By which part a loss may be passed on the cases that the strength is chosen on."""


class Sizes(NamedTuple):
    """On at most how many cases the path is found, the strength chosen, all measured, the strengths
    of a table shown, and the curves of all ways drawn."""

    fitted: int = 4_000
    tried: int = 100_000
    tested: int = 1_000_000
    shown: int = 30_000
    curves: int = 10_000


IN_FULL = Sizes()
IN_BRIEF = Sizes(4_000, 30_000, 30_000, 10_000, 5_000)


class Tuned(NamedTuple):
    """Interventions that reach a goal within the budget, and what is to be told of them."""

    steering: Steering
    found: dict[str, Any]


def tune(
    work: Workspace,
    goal: Goal,
    max_loss: float,
    *,
    users: NDArray[np.int64] | None = None,
    n_latents: int = N_LATENTS,
    compare: bool = True,
    sizes: Sizes = IN_FULL,
) -> Tuned:
    """Find latents and strengths on construction users; report on held-out ones.

    Where scores are not linear in the states of the run's site, the path is found by how they
    change on average, and everything else by running the model, on fewer cases.

    Parameters
    ----------
    max_loss
        The part of NDCG@10 that may be lost, e.g. 0.01. The strength is the largest at which
        construction users that the path was not found on lose no more.
    users
        Rows of the users it is for; everybody if None. With fewer than ten construction users of
        them latents and strength are those for everybody.

    Raises
    ------
    InvalidInput
        Nothing fits the goal.
    NotEnoughData
        None of the users was held out.
    """
    if not (goal.items & work.recommender.catalog.recommendable).any():
        raise InvalidInput(f"No item that can be recommended is one of {goal.name!r}.")
    sides = _sides(work, users, sizes)
    near = linearised(steered_scores_of(work, sides.fit))
    path = _path(work.sae, near, goal, sides.fit, n_latents)
    way = by_latents(path, work.sae)

    def on(cases: Cases) -> Steered:
        return way.on(steered_scores_of(work, cases))

    few = thinned(work, sides.trial, sizes.shown, MIN_CASES)
    points = curve(few, on(few), up_to(path.longest, N_TRIED), goal.counted)
    roughly = strength_at(points, max_loss)
    strength = _refined(roughly, sides.trial, on(sides.trial), max_loss, goal.counted)
    steered, shown = on(sides.test), thinned(work, sides.test, sizes.shown, MIN_CASES)
    before, after = (outcome(sides.test, steered, s, goal.counted) for s in (0.0, strength))
    found = {
        "goal": goal.name,
        "quantity": goal.quantity,
        "allowed loss": max_loss,
        "strength": strength,
        "latents": dials(work, path, strength),
        **reached(before, after, sides),
        "strengths": strengths(points, on(shown), shown, goal),
        "side effects": side_effects(work, goal, before, after),
    }
    if goal.by_popularity is not None:
        found["popularity"] = popularity_figures(before, after, sides.test, goal.by_popularity)
    if compare:
        ways = fit_methods(goal, sides.fit, sides.known, path, work.sae, near)
        found["ways"] = compare_methods(work, ways, sides, sizes.curves)
        found["verdict"] = verdict(found["ways"], goal)
    return Tuned(
        Steering(path.interventions(strength, f"{goal.name} ({len(path.latents)} latents)")), found
    )


def _refined(
    strength: float, cases: Cases, steered: Steered, loss: float, counted: Counted
) -> float:
    """The strength that a few cases suggest, looked at again on more of them.

    What lies between two strengths that were tried is tried itself: where a little costs a lot at
    once, nothing between them is within the loss.
    """
    if not strength:
        return 0.0
    before = outcome(cases, steered, 0.0, counted)

    def at(strengths: Iterable[float]) -> list[Point]:
        return curve(cases, steered, strengths, counted, before)

    longest = steered.longest or strength
    nothing = Point(0.0, 1.0, before.mean_share, before.counts)
    points = [nothing, *at(sorted({min(x * strength, longest) for x in (0.8, 1.0, 1.25)}))]
    found = strength_at(points, loss)
    if at([found])[0].kept >= 1 - (1 + SLACK) * loss:
        return found
    return max(point.strength for point in points if point.kept >= 1 - loss)


def _sides(work: Workspace, users: NDArray[np.int64] | None, sizes: Sizes) -> Sides:
    known, test = work.construction, work.heldout
    if users is not None:
        test = test.take(np.flatnonzero(np.isin(test.sequence, users)))
        mine = np.flatnonzero(np.isin(known.sequence, users))
        if len(np.unique(known.sequence[mine])) >= MIN_USERS and len(mine) >= MIN_CASES:
            known = known.take(mine)
    if not len(test):
        raise NotEnoughData(
            "None of these users was held out for testing, so what is reached for them cannot be "
            "measured."
        )
    ours, others = (np.flatnonzero(known.user % 2 == half) for half in (0, 1))
    fit = ours[spread(len(ours), n_scored(work, sizes.fitted, MIN_FITTED))]
    trial = others[spread(len(others), n_scored(work, sizes.tried, MIN_CASES))]
    test = thinned(work, test, sizes.tested, MIN_CASES)
    return Sides(known, known.take(fit), known.take(trial), test)


def _path(sae: SAE, near: Nearby, goal: Goal, cases: Cases, n_latents: int) -> TuningPath:
    z = activations(sae, torch.from_numpy(cases.states), torch.arange(sae.n_latents))
    candidates = None
    if goal.by_popularity is not None:
        d = np.abs(cohens_d(scipy.sparse.csr_matrix(z.numpy()), cases, goal.by_popularity))
        candidates = np.zeros(sae.n_latents, dtype=bool)
        candidates[np.argsort(-d)[:N_CANDIDATES]] = True
    return natural_path(goal.weights, cases, z, sae.directions(), near, candidates, n_latents)
