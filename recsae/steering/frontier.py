"""The accuracy frontier of any steering method: shares in the lists against NDCG@10 kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsae.core.intervals import paired_ratio
from recsae.recommender.metrics import ndcg_of_lists

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases

    Floats = NDArray[np.float64]
    Lists = Callable[[float, int], NDArray[np.int32]]
    Expects = Callable[[NDArray[np.int32]], Floats]

Estimate = tuple[float, float, float]
"""A figure with the lower and the upper end of its 95 % interval, users being the unit."""

LIST_LENGTH = 10
"""Length of the lists."""
MAX_CURVE_LOSS = 0.10
"""Curves are looked at up to this loss of NDCG@10, and areas are taken up to it."""
BUDGETS = (0.005, 0.01, 0.02, 0.05, 0.10)
"""Losses of NDCG@10 at which methods are compared, ascending."""
HALVINGS = 7
"""How often the gap around a strength is halved: it is known to a factor of two before that, so to
less than one per cent after it."""
N_POINTS = 6
"""Strengths on a curve."""
CLOSER_NEAR_0 = 1.2
"""A power: losses grow about as the squares of strengths, so that some lie below each budget."""
MIN_STRENGTH = 2.0**-10
"""Where even this strength costs too much, none is within the loss."""
MAX_STRENGTH = 1e6
"""No larger strength is tried."""


@dataclass(frozen=True)
class Steered:
    """A steering method applied to some cases."""

    name: str
    lists: Lists
    """Lists ``(n, k)`` of all cases at a strength."""
    max_strength: float | None = None
    """The largest strength; None: there is none."""
    identity_at_zero: bool = False
    """Whether a strength of 0 is known to leave every state as it is, so that its outcome is the
    unsteered one."""


class Counted(NamedTuple):
    """What is counted in the lists."""

    values: Floats
    """``(n_items,)`` what an item counts, 1 for those that are the goal."""
    no_loss: NDArray[np.bool_] | None = None
    """``(n_items,)`` NDCG@10 is 0, steered or not, where the next item is one of these."""


class Outcome(NamedTuple):
    """Measures of the lists of some cases, in sums per user ``(n_users,)``."""

    ndcg: Floats
    share: Floats
    """Mean value of the items in a list."""
    any: Floats
    """Lists that have at least one item that counts."""
    n: Floats
    """Lists."""
    counts: NDArray[np.int64]
    """``(n_items,)`` how often each item is in the lists of all users."""
    expected: Floats | None = None
    """The NDCG@10 that the model expects; None where it was not asked."""

    @property
    def mean_share(self) -> float:
        """Mean value of the items in the top 10, all cases alike."""
        return float(self.share.sum() / self.n.sum())

    @property
    def lists_with_any(self) -> float:
        """Part of the lists that have at least one item that counts."""
        return float(self.any.sum() / self.n.sum())


class Compared(NamedTuple):
    """An outcome beside the unsteered one."""

    ndcg_kept: Estimate
    """NDCG@10 as a share of what it was."""
    share: float
    """Mean value of the items in the top 10."""
    share_ratio: Estimate
    """``share`` as a multiple of what it was."""


class Point(NamedTuple):
    """One strength of a curve."""

    strength: float
    kept: float
    """NDCG@10 as a share of what it was."""
    share: float
    """Mean value of the items in the top 10."""
    counts: NDArray[np.int64]
    """``(n_items,)`` how often each item is in the lists."""
    expected: float | None = None
    """``kept`` as the model expects it; None where it was not asked."""
    outcome: Outcome | None = None
    """What this is the sum of."""


def outcome(
    cases: Cases,
    steered: Steered,
    strength: float,
    counted: Counted,
    expects: Expects | None = None,
) -> Outcome:
    """Measure the lists of all cases at a strength."""
    return outcome_of(steered.lists(strength, LIST_LENGTH), cases, counted, expects)


def outcome_of(
    lists: NDArray[np.int32], cases: Cases, counted: Counted, expects: Expects | None = None
) -> Outcome:
    """Measure lists ``(n, k)`` of the cases; ``expects`` says what NDCG@10 each may expect."""
    ndcg, values = ndcg_of_lists(lists, cases.targets), counted.values[lists]
    if counted.no_loss is not None:
        ndcg[counted.no_loss[cases.targets]] = 0

    return Outcome(
        cases.per_user(ndcg),
        cases.per_user(values.mean(1)),
        cases.per_user((values > 0).any(1)),
        cases.per_user(np.ones(len(cases))),
        np.bincount(lists.ravel(), minlength=cases.catalog.n_items),
        None if expects is None else cases.per_user(expects(lists)),
    )


def compared(after: Outcome, before: Outcome) -> Compared:
    """Compare an outcome with the unsteered one, by ratios of sums over users."""
    return Compared(
        paired_ratio(after.ndcg, before.ndcg),
        after.mean_share,
        paired_ratio(after.share, before.share),
    )


def strength_within(
    cases: Cases,
    steered: Steered,
    loss: float,
    counted: Counted,
    halvings: int = HALVINGS,
    unsteered: Outcome | None = None,
) -> float:
    """Find the largest strength at which the cases lose at most this part of NDCG@10.

    Doubled or halved from 1 on until it is known to a factor of two, then by halving what is
    between. 0 if even very little costs more. The loss is relative to a strength of 0;
    ``unsteered`` is that outcome where it is known and the method leaves it as it is. Where lists
    changed and twice the strength changes them no further, no larger one is tried.
    """

    def total_of(lists: NDArray[np.int32]) -> float:
        return float(outcome_of(lists, cases, counted).ndcg.sum())

    def total(strength: float) -> float:
        return total_of(steered.lists(strength, LIST_LENGTH))

    if unsteered is None or not steered.identity_at_zero:
        unsteered = outcome(cases, steered, 0.0, counted)
    enough = (1 - loss) * float(unsteered.ndcg.sum())
    max_strength = min(steered.max_strength or MAX_STRENGTH, MAX_STRENGTH)
    low, high = 0.0, min(1.0, max_strength)
    lists = steered.lists(high, LIST_LENGTH)
    while total_of(lists) >= enough:
        if high == max_strength:
            return high
        further = steered.lists(min(2 * high, max_strength), LIST_LENGTH)
        if np.array_equal(further, lists) and not np.array_equal(
            np.bincount(lists.ravel(), minlength=cases.catalog.n_items), unsteered.counts
        ):
            return high
        lists, low, high = further, high, min(2 * high, max_strength)
    while not low:
        if high < MIN_STRENGTH:
            return 0.0
        if total(high / 2) >= enough:
            low = high / 2
        else:
            high /= 2
    for _ in range(halvings):
        middle = (low + high) / 2
        low, high = (middle, high) if total(middle) >= enough else (low, middle)
    return low


def curve(
    cases: Cases,
    steered: Steered,
    strengths: Iterable[float],
    counted: Counted,
    before: Outcome | None = None,
    until: float = 1.0,
    expects: Expects | None = None,
) -> list[Point]:
    """Measure outcomes at strengths, ascending from 0, until more than a loss is lost.

    ``before`` is the unsteered outcome, if it is known; ``expects`` is as in :func:`outcome_of`.
    """
    points = []
    for strength in strengths:
        if before and steered.identity_at_zero and not strength:
            after = before
        else:
            after = outcome(cases, steered, float(strength), counted, expects)
        before = before or after
        kept, expected = float(after.ndcg.sum() / before.ndcg.sum()), None
        if after.expected is not None and before.expected is not None:
            expected = float(after.expected.sum() / before.expected.sum())
        points.append(Point(float(strength), kept, after.mean_share, after.counts, expected, after))
        if 1 - kept > until:
            break
    return points


def up_to(far: float, n: int = N_POINTS) -> Floats:
    """Choose n strengths from 0 to ``far``, closer together near 0."""
    return np.asarray(far * np.linspace(0, 1, n) ** CLOSER_NEAR_0)


def strength_at(points: list[Point], loss: float) -> float:
    """The strength at which a curve first loses so much, between points by straight lines; the
    last one's if it never does, the first one's if it does from the beginning.

    >>> points = [Point(0, 1.0, 0.1, None), Point(1, 0.98, 0.3, None), Point(2, 0.9, 0.3, None)]
    >>> round(strength_at(points, 0.01), 3), round(strength_at(points, 0.06), 3)
    (0.5, 1.5)
    """
    if 1 - points[0].kept > loss:
        return points[0].strength
    for one, other in pairwise(points):
        if 1 - other.kept > loss:
            part = (one.kept - (1 - loss)) / (one.kept - other.kept)
            return one.strength + part * (other.strength - one.strength)
    return points[-1].strength


def share_at(points: list[Point], loss: float, base: float, *, more: bool = True) -> float:
    """The best share on a curve at no more than a loss, between points by straight lines.

    ``base``, the unsteered share, can always be had: by not steering.

    >>> points = [Point(0, 1.0, 0.1, None), Point(1, 0.98, 0.3, None)]
    >>> round(share_at(points, 0.01, 0.1), 3)
    0.2
    """
    sign = 1 if more else -1
    best = sign * base
    for one, other in pairwise(points):
        for point in (one, other):
            if 1 - point.kept <= loss + 1e-9:
                best = max(best, sign * point.share)
        low, high = sorted((one.kept, other.kept))
        if low < 1 - loss < high:
            part = (1 - loss - one.kept) / (other.kept - one.kept)
            best = max(best, sign * (one.share + part * (other.share - one.share)))
    return sign * best


def area(points: list[Point], base: float, *, more: bool = True) -> float:
    """Mean gain in share over all losses from 0 to 10 %: the area under the curve, one number."""
    losses = np.linspace(0, MAX_CURVE_LOSS, 41)
    sign = 1 if more else -1
    shares = [share_at(points, loss, base, more=more) for loss in losses]
    return max(0.0, float(sign * (np.mean(shares) - base)))


def collateral(points: list[Point], before: Outcome, values: Floats, loss: float) -> float:
    """Mean absolute change of other attributes' shares, at the last point within a loss.

    ``values (n_items, V)``: ones where an item has a value.
    """
    within = [point for point in points if 1 - point.kept <= loss]
    if not within or not values.shape[1]:
        return float("nan")
    after = within[-1].counts @ values / within[-1].counts.sum()
    return float(np.abs(after - before.counts @ values / before.counts.sum()).mean())
