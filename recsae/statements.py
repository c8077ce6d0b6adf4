"""All statements that can be made of cases, and how well each tells when a latent is active.

A statement is a column (a value of an attribute at a site) and a level: "at least so many of the
site's items have the value". Everything is counted through one sparse table of cases by statements.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse

from recsae.attributes import SITES, ItemAttributes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.cases import Cases

LEVELS = 10


class Statements(NamedTuple):
    """Levels of n cases in C columns.

    ``reached (n, C * LEVELS)`` has a one at ``column * LEVELS + level - 1`` for the level of each
    case in each column, levels from 1 on; level 0 is not stored. ``site`` and ``value (C,)`` say
    what the columns are: indices of :data:`recsae.attributes.SITES` and of the attributes.
    """

    reached: scipy.sparse.csr_matrix
    site: NDArray[np.int64]
    value: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> Statements:
        """The same of some cases."""
        return self._replace(reached=self.reached[rows])

    def of_columns(self, columns: NDArray[np.int64]) -> Statements:
        """Some of the columns."""
        wide = (columns[:, None] * LEVELS + np.arange(LEVELS)).ravel()
        return Statements(self.reached[:, wide], self.site[columns], self.value[columns])

    def counts(
        self, active: scipy.sparse.csr_matrix
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """How often each statement is true: together with each of m latents, and at all.

        ``(m, C, LEVELS)`` and ``(C, LEVELS)`` from activity ``(n, m)`` of ones.
        """
        shape = (-1, len(self.site), LEVELS)
        both = (active.T.tocsr() @ self.reached).toarray().reshape(shape)
        total = np.asarray(self.reached.sum(0), dtype=np.float32).reshape(shape[1:])
        return _or_more(both), _or_more(total)


def _or_more(counts: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(counts[..., ::-1].cumsum(-1, dtype=np.float32)[..., ::-1])


def all_statements(attributes: ItemAttributes, cases: Cases) -> Statements:
    """Every column of every site that is ever reached."""
    parts, sites, values = [], [], []
    for number, (site, thresholds) in enumerate(SITES.items()):
        counts = attributes.counts(cases, site)
        used = np.flatnonzero(np.bincount(counts.indices, minlength=counts.shape[1]))
        if not len(used):
            continue
        place = np.zeros(counts.shape[1], dtype=np.int64)
        place[used] = np.arange(len(used))
        level = levels_of(counts.data, thresholds)
        index = place[counts.indices] * LEVELS + level - 1
        ones = np.ones(len(index), dtype=np.float32)
        shape = (counts.shape[0], len(used) * LEVELS)
        parts.append(scipy.sparse.csr_matrix((ones, index, counts.indptr), shape=shape))
        sites.append(np.full(len(used), number))
        values.append(used)
    reached = scipy.sparse.hstack(parts, format="csr")
    return Statements(reached, np.concatenate(sites), np.concatenate(values))


def levels_of(counts: NDArray[np.int8], thresholds: tuple[int, ...]) -> NDArray[np.int64]:
    """How many of a site's thresholds each count reaches.

    >>> levels_of(np.array([0, 1, 7, 60]), (1, 2, 8)).tolist()
    [0, 1, 2, 3]
    """
    return np.searchsorted(np.array(thresholds), counts, side="right")


def balanced_accuracy(
    both: NDArray[Any], said: NDArray[Any], positives: NDArray[Any], n: int
) -> NDArray[Any]:
    """``(sensitivity + specificity) / 2`` from counts that broadcast against each other."""
    sensitivity = both / np.maximum(positives, 1)
    specificity = 1 - (said - both) / np.maximum(n - positives, 1)
    return np.asarray(0.5 * (sensitivity + specificity))
