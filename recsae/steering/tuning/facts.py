"""What is told of steering by goal: dials, what was reached, side effects, the other ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsae.concepts.attributes.values import own_columns
from recsae.core import columns as C
from recsae.steering.frontier import (
    BUDGETS,
    WORST,
    area,
    collateral,
    compared,
    curve,
    outcome,
    share_at,
    strength_at,
    strength_within,
    up_to,
)
from recsae.steering.steered_scores import steered_scores_of, thinned
from recsae.steering.tuning.baselines import BY_PROBABILITY, RERANKING
from recsae.steering.tuning.popularity import gini

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.run.workspace import Workspace
    from recsae.steering.frontier import Outcome, Point, Steered
    from recsae.steering.tuning.baselines import SteeringMethods
    from recsae.steering.tuning.goals import Goal
    from recsae.steering.tuning.path import TuningPath

MIN_CASES = 500
ENDS = 4
ROUGHLY = 4
BEYOND = 1.2
"""On how many times fewer cases and by how many halvings the end of a curve is found, and how much
further it is drawn: the curve tells what is reached where, but one that ends early is cut off."""
MAX_VALUES = 60
N_EFFECTS = 8


class Sides(NamedTuple):
    """Construction cases: all, those to find the path on, and others to choose the strength on;
    and held-out ones."""

    known: Cases
    fit: Cases
    trial: Cases
    test: Cases


def dials(work: Workspace, path: TuningPath, strength: float) -> list[dict[str, Any]]:
    """What is done to each latent, those that are turned most first."""
    scale, bias = (x.tolist() for x in path.at(strength))
    names = work.dictionary.table.set_index(C.LATENT)[C.NAME]
    rows = []
    for latent, more, plus in zip(path.latents.tolist(), scale, bias, strict=True):
        sd = float(work.statistics.sd[latent])
        rows.append(
            {
                "latent": latent,
                "name": str(names[latent]),
                "verified": latent in work.verified,
                "times": 1 + more,
                "plus sd": plus / sd if sd > 0 else None,
                "plus": plus,
            }
        )
    size = work.sae.directions()[path.latents].norm(dim=1).tolist()
    return [
        row
        for _, row in sorted(
            zip(size, rows, strict=True), key=lambda pair: -abs(pair[0] * pair[1]["plus"])
        )
    ]


def reached(before: Outcome, after: Outcome, sides: Sides) -> dict[str, Any]:
    """The goal's quantity and NDCG of held-out users."""
    found = compared(after, before)
    return {
        "held-out users": sides.test.n_users,
        "positions": len(sides.test),
        "NDCG@10 kept": list(found.kept),
        "before": before.mean_share,
        "after": found.share,
        "times": list(found.change),
    }


def strengths(
    points: list[Point], steered: Steered, cases: Cases, goal: Goal
) -> list[dict[str, Any]]:
    """What held-out cases reach at each loss that construction users are allowed.

    ``points`` is the curve of construction cases, that strengths are chosen on.
    """
    before = outcome(cases, steered, 0.0, goal.counted)
    rows = [_at(0.0, 0.0, before, before, goal, cases)]
    for loss in BUDGETS:
        strength = strength_at(points, loss)
        after = outcome(cases, steered, strength, goal.counted)
        rows.append(_at(loss, strength, after, before, goal, cases))
    return rows


def _at(
    loss: float,
    strength: float,
    after: Outcome,
    before: Outcome,
    goal: Goal,
    cases: Cases,
) -> dict[str, Any]:
    found = compared(after, before)
    row = {
        "allowed loss": loss,
        "strength": strength,
        "NDCG@10 kept": found.kept[0],
        "low": found.kept[1],
        "high": found.kept[2],
        goal.quantity: after.mean_share,
        "times": found.change[0],
    }
    if goal.unlearned:
        row["lists with any"] = after.lists_with_any
    if goal.by_popularity is not None:
        row["Gini coefficient"] = gini(after.counts[cases.catalog.recommendable])
        row["head: share of lists"] = float(after.counts[goal.items].sum() / after.counts.sum())
    return row


def side_effects(
    work: Workspace, goal: Goal, before: Outcome, after: Outcome
) -> list[dict[str, Any]]:
    """The other attribute values whose shares of the lists move most."""
    names, values = _other_values(work, goal)
    old, new = (o.counts @ values / o.counts.sum() for o in (before, after))
    most = np.argsort(-np.abs(new - old), kind="stable")[:N_EFFECTS]
    return [
        {"value": names[j], "before": float(old[j]), "after": float(new[j])}
        for j in most.tolist()
        if new[j] != old[j]
    ]


def compare_methods(
    work: Workspace, ways: SteeringMethods, sides: Sides, limit: int
) -> list[dict[str, Any]]:
    """Every way's curve on at most ``limit`` held-out cases, as values at some losses and as an
    area; ``curve`` is the NDCG@10 kept and the value at each strength tried."""
    goal = ways.goal
    trial = thinned(work, sides.trial, limit // ENDS, MIN_CASES)  # only to find the curves' ends
    test = thinned(work, sides.test, limit, MIN_CASES)
    _, others = _other_values(work, goal)
    before, rows = None, []
    for tried, tested in zip(
        *(ways.all(steered_scores_of(work, cases)) for cases in (trial, test)), strict=True
    ):
        before = before or outcome(test, tested, 0.0, goal.counted)
        base = before.mean_share
        far = BEYOND * strength_within(trial, tried, WORST, goal.counted, ROUGHLY)
        far = min(far, tested.longest or far)
        points = curve(test, tested, up_to(far), goal.counted, before)
        shares = {loss: share_at(points, loss, base, more=goal.more) for loss in BUDGETS}
        rows.append(
            {
                "way": tested.name,
                **{f"{100 * loss:g} %": share for loss, share in shares.items()},
                "area": area(points, base, more=goal.more),
                "others move": collateral(points, before, others, WORST / 2),
                "curve": [[point.kept, point.share] for point in points],
            }
        )
    return rows


def _other_values(work: Workspace, goal: Goal) -> tuple[list[str], NDArray[np.float64]]:
    """The most frequent other attribute values, and ``(n_items, V)`` which items have them."""
    own = np.array(own_columns(work.attributes), dtype=np.int64)
    matrix = work.attributes.matrix[:, own] > 0
    n_items = np.asarray(matrix.sum(0)).ravel()
    frequent = np.argsort(-n_items, kind="stable")[: 2 * MAX_VALUES]
    table = matrix[:, frequent].toarray()
    other = np.flatnonzero(~(table == goal.items[:, None]).all(0))[:MAX_VALUES]
    names = [": ".join(work.attributes.names[j]) for j in own[frequent[other]].tolist()]
    return names, table[:, other].astype(np.float64)


def verdict(rows: list[dict[str, Any]], goal: Goal) -> str:
    """Which ways reach more, and when latents are the better tool all the same."""
    latents, *others = rows
    above = sorted((r for r in others if r["area"] >= latents["area"]), key=lambda r: -r["area"])
    names = [f"{row['way']} ({row['area']:.3g})" for row in above]
    words = f"The latents' curve (area {latents['area']:.3g}) lies above "
    words += f"{len(others) - len(above)} of {len(others)} other ways"
    words += f", below {', '.join(names)}." if names else "."
    if goal.unlearned:
        return words + (
            " Only a filter of the lists by the attribute leaks nothing at all, and it needs the "
            "attribute of every item: where there is such data and never has to mean never, filter."
        )
    if above and above[0]["way"] in (RERANKING, BY_PROBABILITY):
        needs = "how popular every item is"
        if goal.by_popularity is None:
            needs = "the attribute of every item"
        words += (
            f" Re-ranking needs {needs} when lists are made: latents are the tool where items have "
            "no such data, where only some histories should be reached, or where scores are made "
            "elsewhere."
        )
    return words
