"""Reach a goal within an accuracy budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse
import torch

from recsae.alternatives import activations, by_latents, find_ways
from recsae.cases import affordable, spread
from recsae.errors import InvalidInput, NotEnoughData
from recsae.frontier import outcome, strength_within
from recsae.popularity import N_CANDIDATES, cohens_d, popularity_figures
from recsae.reached import (
    MIN_CASES,
    Sides,
    compare_ways,
    dials,
    leakage,
    reached,
    side_effects,
    verdict,
)
from recsae.steering_file import Steering
from recsae.tuning import N_LATENTS, fitting_cases, natural_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.cases import Cases
    from recsae.frontier import Steered
    from recsae.goals import Goal
    from recsae.recommender import LinearHead
    from recsae.sae import SAE
    from recsae.tuning import TuningPath
    from recsae.whatif import OpenRun
    from recsae.workspace import Workspace

MAX_TRIED, MIN_USERS = 100_000, 10


class Tuned(NamedTuple):
    """Interventions that reach a goal within the budget, and what is to be told of them."""

    steering: Steering
    found: dict[str, Any]


def tune(
    run: OpenRun,
    work: Workspace,
    goal: Goal,
    max_loss: float,
    *,
    users: NDArray[np.int64] | None = None,
    n_latents: int = N_LATENTS,
    compare: bool = True,
) -> Tuned:
    """Find latents and strengths on construction users; report on held-out ones.

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
        Scores are not linear in the states of the run's site, or nothing fits the goal.
    NotEnoughData
        None of the users was held out.
    """
    if work.head is None:
        raise InvalidInput(
            f"Scores are not linear in the states at {work.site!r}, so no strengths can be worked "
            "out there: turn latents with `recsae steer --set`, or make a run of the default site."
        )
    if not (goal.items & run.recommender.catalog.recommendable).any():
        raise InvalidInput(f"No item that can be recommended is one of {goal.name!r}.")
    sides = _sides(work, users)
    sae, head = work.sae, work.head
    path = _path(sae, head, goal, sides.fit, n_latents)

    def by(cases: Cases) -> Steered:
        return by_latents(path, cases, sae, head)

    strength = strength_within(sides.trial, by(sides.trial), max_loss, goal.no_loss)
    steered = by(sides.test)
    before, after = (
        outcome(sides.test, steered, s, goal.items, goal.no_loss) for s in (0.0, strength)
    )
    found = {
        "goal": goal.name,
        "allowed loss": max_loss,
        "strength": strength,
        "latents": dials(run, path, strength),
        **reached(before, after, sides),
        "side effects": side_effects(work, goal, before, after),
    }
    if goal.unlearned:
        found["leakage"] = leakage(by, sides, goal, before)
    if goal.by_popularity is not None:
        found["popularity"] = popularity_figures(before, after, sides.test, goal.by_popularity)
    if compare:
        ways = find_ways(goal, sides.fit, sides.known, path, sae, head)
        found["ways"] = compare_ways(work, ways, sides, goal)
        found["verdict"] = verdict(found["ways"], goal)
    return Tuned(
        Steering(path.interventions(strength, f"{goal.name} ({len(path.latents)} latents)")), found
    )


def _sides(work: Workspace, users: NDArray[np.int64] | None) -> Sides:
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
    others = np.flatnonzero(known.user % 2 == 1)
    n_tried = affordable(MAX_TRIED, known.catalog.n_items, MIN_CASES)
    trial = known.take(others[spread(len(others), n_tried)])
    return Sides(known, known.take(fitting_cases(known)), trial, test)


def _path(sae: SAE, head: LinearHead, goal: Goal, cases: Cases, n_latents: int) -> TuningPath:
    z = activations(sae, torch.from_numpy(cases.states), torch.arange(sae.n_latents))
    candidates = None
    if goal.by_popularity is not None:
        d = np.abs(cohens_d(scipy.sparse.csr_matrix(z.numpy()), cases, goal.by_popularity))
        candidates = np.zeros(sae.n_latents, dtype=bool)
        candidates[np.argsort(-d)[:N_CANDIDATES]] = True
    return natural_path(goal.weights, cases, z, sae.directions(), head, candidates, n_latents)
