"""Calibrate each user's lists to the user's own history within an accuracy budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, get_args

import numpy as np
import torch

from recsae.core.errors import InvalidInput, NotEnoughData, nearest
from recsae.core.intervals import paired_ratio
from recsae.steering.calibration.figures import divergence, quantile_error
from recsae.steering.calibration.results import (
    CalibrationAtLoss,
    CalibrationEffect,
    CalibrationResult,
    Change,
)
from recsae.steering.files import Steering
from recsae.steering.frontier import (
    LIST_LENGTH,
    Counted,
    Point,
    outcome_of,
    strength_at,
)
from recsae.steering.methods import SteeringMethod
from recsae.steering.steered_scores import steered_scores_of, thinned
from recsae.steering.steps.applied import Applied, applied
from recsae.steering.steps.goals import popularity_of
from recsae.steering.steps.kinds import LEAST_CANDIDATES, Calibrating, Calibration
from recsae.steering.steps.targets import item_shares
from recsae.steering.tuning.baselines import scale_of
from recsae.steering.tuning.facts import MIN_SCORED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.run.workspace import Workspace
    from recsae.sae.model import SAE
    from recsae.steering.calibration.shares import ItemShares
    from recsae.steering.files import GoalRequest
    from recsae.steering.steered_scores import SteeredScores
    from recsae.steering.steps.goals import Goal
    from recsae.steering.steps.kinds import Step, Wishes

    Floats = NDArray[np.float64]

METHODS: tuple[str, ...] = get_args(Calibrating)
N_CANDIDATES = 100
"""Items to choose from, unless others are asked for: more change little, and take longer."""
LOSSES = (0.005, 0.01, 0.02)
"""Losses of NDCG@10 at which methods are compared, beside the one that is allowed."""
N_CHOSEN_ON = 60_000
"""Construction cases at most that strengths are chosen on."""
N_COMPARED = 20_000
"""Held-out cases at most that methods are compared on."""
LOG_UNIT = 0.1
"""About the strength for each user at which lists change much."""
POWERS = range(-7, 8)
"""Strengths that are tried, as powers of two of a unit."""
N_CLOSER = 3
"""Strengths that are tried around the loss that is allowed."""
WORST = 0.25
"""This part of the users, whose lists are off most, is looked at alone."""


@dataclass(frozen=True)
class Calibrated:
    """A calibration within the budget, and what it reaches."""

    steering: Steering
    result: CalibrationResult


class _Sums(NamedTuple):
    """Figures of the lists of some cases, in sums per user ``(n_users,)``."""

    ndcg: Floats
    error: Floats
    quantile_error: Floats | None
    n: Floats
    """Cases whose histories have any of the values: only their errors count."""

    @property
    def mean_error(self) -> float:
        return float(self.error.sum() / max(self.n.sum(), 1))


class _Measure:
    """Measures lists of some cases against the histories."""

    def __init__(self, scorer: SteeredScores, shares: ItemShares, counts: NDArray[np.int64] | None):
        self.scorer, self.shares, self.counts = scorer, shares, counts
        self.cases = scorer.cases
        self.target = shares.of_histories(self.cases.histories)
        self.counted = Counted(np.zeros(self.cases.catalog.n_items))
        self.before = self.of(Applied().lists(scorer, LIST_LENGTH))

    def of(self, lists: NDArray[np.int32]) -> _Sums:
        """Measure lists ``(n, 10)``."""
        cases = self.cases
        shares = self.shares.of_lists(torch.from_numpy(lists.astype(np.int64)))
        error = divergence(self.target, shares).double().numpy()
        quantiles = None
        if self.counts is not None:
            each = quantile_error(self.counts, cases.histories, lists)
            quantiles = cases.per_user(each)
        return _Sums(
            outcome_of(lists, cases, self.counted).ndcg,
            cases.per_user(error),
            quantiles,
            cases.per_user((self.target.sum(1) > 0).double().numpy()),
        )

    def point(self, strength: float, lists: NDArray[np.int32]) -> Point:
        """A point of a curve: the error stands for the share."""
        sums = self.of(lists)
        kept = float(sums.ndcg.sum() / self.before.ndcg.sum())
        return Point(strength, kept, sums.mean_error, np.zeros(0, dtype=np.int64))

    def effect(self, lists: NDArray[np.int32]) -> CalibrationEffect:
        """What calibrated lists ``(n, 10)`` reach."""
        old, new = self.before, self.of(lists)
        there = old.n > 0
        mean = np.divide(old.error, old.n, out=np.full(len(there), -1.0), where=there)
        n_worst = max(1, round(WORST * int(there.sum())))
        worst = np.zeros(len(there), dtype=bool)
        worst[np.argsort(-mean, kind="stable")[:n_worst]] = True
        quantiles = None
        if old.quantile_error is not None and new.quantile_error is not None:
            n = np.bincount(self.cases.user).astype(float)
            quantiles = _change(old.quantile_error, new.quantile_error, n)
        return CalibrationEffect(
            n_users=int(there.sum()),
            n_positions=int(old.n.sum()),
            ndcg_kept=paired_ratio(new.ndcg, old.ndcg),
            error=_change(old.error, new.error, old.n),
            worst=_change(old.error[worst], new.error[worst], old.n[worst]),
            quantile_error=quantiles,
        )


def _change(before: Floats, after: Floats, n: Floats) -> Change:
    total = max(float(n.sum()), 1.0)
    return Change(
        float(before.sum()) / total, float(after.sum()) / total, paired_ratio(after, before)
    )


class _Tried(NamedTuple):
    """A method on construction users."""

    method: SteeringMethod
    points: list[Point]
    """The calibration error and NDCG@10 kept at each strength."""

    def best_within(self, loss: float) -> tuple[float, float]:
        """The strength with the smallest error up to the one for a loss, and that error; between
        points by straight lines.

        That is the strength for the loss, unless lists go beyond the histories before it.
        """
        strengths, errors = zip(*((p.strength, p.share) for p in self.points), strict=True)
        most = strength_at(self.points, loss)
        tried = [*(s for s in strengths if s < most), most]
        found = np.interp(tried, strengths, errors)
        best = int(found.argmin())
        return tried[best], float(found[best])


def asked_calibration(
    attribute: str,
    request: GoalRequest,
    method: str | None,
    candidates: int | None,
    *,
    chosen: bool = False,
) -> None:
    """Check what is asked for; ``chosen``: for some users only.

    Raises
    ------
    InvalidInput
        Wishes or users beside it, no such method, or too few candidates for a list.
    """
    if request.said():
        raise InvalidInput(
            f"Calibration by {attribute!r} has each user's own history as its goal, so it cannot "
            f"go with {request.said()!r}: leave one of them out."
        )
    if chosen:
        raise InvalidInput(
            "Calibration goes by each user's own history and is tuned on all users: leave users "
            "and cohort out, and choose them where the steering is used."
        )
    if method is not None and method not in METHODS:
        raise InvalidInput(
            f"There is no method {method!r} of calibration, only {' and '.join(METHODS)}."
            f"{nearest(method, METHODS)}"
        )
    if candidates is not None and candidates <= LEAST_CANDIDATES:
        raise InvalidInput(
            f"Among {candidates} candidates there is nothing to choose: give more than "
            f"{LEAST_CANDIDATES}, which a list has."
        )


def calibrate(
    work: Workspace,
    attribute: str,
    max_loss: float,
    *,
    method: str | None = None,
    candidates: int | None = None,
    compare: bool = True,
) -> Calibrated:
    """Find the method whose lists are nearest to the users' own histories, and its strength, on
    construction users; measure the effect on held-out ones.

    Parameters
    ----------
    attribute
        ``popularity``, or an attribute of the items' own.
    max_loss
        The part of NDCG@10 that construction users may lose, e.g. 0.01.
    method
        The one that is asked for: ``greedy`` or ``per-user``; the better one if None.
    candidates
        Choose among so many items, the first by score; ``N_CANDIDATES`` if None.
    compare
        Whether both methods are tried, and measured at other losses as well.

    Raises
    ------
    InvalidInput
        There is no such attribute.
    NotEnoughData
        No history or no list has any of the values, or all lists have the histories' shares.
    """
    shares, size = item_shares(work, attribute), candidates or N_CANDIDATES
    counts = popularity_of(work.construction) if shares.attribute == "popularity" else None
    cases = thinned(work, work.construction, N_CHOSEN_ON, MIN_SCORED)
    measure = _Measure(steered_scores_of(work, cases), shares, None)
    if not measure.before.error.sum() > 0:
        raise NotEnoughData(
            f"There is nothing to calibrate: lists have the shares of {shares.attribute} that "
            "histories have, or histories have none of its values."
        )
    tried = _try_methods(measure, work.sae, size, max_loss, None if compare else method)
    on_construction = {name: one.best_within(max_loss)[1] for name, one in tried.items()}
    recommended = min(on_construction, key=lambda name: on_construction[name])
    name = method or recommended
    done, (strength, _) = tried[name].method, tried[name].best_within(max_loss)
    steering = Steering(done.steps(strength) if done.steps else [])
    everyone = thinned(work, work.heldout, len(work.heldout), MIN_SCORED)
    heldout = _Measure(steered_scores_of(work, everyone), shares, counts)
    losses = sorted({*LOSSES, max_loss}) if compare else [max_loss]
    result = CalibrationResult(
        attribute=shares.attribute,
        values=shares.names,
        allowed_loss=max_loss,
        method=name,
        recommended=recommended,
        strength=strength,
        candidates=size,
        on_construction=on_construction,
        effect=heldout.effect(done.at(strength).lists(heldout.scorer, LIST_LENGTH)),
        at_losses=tuple(_compared(work, tried, losses, shares, counts)),
        done="; ".join(map(str, steering.steps)),
    )
    return Calibrated(steering, result)


def _try_methods(
    measure: _Measure, sae: SAE, size: int, loss: float, only: str | None
) -> dict[str, _Tried]:
    """Follow every method on construction users, or ``only`` one."""
    scale = scale_of(measure.scorer)
    units = {"greedy": scale.last_place, "per-user": LOG_UNIT}
    return {
        name: _tried(
            _method(name, sae, measure.shares, scale.temperature, size), measure, unit, loss
        )
        for name, unit in units.items()
        if only in (None, name)
    }


def _method(
    name: str, sae: SAE, shares: ItemShares, temperature: float, size: int
) -> SteeringMethod:
    def steps(strength: float) -> list[Step]:
        fields = {"attribute": shares.attribute, "by": name, "strength": strength}
        more = {"temperature": temperature, "candidates": size}
        return [Calibration.model_validate({**fields, **more})]

    def at(strength: float) -> Applied:
        return applied(steps(strength), sae, _no_goal, lambda _: shares)

    return SteeringMethod(name, at, identity_at_zero=True, steps=steps, only_gain=True)


def _no_goal(_: Wishes) -> Goal:
    raise ValueError("a calibration has no goal")


def _tried(method: SteeringMethod, measure: _Measure, unit: float, loss: float) -> _Tried:
    """Follow a method, each time twice as far, until more is lost than is asked for, or lists
    change no further; then closer around the loss that is allowed.

    ``unit`` is about the strength at which lists change much.
    """
    steered, before = method.on(measure.scorer), measure.before
    points = [Point(0.0, 1.0, before.mean_error, np.zeros(0, dtype=np.int64))]
    last = None
    for power in POWERS:
        lists = steered.lists(unit * 2.0**power, LIST_LENGTH)
        if last is not None and np.array_equal(lists, last) and points[-1].kept != 1:
            break
        last = lists
        points.append(measure.point(unit * 2.0**power, lists))
        if 1 - points[-1].kept > max(loss, *LOSSES):
            break
    for _ in range(N_CLOSER):
        middle = strength_at(points, loss)
        if any(point.strength == middle for point in points):
            break
        points.append(measure.point(middle, steered.lists(middle, LIST_LENGTH)))
        points.sort(key=lambda point: point.strength)
    return _Tried(method, points)


def _compared(
    work: Workspace,
    tried: dict[str, _Tried],
    losses: list[float],
    shares: ItemShares,
    counts: NDArray[np.int64] | None,
) -> list[CalibrationAtLoss]:
    """What held-out cases, the same for all, get from each method at each loss."""
    some: Cases = thinned(work, work.heldout, N_COMPARED, MIN_SCORED)
    measure = _Measure(steered_scores_of(work, some), shares, counts)
    rows = []
    for name, one in tried.items():
        steered = one.method.on(measure.scorer)
        for loss in losses:
            strength, _ = one.best_within(loss)
            effect = measure.effect(steered.lists(strength, LIST_LENGTH))
            rows.append(CalibrationAtLoss(name, loss, strength, effect))
    return rows
