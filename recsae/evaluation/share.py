"""Named share: how much of the scores' variance a few verified concepts explain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsae.capture.cases import ndcg_of_states
from recsae.core.intervals import (
    UserEstimate,
    joined_estimate,
    ratio_estimate,
)
from recsae.core.selection import forward_selection
from recsae.evaluation.counts import finite
from recsae.evaluation.explained import RIDGE, explained_of_users
from recsae.recommender.metrics import ndcg_of_lists
from recsae.recommender.score_metric import root_of, score_metric

if TYPE_CHECKING:
    import scipy.sparse
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.recommender.protocol import LinearHead
    from recsae.sae.codes import Codes

    Halves = tuple[tuple[NDArray[np.int64], Cases], tuple[NDArray[np.int64], Cases]]
    """Rows and cases of every other held-out user, and of the rest."""

NO_ESTIMATE = UserEstimate(float("nan"), np.zeros(0))
SIZES = (8, 16, 32)
"""Numbers of concepts for which the share is given: as many as a person can look through."""
DENSE = 0.07
"""A code of which more entries are not 0 is sooner multiplied with itself as a dense one."""
ROWS_AT_ONCE = 8192
"""Its rows then, at a time: bounds the memory."""


class NamedShare(NamedTuple):
    """What up to 32 concepts explain of held-out cases."""

    shares: dict[int, UserEstimate]
    """Share of score variance explained by the first 8, 16 and 32 of them."""
    ndcg_kept: UserEstimate
    """NDCG@10 of what all of them say of the states, relative to that of the states."""
    chosen: list[int]
    """Latents, in the order in which they were chosen."""


class HalfShare(NamedTuple):
    """A named share measured on one half of the held-out users, verified on the other."""

    share: NamedShare
    n_verified: int
    cases: Cases
    """Of the half it was measured on."""


@dataclass(frozen=True, eq=False)
class MeanShare:
    """Named share averaged over both halves of the held-out users; NaN where there is none."""

    shares: dict[int, UserEstimate]
    ndcg_kept: UserEstimate
    n_verified: int

    def to_dict(self) -> dict[str, Any]:
        """The figures as files have them, each with its 95 % interval under ``intervals``."""
        keys = {str(size): share for size, share in self.shares.items()}
        keys[f"ndcg_kept_{max(SIZES)}"] = self.ndcg_kept
        return {
            **{key: finite(one.value) for key, one in keys.items()},
            "intervals": {key: finite_interval(one)[1:] for key, one in keys.items()},
            "n_verified": self.n_verified,
        }

    def ahead_of(self, other: MeanShare) -> dict[str, list[float | None]]:
        """By how much the shares are higher than those of another code, with 95 % intervals."""
        return {
            str(size): finite_interval(share.minus(other.shares[size]))
            for size, share in self.shares.items()
        }


def finite_interval(one: UserEstimate) -> list[float | None]:
    """A figure and its interval as files have them; None where there is none."""
    return [finite(value) for value in one.interval()]


def named_share(
    construction: tuple[scipy.sparse.csr_matrix, Cases],
    heldout: tuple[scipy.sparse.csr_matrix, Cases],
    candidates: NDArray[np.int64],
    head: LinearHead | None,
) -> NamedShare:
    """Share of score variance that few concepts explain, fitted on construction cases.

    Up to 32 of the candidates (verified on *other* held-out users) are chosen one after another,
    each time the one that explains most of the remaining score variance of construction cases;
    then states are fitted on their activations by ridge regression, and the share is measured on
    held-out cases.
    """
    code, cases = construction
    return _named_share(_moments(code, cases.states, candidates), *heldout, candidates, head)


def _named_share(
    fitted: _Moments,
    code: scipy.sparse.csr_matrix,
    cases: Cases,
    candidates: NDArray[np.int64],
    head: LinearHead | None,
) -> NamedShare:
    """:func:`named_share` on a held-out code and its cases."""
    metric = score_metric(head, cases.catalog.recommendable, cases.states.shape[1])
    limit = max(SIZES) if len(candidates) else 0
    own = fitted.of(candidates)
    order = forward_selection(own.gram, own.cross @ root_of(metric), limit)
    if not order:  # none was verified, or none of those is ever active on construction cases
        nothing = UserEstimate(0.0, np.zeros(cases.n_users))
        return NamedShare(dict.fromkeys(SIZES, nothing), nothing, [])
    chosen = [int(candidates[i]) for i in order]
    active = code[:, chosen]
    guesses = [fitted.of(np.array(chosen[:size])).guess(active[:, :size]) for size in SIZES]
    shares = dict(zip(SIZES, explained_of_users(cases, guesses, metric), strict=True))
    return NamedShare(shares, _ndcg_kept(guesses[-1], cases, head), chosen)


def _ndcg_kept(guess: NDArray[np.float32], cases: Cases, head: LinearHead | None) -> UserEstimate:
    """NDCG@10 of guessed states relative to that of the states; NaN without a linear head."""
    if head is None:
        return UserEstimate(float("nan"), np.zeros(cases.n_users))
    base = ndcg_of_lists(cases.top_items.astype(np.int64), cases.targets)
    kept = ndcg_of_states(guess, cases, head)
    return ratio_estimate(cases.per_user(kept), cases.per_user(base))


def shares_of_halves(
    codes: Codes,
    construction: Cases,
    halves: Halves,
    verified: Sequence[NDArray[np.int64]],
    head: LinearHead | None,
) -> list[HalfShare]:
    """Named share on each half of the held-out users, with concepts verified on the other half.

    Choosing concepts so never flatters the share, and no user is wasted. Empty where a half is.

    Parameters
    ----------
    codes
        ``(n, n_latents)`` activations of the construction and of the held-out cases.
    halves
        Rows of the held-out code and their cases, of each half of the users.
    verified
        Latents that are verified on each half.
    """
    if not all(len(rows) for rows, _ in halves):
        return []
    fitted = _moments(codes.construction, construction.states, np.concatenate(verified))
    return [
        HalfShare(
            _named_share(fitted, codes.heldout[rows], cases, candidates, head),
            len(candidates),
            cases,
        )
        for (rows, cases), candidates in zip(halves[::-1], verified, strict=True)
    ]


def share_on_halves(
    codes: Codes,
    construction: Cases,
    halves: Halves,
    verified: Sequence[NDArray[np.int64]],
    head: LinearHead | None,
) -> MeanShare:
    """The mean of :func:`shares_of_halves`."""
    both = shares_of_halves(codes, construction, halves, verified, head)
    if not both:
        return MeanShare(dict.fromkeys(SIZES, NO_ESTIMATE), NO_ESTIMATE, 0)
    return MeanShare(
        {size: joined_estimate([half.share.shares[size] for half in both]) for size in SIZES},
        joined_estimate([half.share.ndcg_kept for half in both]),
        round(float(np.mean([half.n_verified for half in both]))),
    )


class _Moments(NamedTuple):
    """Means of some latents' activations and of the states, and their covariances."""

    latents: NDArray[np.int64]
    """``(m,)``, ascending."""
    mean: NDArray[np.float64]
    state_mean: NDArray[np.float64]
    gram: NDArray[np.float64]
    """``(m, m)`` of the activations."""
    cross: NDArray[np.float64]
    """``(m, d)`` of the activations with the states."""

    def of(self, latents: NDArray[np.int64]) -> _Moments:
        """Those of some of the latents, in their order."""
        at = np.searchsorted(self.latents, latents)
        gram = self.gram[np.ix_(at, at)]
        return _Moments(latents, self.mean[at], self.state_mean, gram, self.cross[at])

    def guess(self, code: scipy.sparse.csr_matrix) -> NDArray[np.float32]:
        """States of other cases, by ridge regression of states on standardised activations."""
        size = np.sqrt(np.maximum(self.gram.diagonal(), 1e-24))
        ridge = RIDGE * np.eye(len(size))
        weights = np.linalg.solve(
            self.gram / np.outer(size, size) + ridge, self.cross / size[:, None]
        )
        weights /= size[:, None]
        start = self.state_mean - self.mean @ weights
        return np.asarray(code @ weights + start, dtype=np.float32)


def _moments(
    code: scipy.sparse.csr_matrix, states: NDArray[np.float32], latents: NDArray[np.int64]
) -> _Moments:
    """The moments of some latents of a code ``(n, n_latents)`` and the states ``(n, d)``."""
    latents, n = np.unique(latents), len(states)
    own = code[:, latents]
    mean = np.asarray(own.sum(0, dtype=np.float64)).ravel() / n
    state_mean = states.mean(0, dtype=np.float64)
    if own.nnz <= DENSE * n * len(latents):
        own = own.astype(np.float64)
        gram, cross = (own.T @ own).toarray(), np.asarray(own.T @ states)
    else:
        gram, cross = np.zeros((len(latents),) * 2), np.zeros((len(latents), states.shape[1]))
        for first in range(0, n, ROWS_AT_ONCE):
            part = slice(first, first + ROWS_AT_ONCE)
            some = own[part].toarray().astype(np.float64)
            gram += some.T @ some
            cross += some.T @ states[part]
    cross = cross / n - np.outer(mean, state_mean)
    return _Moments(latents, mean, state_mean, gram / n - np.outer(mean, mean), cross)
