"""Samples of cases for a language model.

Those that a rate is estimated from are drawn so that every case is as likely as any other. In those
that are only shown, or compared with each other, users count alike: as far as there are enough of
them, each gives one case.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsae.capture.cases import spread
from recsae.concepts.dictionary import rank_within

if TYPE_CHECKING:
    import scipy.sparse
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases

    Rows = NDArray[np.int64]
    Floats = NDArray[np.float32]

N_POOL = 10_000
"""Cases at most that the nearest inactive ones are found among: bounds the comparisons."""
DRAWS = 8
"""Random cases drawn for each that is wanted, since active ones are thrown away."""


class CaseSampler:
    """Draws cases of a code; the same ones for the same seed.

    Parameters
    ----------
    code
        ``(n, n_latents)`` activations of the cases.
    """

    def __init__(self, code: scipy.sparse.csr_matrix, cases: Cases, seed: int) -> None:
        self.cases = cases
        self.seed = seed
        self._by_latent = code.tocsc()

    def activations(self, latent: int) -> Floats:
        """``(n,)`` activations of one latent on all cases."""
        return np.asarray(self._by_latent[:, [latent]].toarray().ravel())

    def random(self, n: int) -> Rows:
        """At most n of all cases, every one as likely, spread over the users as the cases are."""
        return self._spread(np.arange(len(self.cases)), n, 3)

    def more_active(self, latent: int, besides: Rows, n: int) -> Rows:
        """At most n active cases besides some rows, each as likely, of all strengths."""
        value = self.activations(latent)
        rows = np.setdiff1d(np.flatnonzero(value > 0), besides)
        return self._spread(rows[np.argsort(value[rows], kind="stable")], n, 4 + latent)

    def _spread(self, rows: Rows, n: int, what: int) -> Rows:
        """At most n of the rows, evenly spaced from a random one on."""
        if n >= len(rows):
            return rows
        start = np.random.default_rng([self.seed, what]).random()
        return np.asarray(rows[((np.arange(n) + start) * len(rows) / n).astype(np.int64)])

    def active(self, latent: int, n: int) -> Rows:
        """At most n active cases at evenly spaced quantiles of the activation, weakest first."""
        start, end = self._by_latent.indptr[latent : latent + 2]
        rows = self._by_latent.indices[start:end].astype(np.int64)
        value = self._by_latent.data[start:end]
        rows, value = rows[value > 0], value[value > 0]
        chance = self._rng(latent, 0).random(len(rows))
        order = np.lexsort((chance, self.cases.user[rows]))
        turn = np.empty(len(rows), dtype=np.int64)  # 0 for the first case of a user, and so on
        turn[order] = rank_within(self.cases.user[rows][order])
        enough = np.searchsorted(np.cumsum(np.bincount(turn)), min(n, len(rows)))
        kept = np.flatnonzero(turn <= enough)
        kept = kept[np.lexsort((rows[kept], value[kept]))]
        quantiles = np.linspace(0, len(kept) - 1, min(n, len(kept))).round().astype(np.int64)
        return np.asarray(rows[kept[quantiles]])

    def inactive(self, latent: int, near: Floats, n: int) -> Rows:
        """At most n inactive cases: half at random, half those whose states are nearest, in
        cosine, to any of the cases whose unit states are ``near (m, d)``."""
        quiet = self.activations(latent) <= 0
        drawn = self._rng(latent, 1).integers(0, len(self.cases), DRAWS * n)
        easy = self._first_of_users(drawn[quiet[drawn]], n - n // 2)
        pool, states = self._pool
        closeness = (near @ states.T).max(0)
        nearest = pool[np.argsort(-closeness, kind="stable")]
        nearest = nearest[quiet[nearest] & ~np.isin(nearest, easy)]
        return np.concatenate([easy, self._first_of_users(nearest, n // 2)])

    def unit_states(self, rows: Rows) -> Floats:
        """``(m, d)`` states of cases, scaled to length 1."""
        states = self.cases.states[rows]
        length = np.linalg.norm(states, axis=1, keepdims=True)
        return np.asarray(states / np.maximum(length, 1e-12))

    @cached_property
    def _pool(self) -> tuple[Rows, Floats]:
        rows = spread(len(self.cases), N_POOL)
        return rows, self.unit_states(rows)

    def _first_of_users(self, rows: Rows, n: int) -> Rows:
        """The first n rows, of different users as far as that gives n."""
        rows = rows[np.sort(np.unique(rows, return_index=True)[1])]
        first = np.zeros(len(rows), dtype=bool)
        first[np.unique(self.cases.user[rows], return_index=True)[1]] = True
        return np.asarray(np.concatenate([rows[first], rows[~first]])[:n])

    def _rng(self, latent: int, what: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, latent, what])


class Rises(NamedTuple):
    """``(m, n)`` for m cases and their last n items, newest first; see :func:`rises`."""

    raised: Floats
    counts: NDArray[np.bool_]


def rises(activations: Floats, cases: Cases, rows: Rows, n: int) -> Rises:
    """By how much each of the last n items raised a latent when it was appended.

    ``raised`` is the activation after the item less the one before it (0 before the first item);
    NaN from the first position on that is not among the cases, and where the sequence has no such
    item. ``counts`` is true where the latent has been active ever since: what an item brought
    before is gone.
    """
    back = np.arange(n + 1)
    index = np.maximum(rows[:, None] - back, 0)
    position = cases.position[rows][:, None] - back
    known = (cases.sequence[index] == cases.sequence[rows][:, None]) & (
        cases.position[index] == position
    )
    level = np.where(known, activations[index], np.where(position == -1, 0.0, np.nan))
    raised = np.asarray(level[:, :-1] - level[:, 1:], dtype=np.float32)
    return Rises(raised, np.logical_and.accumulate(level[:, :-1] > 0, axis=1))
