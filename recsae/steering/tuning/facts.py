"""Measurements of tuning towards a goal: settings, effects on held-out users, other methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsae.concepts.attributes.values import own_columns
from recsae.core import columns as C
from recsae.steering.frontier import (
    BUDGETS,
    MAX_CURVE_LOSS,
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
from recsae.steering.tuning.results import (
    EffectAtLoss,
    GoalEffect,
    LatentSetting,
    MethodResult,
    SideEffect,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.concepts.attributes.table import ItemAttributes
    from recsae.run.workspace import Workspace
    from recsae.steering.frontier import Outcome, Point, Steered
    from recsae.steering.tuning.baselines import SteeringMethods
    from recsae.steering.tuning.goals import Goal
    from recsae.steering.tuning.path import TuningPath

MIN_SCORED = 500
"""Where scoring cases is costly, so many are scored at least."""
END_THINNING = 4
"""On how many times fewer cases than the curve itself its end is looked for."""
END_HALVINGS = 4
"""How many halvings find the end of a curve: it need be known roughly only."""
END_MARGIN = 1.2
"""How much further than the end that was found a curve is drawn: the curve itself shows what is
reached where, but one that ends early is cut off."""
MAX_VALUES = 60
"""At most so many other attribute values, the most frequent ones, are looked at."""
MAX_SIDE_EFFECTS = 8
"""How many side effects are listed."""


class TuningCases(NamedTuple):
    """The cases that tuning uses."""

    construction: Cases
    search: Cases
    """Construction cases that the path is found on."""
    confirm: Cases
    """Construction cases of other users, that the strength is chosen on."""
    heldout: Cases
    """Cases of held-out users, that the effect is measured on."""


def latent_settings(work: Workspace, path: TuningPath, strength: float) -> list[LatentSetting]:
    """The settings of all latents of a path at a strength, those that move states most first."""
    scale, bias = (x.tolist() for x in path.at(strength))
    names = work.dictionary.table.set_index(C.LATENT)[C.NAME]
    settings = []
    for latent, more, plus in zip(path.latents.tolist(), scale, bias, strict=True):
        sd = float(work.statistics.sd[latent])
        settings.append(
            LatentSetting(
                latent=latent,
                name=str(names[latent]),
                verified=latent in work.verified,
                scale=1 + more,
                bias_sd=plus / sd if sd > 0 else None,
                bias=plus,
            )
        )
    size = work.sae.directions()[path.latents].norm(dim=1).tolist()
    pairs = sorted(zip(size, settings, strict=True), key=lambda pair: -abs(pair[0] * pair[1].bias))
    return [setting for _, setting in pairs]


def goal_effect(before: Outcome, after: Outcome, cases: Cases) -> GoalEffect:
    """The goal's quantity and NDCG of the cases, from their outcomes without and with steering."""
    change = compared(after, before)
    return GoalEffect(
        n_users=cases.n_users,
        n_positions=len(cases),
        ndcg_kept=change.ndcg_kept,
        before=before.mean_share,
        after=change.share,
        ratio=change.share_ratio,
    )


def effects_at_losses(
    points: list[Point], steered: Steered, cases: Cases, goal: Goal
) -> list[EffectAtLoss]:
    """What held-out cases get at each loss that construction users are allowed.

    ``points`` is the curve of construction cases, that strengths are chosen on.
    """
    before = outcome(cases, steered, 0.0, goal.counted)
    rows = [_effect_at(0.0, 0.0, before, before, goal, cases)]
    for loss in BUDGETS:
        strength = strength_at(points, loss)
        after = outcome(cases, steered, strength, goal.counted)
        rows.append(_effect_at(loss, strength, after, before, goal, cases))
    return rows


def _effect_at(
    loss: float,
    strength: float,
    after: Outcome,
    before: Outcome,
    goal: Goal,
    cases: Cases,
) -> EffectAtLoss:
    change = compared(after, before)
    gini_coefficient = head_share = None
    if goal.by_popularity is not None:
        gini_coefficient = gini(after.counts[cases.catalog.recommendable])
        head_share = float(after.counts[goal.items].sum() / after.counts.sum())
    return EffectAtLoss(
        allowed_loss=loss,
        strength=strength,
        ndcg_kept=change.ndcg_kept,
        value=after.mean_share,
        ratio=change.share_ratio[0],
        lists_with_any=after.lists_with_any if goal.unlearned else None,
        gini=gini_coefficient,
        head_share=head_share,
    )


def side_effects(
    attributes: ItemAttributes, goal: Goal, before: Outcome, after: Outcome
) -> list[SideEffect]:
    """The other attribute values whose shares of the lists move most."""
    names, values = _other_values(attributes, goal)
    old, new = (o.counts @ values / o.counts.sum() for o in (before, after))
    most = np.argsort(-np.abs(new - old), kind="stable")[:MAX_SIDE_EFFECTS]
    return [
        SideEffect(names[j], float(old[j]), float(new[j]))
        for j in most.tolist()
        if new[j] != old[j]
    ]


def compare_methods(
    work: Workspace, methods: SteeringMethods, cases: TuningCases, limit: int
) -> list[MethodResult]:
    """Draw every method's curve on at most ``limit`` held-out cases, the same for every method.

    How far each curve has to go is found on fewer construction cases.
    """
    goal = methods.goal
    few = thinned(work, cases.confirm, limit // END_THINNING, MIN_SCORED)
    heldout = thinned(work, cases.heldout, limit, MIN_SCORED)
    _, others = _other_values(work.attributes, goal)
    on_few, on_heldout = (methods.on(steered_scores_of(work, some)) for some in (few, heldout))
    # the first method, the latents, leaves everything as it is at a strength of 0
    few_before = outcome(few, on_few[0], 0.0, goal.counted)
    before = outcome(heldout, on_heldout[0], 0.0, goal.counted)
    base = before.mean_share
    results = []
    for tried, steered in zip(on_few, on_heldout, strict=True):
        far = END_MARGIN * strength_within(
            few, tried, MAX_CURVE_LOSS, goal.counted, END_HALVINGS, few_before
        )
        far = min(far, steered.max_strength or far)
        points = curve(heldout, steered, up_to(far), goal.counted, before)
        results.append(
            MethodResult(
                method=steered.name,
                at_loss={loss: share_at(points, loss, base, more=goal.more) for loss in BUDGETS},
                area=area(points, base, more=goal.more),
                others_move=collateral(points, before, others, MAX_CURVE_LOSS / 2),
                curve=tuple((point.kept, point.share) for point in points),
            )
        )
    return results


def _other_values(attributes: ItemAttributes, goal: Goal) -> tuple[list[str], NDArray[np.float64]]:
    """The most frequent other attribute values, and ``(n_items, V)`` which items have them."""
    own = np.array(own_columns(attributes), dtype=np.int64)
    matrix = attributes.matrix[:, own] > 0
    n_items = np.asarray(matrix.sum(0)).ravel()
    frequent = np.argsort(-n_items, kind="stable")[: 2 * MAX_VALUES]
    table = matrix[:, frequent].toarray()
    other = np.flatnonzero(~(table == goal.items[:, None]).all(0))[:MAX_VALUES]
    names = [": ".join(attributes.names[j]) for j in own[frequent[other]].tolist()]
    return names, table[:, other].astype(np.float64)


def verdict(methods: Sequence[MethodResult], goal: Goal) -> str:
    """One sentence, kept with the result: which methods reach more than the first, the latents.

    It adds when latents, or a filter, are the better tool all the same.
    """
    latents, *others = methods
    above = sorted((m for m in others if m.area >= latents.area), key=lambda m: -m.area)
    names = [f"{m.method} ({m.area:.3g})" for m in above]
    words = f"The latents' curve (area {latents.area:.3g}) lies above "
    words += f"{len(others) - len(above)} of {len(others)} other ways"
    words += f", below {', '.join(names)}." if names else "."
    if goal.unlearned:
        return words + (
            " Only a filter of the lists by the attribute leaks nothing at all, and it needs the "
            "attribute of every item: where there is such data and never has to mean never, filter."
        )
    if above and above[0].method in (RERANKING, BY_PROBABILITY):
        needs = "how popular every item is"
        if goal.by_popularity is None:
            needs = "the attribute of every item"
        words += (
            f" Re-ranking needs {needs} when lists are made: latents are the tool where items have "
            "no such data, where only some histories should be reached, or where scores are made "
            "elsewhere."
        )
    return words
