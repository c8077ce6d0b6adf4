"""Reach a goal within an accuracy budget, say what was reached, and compare the other ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse
import torch

from recsae import columns as C
from recsae.alternatives import RERANKING, Ways, activations, by_latents, find_ways
from recsae.attributes import DERIVED, ITEM_ITSELF, TERM
from recsae.cases import affordable, spread
from recsae.communities import FANS
from recsae.errors import InvalidInput, NotEnoughData
from recsae.frontier import (
    BUDGETS,
    WORST,
    Compared,
    Outcome,
    area,
    collateral,
    compared,
    curve,
    outcome,
    share_at,
    strength_within,
)
from recsae.popularity import N_CANDIDATES, cohens_d, popularity_figures
from recsae.steering_file import Steering
from recsae.tuning import N_LATENTS, fitting_cases, natural_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.cases import Cases
    from recsae.goals import Goal
    from recsae.recommender import LinearHead
    from recsae.sae import SAE
    from recsae.tuning import TuningPath
    from recsae.whatif import OpenRun
    from recsae.workspace import Workspace

MAX_TRIED, MAX_CURVE = 100_000, 10_000
MIN_CASES, MIN_USERS = 500, 10
MAX_VALUES = 60


class Sides(NamedTuple):
    """Construction cases: all, those to find the path on, and others to choose the strength on;
    and held-out ones."""

    known: Cases
    fit: Cases
    trial: Cases
    test: Cases


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
    strength = strength_within(sides.trial, by_latents(path, sides.trial, sae, head), max_loss)
    steered = by_latents(path, sides.test, sae, head)
    before = outcome(sides.test, steered, 0.0, goal.items)
    after = outcome(sides.test, steered, strength, goal.items)
    found = {
        "goal": goal.name,
        "allowed loss": max_loss,
        "strength": strength,
        "latents": _dials(run, path, strength),
        **_reached(before, after, sides),
    }
    if goal.by_popularity is not None:
        found["popularity"] = popularity_figures(before, after, sides.test, goal.by_popularity)
    if compare:
        ways = find_ways(goal, sides.fit, sides.known, path, sae, head)
        found["ways"] = _compare(work, ways, sides, goal)
        found["verdict"] = _verdict(found["ways"])
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


def _dials(run: OpenRun, path: TuningPath, strength: float) -> list[dict[str, Any]]:
    """What is done to each latent, those that are turned most first."""
    scale, bias = (x.tolist() for x in path.at(strength))
    names = run.dictionary.table.set_index(C.LATENT)[C.NAME]
    rows = []
    for latent, more, plus in zip(path.latents.tolist(), scale, bias, strict=True):
        sd = float(run.statistics.sd[latent])
        rows.append(
            {
                "latent": latent,
                "name": str(names[latent]),
                "verified": latent in run.verified,
                "times": 1 + more,
                "plus sd": plus / sd if sd > 0 else None,
                "plus": plus,
            }
        )
    size = run.sae.directions()[path.latents].norm(dim=1).tolist()
    return [
        row
        for _, row in sorted(
            zip(size, rows, strict=True), key=lambda pair: -abs(pair[0] * pair[1]["plus"])
        )
    ]


def _reached(before: Outcome, after: Outcome, sides: Sides) -> dict[str, Any]:
    found: Compared = compared(after, before)
    return {
        "held-out users": sides.test.n_users,
        "positions": len(sides.test),
        "NDCG@10 kept": list(found.kept),
        "share before": before.mean_share,
        "share after": found.share,
        "share, times": list(found.change),
    }


def _compare(work: Workspace, ways: Ways, sides: Sides, goal: Goal) -> list[dict[str, Any]]:
    """Every way's curve on held-out cases, as shares at some losses and as an area."""
    n_cases = affordable(MAX_CURVE, sides.test.catalog.n_items, MIN_CASES)
    trial = sides.trial.take(spread(len(sides.trial), n_cases))
    test = sides.test.take(spread(len(sides.test), n_cases))
    values = _other_values(work, goal)
    before, rows = None, []
    for tried, tested in zip(ways.all(trial), ways.all(test), strict=True):
        before = before or outcome(test, tested, 0.0, goal.items)
        base = before.mean_share
        far = strength_within(trial, tried, WORST)
        points = curve(test, tested, far, goal.items, before)
        shares = {loss: share_at(points, loss, base, more=goal.more) for loss in BUDGETS}
        rows.append(
            {
                "way": tested.name,
                **{f"{100 * loss:g} %": share for loss, share in shares.items()},
                "area": area(points, base, more=goal.more),
                "others move": collateral(points, before, values, WORST / 2),
            }
        )
    return rows


def _other_values(work: Workspace, goal: Goal) -> NDArray[np.float64]:
    """``(n_items, V)`` the most frequent other attribute values, for side effects."""
    attributes = work.labeler.attributes
    plain = [
        column
        for column, (name, _) in enumerate(attributes.names)
        if name not in (*DERIVED, TERM, FANS, ITEM_ITSELF)
    ]
    table = np.asarray(attributes.matrix[:, plain].toarray() > 0)
    table = table[:, ~(table == goal.items[:, None]).all(0)]
    frequent = np.argsort(-table.sum(0), kind="stable")[:MAX_VALUES]
    return table[:, frequent].astype(np.float64)


def _verdict(rows: list[dict[str, Any]]) -> str:
    """Which way wins, and when latents are the better tool all the same."""
    areas = {row["way"]: row["area"] for row in rows}
    best = max(areas, key=lambda way: areas[way])
    latents = next(iter(areas))
    beaten = [way for way in areas if areas[way] < areas[latents]]
    words = f"The latents' curve lies above {len(beaten)} of {len(areas) - 1} other ways"
    if best == latents:
        return words + "."
    words += f"; {best} reaches most (area {areas[best]:.3f} against {areas[latents]:.3f})."
    if best == RERANKING:
        words += (
            " It needs the attribute of every item when lists are made and knows nothing of the "
            "sequence: latents are the tool where items have no such data, where only some "
            "histories should be reached, or where scores are made elsewhere."
        )
    return words
