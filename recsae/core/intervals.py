"""Confidence intervals in which users, not positions, are the sampled units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betaincinv, digamma, ndtri, stdtrit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def rate_bound(hits: Floats, n: Floats, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """Rates such as precision and recall and their one-sided lower bounds, for m concepts at once.

    Parameters
    ----------
    hits, n
        ``(n_users, m)`` counts per user: cases that are right, and cases.

    Notes
    -----
    Positions of one user are alike, so a rate's variance comes from sums over users (linearisation
    of the ratio), which gives an effective number of cases, at most the number of users that have
    any wherever the rate is 0 or 1. A Wilson bound at that number holds near 0 and 1 where
    bootstrap and normal bounds do not; its quantile is Student's, since the variance comes from
    those users. Users with many cases weigh more than others, so that a few of them can make a
    bound too high: each user's residual is that from the rate of all others (the jackknife of Bell
    & McCaffrey 2002), and the degrees of freedom are those of the effective number of users (Kish
    1965). Simulated with users that differ, a rate right at the limit then passes at most 5 % of
    the times from ten users on; without, up to 7 %.
    """
    rate, _, effective = _rate(hits, n)
    return rate, _wilson_lower(rate, effective, _quantile(n, confidence))


def balanced_accuracy_bound(
    hits_pos: Floats, n_pos: Floats, hits_neg: Floats, n_neg: Floats, confidence: float = 0.95
) -> tuple[Floats, Floats]:
    """Balanced accuracy and its one-sided lower bound, for m concepts at once.

    Parameters
    ----------
    hits_pos, n_pos, hits_neg, n_neg
        ``(n_users, m)`` counts per user: correct positives, positives, correct negatives,
        negatives.

    Notes
    -----
    The two rates' bounds, those of :func:`rate_bound`, are joined by MOVER with their correlation
    over users (Zou & Donner 2008), taken as 0 where it is negative.
    """
    sensitivity, residual_pos, effective_pos = _rate(hits_pos, n_pos)
    specificity, residual_neg, effective_neg = _rate(hits_neg, n_neg)
    down_pos = sensitivity - _wilson_lower(sensitivity, effective_pos, _quantile(n_pos, confidence))
    down_neg = specificity - _wilson_lower(specificity, effective_neg, _quantile(n_neg, confidence))
    spread = np.sqrt((residual_pos**2).sum(0) * (residual_neg**2).sum(0))
    both = (residual_pos * residual_neg).sum(0)
    correlation = np.clip(np.divide(both, spread, out=np.zeros_like(both), where=spread > 0), 0, 1)
    below = np.sqrt(down_pos**2 + down_neg**2 + 2 * correlation * down_pos * down_neg)
    accuracy = (sensitivity + specificity) / 2
    return accuracy, accuracy - below / 2


def precision_bound(
    hits: Floats,
    n_pos: Floats,
    alarms: Floats,
    n_neg: Floats,
    sizes: tuple[Floats, Floats],
    confidence: float = 0.95,
) -> tuple[Floats, Floats]:
    """Precision at the true rate, from a sample of either kind of cases, and its lower bound.

    Parameters
    ----------
    hits, n_pos, alarms, n_neg
        ``(n_users, m)`` counts per user: positives that are found, positives, negatives that are
        taken for positive, negatives.
    sizes
        ``(m,)`` positives and negatives among all cases, which the samples stand for.

    Notes
    -----
    Precision follows from the ratio of alarm rate and recall, whose bound joins those of the two
    by MOVER-R (Donner & Zou 2012). The recall has the bound of :func:`rate_bound`.
    Alarms are rare and often none at all: their rate has the upper bound of Clopper & Pearson at
    the effective number of cases (Korn & Graubard 1998), so that none among n users is below about
    3 / n, not 0. How alike the alarms of one user are cannot be estimated from few, so k of a
    user's cases count as 1 + 1/2 + ... + 1/k at most: a user's first alarm is as likely in as many
    cases of different users if the correlation is one half. The two rates are taken as independent.
    """
    recall, _, effective = _rate(hits, n_pos)
    least = _wilson_lower(recall, effective, _quantile(n_pos, confidence))
    alarm, _, effective = _rate(alarms, n_neg)
    alike = (digamma(n_neg + 1) + np.euler_gamma).sum(0)
    effective = np.where(alarm > 0, np.minimum(effective, alike), alike)
    effective = effective * np.square(ndtri(confidence) / _quantile(n_neg, confidence))
    seen = alarm * effective
    most = betaincinv(seen + 1, np.maximum(effective - seen, 1e-9), confidence)
    with np.errstate(invalid="ignore", divide="ignore"):
        below = least * (2 * recall - least)
        within = np.square(alarm * recall) - most * (2 * alarm - most) * below
        ratio = (alarm * recall + np.sqrt(np.maximum(within, 0))) / below
        found = sizes[0] * recall
        return found / (found + sizes[1] * alarm), 1 / (1 + sizes[1] / sizes[0] * ratio)


def _quantile(n: Floats, confidence: float) -> Floats:
    """Student's quantile for each concept's effective number of users."""
    effective = n.sum(0) ** 2 / np.maximum(np.square(n).sum(0), 1)
    return stdtrit(np.maximum(effective - 1, 1), confidence)  # type: ignore[no-any-return]


def _rate(hits: Floats, n: Floats) -> tuple[Floats, Floats, Floats]:
    """Pooled rate, residuals per user, and the effective number of independent cases."""
    total = n.sum(0)
    users = (n > 0).sum(0)
    rate = np.divide(hits.sum(0), total, out=np.full(total.shape, np.nan), where=total > 0)
    residual = hits - np.nan_to_num(rate) * n
    others = 1 - n / np.maximum(total, 1)
    residual = np.divide(residual, others, out=np.zeros_like(residual), where=others > 0)
    factor = (users - 1) / np.maximum(users, 1)
    variance = factor * (residual**2).sum(0) / np.maximum(total, 1) ** 2
    inside = (rate > 0) & (rate < 1) & (variance > 0)
    effective = np.divide(rate * (1 - rate), variance, out=users.astype(float), where=inside)
    return rate, residual, np.minimum(effective, total)


def _wilson_lower(rate: Floats, n: Floats, z: Floats) -> Floats:
    n = np.maximum(n, 1e-9)
    centre = rate + z**2 / (2 * n)
    half = z * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    return (centre - half) / (1 + z**2 / n)  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False)
class UserEstimate:
    """A figure of many users, and how much each of them moves it.

    Two figures of the same users are compared user by user, through ``minus``.
    """

    value: float
    influence: Floats
    """``(n_users,)`` the terms of its linearisation; their sum of squares is its variance."""

    def minus(self, other: UserEstimate) -> UserEstimate:
        """The difference from a figure of the same users in the same order."""
        return UserEstimate(self.value - other.value, self.influence - other.influence)

    def interval(self, confidence: float = 0.95) -> tuple[float, float, float]:
        """The value and its two-sided interval; not a number for fewer than two users."""
        n = len(self.influence)
        if n < 2 or not np.isfinite(self.value):
            return self.value if n > 1 else float("nan"), float("nan"), float("nan")
        error = float(np.sqrt(n / (n - 1) * np.square(self.influence).sum()))
        half = float(ndtri(0.5 + confidence / 2)) * error
        return self.value, self.value - half, self.value + half


def ratio_estimate(numerator: Floats, denominator: Floats) -> UserEstimate:
    """``sum(numerator) / sum(denominator)`` over users, both sums per user ``(n_users,)``."""
    total = float(denominator.sum())
    if total <= 0:
        return UserEstimate(float("nan"), np.zeros(len(numerator)))
    ratio = float(numerator.sum()) / total
    return UserEstimate(ratio, (numerator - ratio * denominator) / total)


def joined_estimate(parts: Sequence[UserEstimate]) -> UserEstimate:
    """The mean of one figure over parts that have no user in common; users in the parts' order."""
    value = float(np.mean([part.value for part in parts]))
    return UserEstimate(value, np.concatenate([part.influence for part in parts]) / len(parts))


def paired_ratio(
    numerator: Floats, denominator: Floats, confidence: float = 0.95
) -> tuple[float, float, float]:
    """``sum(numerator) / sum(denominator)`` over users and its two-sided interval.

    Both are sums per user ``(n_users,)``; the variance is the linearised one of a ratio, so users
    who count in both are compared with themselves.
    """
    return ratio_estimate(numerator, denominator).interval(confidence)


def ratio_difference(
    numerator: Floats,
    denominator: Floats,
    groups: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    confidence: float = 0.95,
    times: float = 1.0,
) -> tuple[float, float, float]:
    """By how much the ratio of one group of users exceeds that of another, or a multiple of it,
    and its two-sided interval.

    Parameters
    ----------
    numerator, denominator
        ``(n_users,)`` sums per user.
    groups
        ``(n_users,)`` who is in the one and who in the other; whoever is in both is compared with
        themselves.
    times
        What the ratio of the other group is multiplied with.

    Notes
    -----
    The quantile is Student's for the effective number of users (Kish 1965) of the group that has
    fewer, as those with large sums weigh more than others.
    """
    parts, effective = [], []
    for group, factor in zip(groups, (1.0, times), strict=True):
        n, weights = int(group.sum()), np.where(group, denominator, 0)
        part = ratio_estimate(np.where(group, numerator, 0), weights)
        correction = factor * np.sqrt(n / (n - 1)) if n > 1 else np.nan
        parts.append(UserEstimate(factor * part.value, correction * part.influence))
        effective.append(weights.sum() ** 2 / max(np.square(weights).sum(), 1e-300))
    difference = parts[0].minus(parts[1])
    error = float(np.sqrt(np.square(difference.influence).sum()))
    half = float(stdtrit(max(min(effective) - 1, 1), 0.5 + confidence / 2)) * error
    return difference.value, difference.value - half, difference.value + half
