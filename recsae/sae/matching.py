"""Matching of the latents of two dictionaries, by decoder direction or by activity.

*By direction* is for dictionaries of one space: the same model, weights and site. Directions of
two models or sites have nothing to do with each other, even where the widths are equal.

*By activity* is for any two codes of the same cases, so for other sites and other models too. It
says that two latents are active together and as strongly; not that they do the same to scores.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsae.core.errors import InvalidInput

if TYPE_CHECKING:
    import scipy.sparse
    from numpy.typing import ArrayLike, NDArray

LATENTS_AT_ONCE = 512
"""Latents compared with all others in one go: bounds the table of similarities."""
SAME = 0.9
"""Directions with a cosine above this count as the same."""
ALIKE = 0.7
"""Latents with a correlation above this count as the same: each explains half of the other."""


class Nearest(NamedTuple):
    """For each of n latents the most similar one of another dictionary."""

    other: NDArray[np.int64]  # (n,) the latent; -1 where no similarity is above 0
    similarity: NDArray[np.float64]  # (n,) cosine or correlation; 0 where there is none


def best_by_direction(ours: ArrayLike, others: ArrayLike) -> Nearest:
    """The other direction with the highest cosine, for each of ours.

    Parameters
    ----------
    ours, others
        ``(n, d)`` and ``(m, d)`` directions of any length; 512 rows are compared at a time.

    Raises
    ------
    InvalidInput
        The widths differ.

    Examples
    --------
    >>> best_by_direction([[0.0, 2.0], [1.0, 0.0]], [[1.0, 0.0], [3.0, 4.0]])
    Nearest(other=array([1, 0]), similarity=array([0.8, 1. ]))
    """
    one, two = _unit(ours), _unit(others)
    if one.shape[1] != two.shape[1]:
        raise InvalidInput(
            f"Directions of {one.shape[1]} and of {two.shape[1]} dimensions cannot be compared: "
            "they belong to different spaces."
        )
    parts = [
        _best_of(one[i : i + LATENTS_AT_ONCE] @ two.T) for i in range(0, len(one), LATENTS_AT_ONCE)
    ]
    return _joined(parts)


def best_by_activity(ours: scipy.sparse.csr_matrix, others: scipy.sparse.csr_matrix) -> Nearest:
    """The other latent whose activations correlate most, for each of ours.

    Parameters
    ----------
    ours, others
        ``(n_cases, n)`` and ``(n_cases, m)`` activations of the same cases, zeros not stored.

    Raises
    ------
    InvalidInput
        The codes are not of equally many cases.

    Notes
    -----
    Pearson's correlation over all cases; the codes stay sparse, and 512 latents are compared at a
    time. A latent that is never active, or always the same, is like none.
    """
    return _joined([_best_of(part) for part in _correlations(ours, others)])


def alike_by_activity(
    ours: scipy.sparse.csr_matrix, others: scipy.sparse.csr_matrix, above: float = ALIKE
) -> tuple[Nearest, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """:func:`best_by_activity`, and all pairs of a latent of ours and one of the others that
    correlate more than this."""
    best = []
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    for number, part in enumerate(_correlations(ours, others)):
        best.append(_best_of(part))
        pairs.append(np.argwhere(part > above) + np.array([number * LATENTS_AT_ONCE, 0]))
    mine, other = np.concatenate(pairs).T
    return _joined(best), (mine, other)


def _correlations(
    ours: scipy.sparse.csr_matrix, others: scipy.sparse.csr_matrix
) -> Iterator[NDArray[np.float64]]:
    """Of 512 latents of ours at a time with all others."""
    n_cases = ours.shape[0]
    if others.shape[0] != n_cases:
        raise InvalidInput(
            f"Codes of {n_cases} and of {others.shape[0]} cases cannot be compared: they must be "
            "of the same cases."
        )
    one, two = _standardised(ours), _standardised(others)
    columns, rows = one.scaled.tocsc(), two.scaled.tocsr()
    for first in range(0, ours.shape[1], LATENTS_AT_ONCE):
        chunk = slice(first, first + LATENTS_AT_ONCE)
        together: NDArray[np.float64] = (columns[:, chunk].T @ rows).toarray()
        together -= np.outer(n_cases * one.mean[chunk], two.mean)
        yield together


def one_to_one(ours: Nearest, others: Nearest, at_least: float) -> NDArray[np.int64]:
    """``(n,)`` the latent that each of ours is matched with, -1 where there is none.

    Two latents match if each is the other's most similar one, at more than ``at_least``. An
    optimal assignment would instead pair as many as there are, at any similarity, and give up the
    best pair of a latent where that raises the sum.

    Parameters
    ----------
    ours, others
        The best of others for each of ours, and of ours for each of the others.

    Examples
    --------
    >>> there = best_by_direction([[1.0, 0.0], [4.0, 3.0]], [[1.0, 0.1]])
    >>> back = best_by_direction([[1.0, 0.1]], [[1.0, 0.0], [4.0, 3.0]])
    >>> one_to_one(there, back, 0.7)
    array([ 0, -1])
    """
    mine = np.arange(len(ours.other))
    paired = ours.other >= 0
    mutual = np.zeros(len(mine), dtype=bool)
    mutual[paired] = others.other[ours.other[paired]] == mine[paired]
    return np.where(mutual & (ours.similarity > at_least), ours.other, -1)


class _Standardised(NamedTuple):
    scaled: scipy.sparse.csr_matrix  # (n_cases, n) activations by the norm of what is centred
    mean: NDArray[np.float64]  # (n,) means of the scaled activations


def _standardised(code: scipy.sparse.csr_matrix) -> _Standardised:
    """Activations divided so that the product of two centred columns is their correlation."""
    scaled = code.astype(np.float64)
    n_cases = max(1, code.shape[0])
    mean = np.asarray(scaled.sum(0)).ravel() / n_cases
    squares = np.asarray(scaled.multiply(scaled).sum(0)).ravel()
    centred = squares - n_cases * mean**2
    varies = centred > 1e-12 * squares
    scale = np.where(varies, 1 / np.sqrt(np.where(varies, centred, 1.0)), 0.0)
    scaled.data *= scale[scaled.indices]
    return _Standardised(scaled, mean * scale)


def _unit(directions: ArrayLike) -> NDArray[np.float64]:
    rows = np.asarray(directions, dtype=np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.float64] = rows / np.where(norms > 0, norms, 1.0)
    return unit


def _best_of(similarity: NDArray[np.float64]) -> Nearest:
    """The largest of each row ``(n, m)``."""
    if not similarity.shape[1]:
        n = len(similarity)
        return Nearest(np.full(n, -1, dtype=np.int64), np.zeros(n))
    other = similarity.argmax(1)
    value = similarity[np.arange(len(other)), other]
    return Nearest(np.where(value > 0, other, -1), np.where(value > 0, value, 0.0))


def _joined(parts: list[Nearest]) -> Nearest:
    return Nearest(
        np.concatenate([p.other for p in parts] or [np.zeros(0, dtype=np.int64)]),
        np.concatenate([p.similarity for p in parts] or [np.zeros(0)]),
    )
