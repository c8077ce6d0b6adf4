"""Measurements of tuning towards a goal: settings, effects on held-out users, other methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsae.concepts.attributes.values import own_columns
from recsae.core import columns as C
from recsae.core.threads import in_threads
from recsae.steering.frontier import (
    BUDGETS,
    MAX_CURVE_LOSS,
    area,
    collateral,
    compared,
    share_at,
    strength_at,
    up_to,
)
from recsae.steering.tuning.baselines import LATENTS, RE_RANKINGS, THEN, WITHIN
from recsae.steering.tuning.popularity import gini
from recsae.steering.tuning.results import (
    Choice,
    EffectAtLoss,
    GoalEffect,
    LatentSetting,
    MethodResult,
    SideEffect,
)
from recsae.steering.words import promoted_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.concepts.attributes.table import ItemAttributes
    from recsae.run.workspace import Workspace
    from recsae.sae.editing import Intervention
    from recsae.steering.frontier import Outcome, Point
    from recsae.steering.methods import SteeringMethod
    from recsae.steering.steps.goals import Goal
    from recsae.steering.tuning.choice import Tried
    from recsae.steering.tuning.scored import Scored

MIN_SCORED = 500
"""Where scoring cases is costly, so many are scored at least."""
MAX_VALUES = 60
"""At most so many other attribute values, the most frequent ones, are looked at."""
MAX_NAMED = 4
"""At most so many methods above the latents are named."""
LEAST_GAIN = 0.01
"""What adds less than this part is not said to add."""
MAX_SIDE_EFFECTS = 8
"""How many side effects are listed."""


class TuningCases(NamedTuple):
    """The cases that tuning uses."""

    fit: Cases
    """Construction cases of half of the users, that directions are fitted on."""
    search: Cases
    """Those of them that the path is found on."""
    confirm: Cases
    """Construction cases of other users, that the strength is chosen on."""
    heldout: Cases
    """Cases of held-out users, that the effect is measured on."""


def latent_settings(work: Workspace, turned: Sequence[Intervention]) -> list[LatentSetting]:
    """The settings of all latents of a path, those that move states most first.

    ``turned`` is what :meth:`TuningPath.interventions` gives: scales, then biases; or nothing.
    """
    if not turned:
        return []
    scales, biases = turned
    names = work.dictionary.table.set_index(C.LATENT)[C.NAME]
    promoted = promoted_values(work, turned)
    settings = []
    for latent, times, plus in zip(scales.latents, scales.values, biases.values, strict=True):
        sd = float(work.statistics.sd[latent])
        settings.append(
            LatentSetting(
                latent=latent,
                name=str(names[latent]),
                verified=latent in work.verified,
                scale=times,
                bias_sd=plus / sd if sd > 0 else None,
                bias=plus,
                promotes=promoted[latent],
            )
        )
    size = work.sae.directions()[list(scales.latents)].norm(dim=1).tolist()
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
    points: list[Point], method: SteeringMethod, heldout: Scored, goal: Goal
) -> list[EffectAtLoss]:
    """What held-out cases get from a method at each loss that construction users are allowed.

    ``points`` is the curve of construction cases, that strengths are chosen on.
    """
    cases, before = heldout.cases, heldout.outcome(method, 0.0)
    rows = [_effect_at(0.0, 0.0, before, before, goal, cases)]
    for loss in BUDGETS:
        strength = strength_at(points, loss)
        after = heldout.outcome(method, strength)
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


def method_results(
    attributes: ItemAttributes,
    methods: Sequence[SteeringMethod],
    end_of: Callable[[SteeringMethod], float],
    heldout: Scored,
    goal: Goal,
) -> list[MethodResult]:
    """Draw every method's curve on held-out cases, up to a strength that ``end_of`` says."""
    _, others = _other_values(attributes, goal)
    before, base = heldout.before, heldout.before.mean_share

    def drawn(method: SteeringMethod) -> MethodResult:
        points = heldout.curve(method, up_to(end_of(method)))
        heldout.forget(method)
        return MethodResult(
            method=method.name,
            at_loss={loss: share_at(points, loss, base, more=goal.more) for loss in BUDGETS},
            area=area(points, base, more=goal.more),
            others_move=collateral(points, before, others, MAX_CURVE_LOSS / 2),
            curve=tuple((point.kept, point.share) for point in points),
        )

    return in_threads(drawn, methods, at_once=heldout.scorer.at_once)


def choices(tried: Iterable[Tried], heldout: Scored) -> list[Choice]:
    """What held-out cases get from each method at the strength set on construction users."""

    def choice(one: Tried) -> Choice:
        after = heldout.outcome(one.method, one.strength)
        heldout.forget(one.method)
        effect = goal_effect(heldout.before, after, heldout.cases)
        return Choice(one.method.name, one.strength, one.value, effect)

    return in_threads(choice, tried, at_once=heldout.scorer.at_once)


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
    """Sentences, kept with the result: which methods reach more than the first, the latents; and
    what latents add to re-ranking within the items that were retrieved."""
    latents, *others = methods
    above = sorted((m for m in others if m.area >= latents.area), key=lambda m: -m.area)
    names = [f"{m.method} ({m.area:.3g})" for m in above[:MAX_NAMED]]
    names += [f"{len(above) - MAX_NAMED} more"] if len(above) > MAX_NAMED else []
    words = f"The latents' curve (area {latents.area:.3g}) lies above "
    words += f"{len(others) - len(above)} of {len(others)} other ways"
    words += f", below {', '.join(names)}." if names else "."
    if goal.unlearned:
        return words + (
            " Only a filter of the lists by the attribute leaks nothing at all, and it needs the "
            "attribute of every item: where there is such data and never has to mean never, filter."
        )
    best = above[0].method.partition(WITHIN)[0].removeprefix(THEN) if above else LATENTS
    if best in RE_RANKINGS:
        needs = "how popular every item is"
        if goal.by_popularity is None:
            needs = "the attribute of every item"
        words += (
            f" Re-ranking needs {needs} when lists are made: latents by probability are the tool "
            "where items have no such data, and latents alone where only states can be changed."
        )
    return words + _turning_point(methods, goal)


def _turning_point(methods: Sequence[MethodResult], goal: Goal) -> str:
    """From which loss on it adds to re-ranking that half of the candidates is found by latents."""
    sign, said = 1 if goal.more else -1, []
    alone, both = (dict[str, MethodResult](), dict[str, MethodResult]())
    for method in methods:
        name, _, n = method.method.partition(WITHIN)
        if n and (name in RE_RANKINGS or name.startswith(THEN)):
            (both if name.startswith(THEN) else alone)[n] = method
    for n in (n for n in both if n in alone):
        base = abs(alone[n].at_loss[BUDGETS[0]])
        gains = {b: sign * (both[n].at_loss[b] - alone[n].at_loss[b]) for b in BUDGETS}
        ahead = [loss for loss in BUDGETS if gains[loss] > LEAST_GAIN * base]
        if len(ahead) == len(BUDGETS):
            said.append(f"of {n} at every loss")
        elif ahead:
            losses = ", ".join(f"{100 * loss:g} %" for loss in ahead)
            said.append(f"of {n} at a loss of {losses}")
    if not any(n in alone for n in both):
        return ""
    words = " To let turned latents find half of the candidates"
    if not said:
        return f"{words} adds nothing to re-ranking them."
    return f"{words} adds to re-ranking them where there are few: {'; '.join(said)}."
