"""Statistics of two sets of users, concept by concept, with users as the unit.

Each user counts by the share of their own positions on which a concept is active, so that a few
users with long histories do not decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import stdtrit  # scipy.stats takes half a second to import

if TYPE_CHECKING:
    import pandas as pd
    import scipy.sparse
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MIN_USERS = 5
"""Users on either side below which nothing is compared, and with a concept below which it is never
called over-represented: one user alone is no group."""
CONFIDENCE = 0.95
"""Of the intervals."""
SMALLEST_P = 1e-12
"""Where the search for a p-value begins; smaller ones are given as this."""
N_HALVINGS = 40
"""Bisections of that search: they leave a relative error below 1e-10."""


class Shares(NamedTuple):
    """The share of each user's positions on which each concept is active."""

    users: NDArray[np.int64]
    """``(u,)`` rows of the sequences."""
    n_positions: Floats
    """``(u,)``"""
    share: scipy.sparse.csr_matrix
    """``(u, m)`` for m concepts."""


def compare(mine: Shares, others: Shares, concepts: pd.DataFrame) -> pd.DataFrame:
    """Mean shares of two sets of users, concept by concept.

    Returns
    -------
    DataFrame
        The concepts with ``share``, ``others``, their ``difference`` with a 95 % interval (low,
        high), ``ratio`` (ratio_low, ratio_high), ``n_users`` of the group with any, and
        ``p_adjusted``: Benjamini and Hochberg's over all concepts. The most over-represented
        come first.

    Notes
    -----
    Each mean has a Wilson interval at the number of independent cases that its variance over
    users amounts to, with Student's quantile; both are joined by MOVER (Zou & Donner 2008; for the
    ratio Donner & Zou 2012). The p-value is where that interval of the difference would touch 0,
    so that both tell the same; but what fewer than five users of the group have is never called
    over-represented (p = 1).
    """
    ours, theirs = _means(mine, others)
    low, high = _difference(ours, theirs, np.full(len(ours.value), 1 - CONFIDENCE))
    ratio, ratio_low, ratio_high = _ratio(ours, theirs)
    n_users = np.diff(mine.share.tocsc().indptr)
    p = _p_values(ours, theirs)
    p[(ours.value > theirs.value) & (n_users < MIN_USERS)] = 1  # one user alone is no group
    table = concepts.assign(
        share=ours.value,
        others=theirs.value,
        difference=ours.value - theirs.value,
        low=low,
        high=high,
        ratio=ratio,
        ratio_low=ratio_low,
        ratio_high=ratio_high,
        n_users=n_users,
        p_adjusted=adjusted(p),
    )
    return table.sort_values("low", ascending=False, kind="stable")


def adjusted(p: Floats) -> Floats:
    """P-values adjusted for their number: the least rate of false discoveries that keeps each.

    By Benjamini and Hochberg (1995).

    >>> adjusted(np.array([0.03, 0.01, 0.5]))
    array([0.045, 0.03 , 0.5  ])
    """
    order = np.argsort(p)[::-1]
    rates = p[order] * len(p) / np.arange(len(p), 0, -1)
    found = np.empty(len(p))
    found[order] = np.minimum(np.minimum.accumulate(rates), 1)
    return found


@dataclass(frozen=True)
class _Mean:
    """Mean shares ``(m,)`` of a set of users."""

    value: Floats
    effective_n: Floats
    """Effective sample size ``(m,)``: independent cases with the same variance of the mean."""
    freedom: int
    """Degrees of freedom."""

    def bounds(self, alpha: Floats) -> tuple[Floats, Floats]:
        """Two-sided bounds at level ``1 - alpha``."""
        z2 = stdtrit(self.freedom, 1 - alpha / 2) ** 2
        centre = self.value + z2 / (2 * self.effective_n)
        spread = self.value * (1 - self.value) / self.effective_n + z2 / (4 * self.effective_n**2)
        half, scale = np.sqrt(z2 * spread), 1 + z2 / self.effective_n
        return np.maximum((centre - half) / scale, 0), np.minimum((centre + half) / scale, 1)


def _means(mine: Shares, others: Shares) -> tuple[_Mean, _Mean]:
    """Both means; no user counts for more cases than users do in both sets together.

    A concept is often active for few users only, and a small group without them would seem to
    know its mean exactly.
    """
    n, value = [], []
    squares: list[Floats] = []
    for shares in (mine, others):
        n.append(len(shares.users))
        value.append(np.asarray(shares.share.mean(0), dtype=np.float64).ravel())
        square = np.asarray(shares.share.power(2).sum(0), dtype=np.float64).ravel()
        squares.append(np.maximum(square - n[-1] * value[-1] ** 2, 0) * n[-1] / (n[-1] - 1))
    spread: list[Floats] = [k * p * (1 - p) for k, p in zip(n, value, strict=True)]
    together = _effective_per_user(spread[0] + spread[1], squares[0] + squares[1])
    return tuple(  # type: ignore[return-value]
        _Mean(
            p,
            np.minimum(
                k * np.minimum(_effective_per_user(s, q), together), shares.n_positions.sum()
            ),
            k - 1,
        )
        for k, p, s, q, shares in zip(n, value, spread, squares, (mine, others), strict=True)
    )


def _effective_per_user(spread: Floats, squares: Floats) -> Floats:
    """Effective sample size per user, binomial over observed variance; 1 where all are alike."""
    return np.divide(spread, squares, out=np.ones(len(spread)), where=squares > 0)


def _difference(ours: _Mean, theirs: _Mean, alpha: Floats) -> tuple[Floats, Floats]:
    (low, high), (low_2, high_2) = ours.bounds(alpha), theirs.bounds(alpha)
    difference = ours.value - theirs.value
    below = np.hypot(ours.value - low, high_2 - theirs.value)
    above = np.hypot(high - ours.value, theirs.value - low_2)
    return difference - below, difference + above


def _ratio(ours: _Mean, theirs: _Mean) -> tuple[Floats, Floats, Floats]:
    """Ratio of the means and its bounds; NaN where the other mean is 0, infinite if it may be."""
    alpha = np.full(len(ours.value), 1 - CONFIDENCE)
    (low, high), (low_2, high_2) = ours.bounds(alpha), theirs.bounds(alpha)
    p, q = ours.value, theirs.value
    down, up = high_2 * (2 * q - high_2), low_2 * (2 * q - low_2)
    below = np.sqrt(np.maximum((p * q) ** 2 - low * (2 * p - low) * down, 0))
    above = np.sqrt(np.maximum((p * q) ** 2 - high * (2 * p - high) * up, 0))
    unbounded = np.full(len(p), np.inf)
    return (
        np.divide(p, q, out=np.full(len(p), np.nan), where=q > 0),
        np.divide(p * q - below, down, out=np.zeros(len(p)), where=down > 0),
        np.divide(p * q + above, up, out=unbounded, where=up > 0),
    )


def _p_values(ours: _Mean, theirs: _Mean) -> Floats:
    """The largest level of error at which the interval of the difference leaves 0 out."""
    small, large = np.full(len(ours.value), np.log(SMALLEST_P)), np.zeros(len(ours.value))
    for _ in range(N_HALVINGS):
        middle = (small + large) / 2
        low, high = _difference(ours, theirs, np.exp(middle))
        differs = (low > 0) | (high < 0)
        small, large = np.where(differs, small, middle), np.where(differs, middle, large)
    return np.exp(large)
