"""Tune latents towards a goal within an accuracy budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse
import torch

from recsae.capture.cases import spread
from recsae.core.errors import InvalidInput, NotEnoughData
from recsae.steering.files import Steering
from recsae.steering.frontier import Point, curve, outcome, strength_at, up_to
from recsae.steering.shortlist import Shortlist
from recsae.steering.steered_scores import (
    activations,
    linearised,
    n_scored,
    steered_scores_of,
    thinned,
)
from recsae.steering.tuning.baselines import by_latents, fit_methods
from recsae.steering.tuning.facts import (
    MIN_SCORED,
    TuningCases,
    compare_methods,
    effects_at_losses,
    goal_effect,
    latent_settings,
    side_effects,
    verdict,
)
from recsae.steering.tuning.path import MAX_TUNED_LATENTS, natural_path
from recsae.steering.tuning.popularity import N_CANDIDATE_LATENTS, cohens_d, popularity_measures
from recsae.steering.tuning.results import TuningResult

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

MIN_SEARCHED = 200
"""Where scoring cases is costly, the path is found on so many at least."""
N_STRENGTHS = 13
"""Strengths on the curve that the strength is chosen on."""
MIN_TUNED_USERS = 10
"""With fewer construction users of a cohort, latents and strength are those for everybody."""
SLACK = 0.2
"""By what part the allowed loss may be exceeded on the cases that the strength is chosen on."""
RETRIED = (0.8, 1.0, 1.25)
"""Multiples of a strength that are tried again on more cases."""


class Sizes(NamedTuple):
    """Limits on how many cases are used."""

    search: int = 4_000
    """To find the path."""
    confirm: int = 100_000
    """To choose the strength; with so many a loss of 1 % is known to about half a point."""
    heldout: int = 1_000_000
    """To measure the effect."""
    at_losses: int = 30_000
    """To measure the effect at other losses."""
    curves: int = 10_000
    """To draw the curves of all methods."""


IN_FULL = Sizes()
"""For a goal that is given."""
IN_BRIEF = Sizes(2_500, 20_000, 20_000, 6_000, 3_000)
"""For the goals that a run tries by itself."""


@dataclass(frozen=True)
class Tuned:
    """Interventions that reach a goal within the budget, and how far they do."""

    steering: Steering
    result: TuningResult


def tune(
    work: Workspace,
    goal: Goal,
    max_loss: float,
    *,
    users: NDArray[np.int64] | None = None,
    n_latents: int = MAX_TUNED_LATENTS,
    compare: bool = True,
    sizes: Sizes = IN_FULL,
) -> Tuned:
    """Find latents and their settings on construction users; measure the effect on held-out ones.

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
        users of them latents and strength are those for everybody.
    n_latents
        How many latents are turned at most.
    compare
        Whether other methods are tried as well, on the same held-out cases.

    Raises
    ------
    InvalidInput
        Nothing fits the goal.
    NotEnoughData
        None of the users was held out.
    """
    if not (goal.items & work.recommender.catalog.recommendable).any():
        raise InvalidInput(f"No item that can be recommended is one of {goal.name!r}.")
    cases = _cases(work, users, sizes)
    near = linearised(steered_scores_of(work, cases.search))
    path = _path(work.sae, near, goal, cases.search, n_latents)
    method = by_latents(path, work.sae)

    def on(some: Cases) -> Steered:
        return method.on(steered_scores_of(work, some))

    few = thinned(work, cases.confirm, sizes.at_losses, MIN_SCORED)
    points = curve(few, on(few), up_to(path.max_strength, N_STRENGTHS), goal.counted)
    strength = strength_at(points, max_loss)
    strength = _refined(strength, cases.confirm, on(cases.confirm), max_loss, goal.counted)
    heldout, steered = cases.heldout, on(cases.heldout)
    before, after = (outcome(heldout, steered, s, goal.counted) for s in (0.0, strength))
    in_full = heldout.counted[Shortlist].in_full if Shortlist in heldout.counted else None
    some = thinned(work, heldout, sizes.at_losses, MIN_SCORED)
    at_losses = effects_at_losses(points, on(some), some, goal)
    popularity, methods = [], []
    if goal.by_popularity is not None:
        popularity = popularity_measures(before, after, heldout, goal.by_popularity)
    if compare:
        fitted = fit_methods(goal, cases.search, cases.construction, path, work.sae, near)
        methods = compare_methods(work, fitted, cases, sizes.curves)
    result = TuningResult(
        goal=goal.name,
        quantity=goal.quantity,
        allowed_loss=max_loss,
        strength=strength,
        latents=tuple(latent_settings(work, path, strength)),
        effect=goal_effect(before, after, heldout),
        at_losses=tuple(at_losses),
        side_effects=tuple(side_effects(work.attributes, goal, before, after)),
        popularity=tuple(popularity),
        methods=tuple(methods),
        verdict=verdict(methods, goal) if methods else None,
        ranked_in_full=in_full,
    )
    name = f"{goal.name} ({len(path.latents)} latents)"
    return Tuned(Steering(path.interventions(strength, name)), result)


def _refined(
    strength: float, cases: Cases, steered: Steered, loss: float, counted: Counted
) -> float:
    """Correct, on more cases, a strength that was chosen on few.

    The interpolated strength is measured too: where the loss jumps between two measured strengths,
    interpolation overshoots, and the largest measured strength within the loss is returned.
    """
    if not strength:
        return 0.0
    before = outcome(cases, steered, 0.0, counted)

    def at(strengths: Iterable[float]) -> list[Point]:
        return curve(cases, steered, strengths, counted, before)

    max_strength = steered.max_strength or strength
    nothing = Point(0.0, 1.0, before.mean_share, before.counts)
    points = [nothing, *at(sorted({min(x * strength, max_strength) for x in RETRIED}))]
    refined = strength_at(points, loss)
    if at([refined])[0].kept >= 1 - (1 + SLACK) * loss:
        return refined
    return max(point.strength for point in points if point.kept >= 1 - loss)


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
        construction,
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
