"""Share of score variance that a few values explain, by linear fits of hidden states.

Variance is that of the scores, through the matrix of
:func:`recsae.recommender.score_metric.score_metric`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse

from recsae.capture.moments import ROWS_AT_ONCE
from recsae.core.intervals import UserEstimate, ratio_estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases

    Floats = NDArray[np.float64]

RIDGE = 1e-4
"""Penalty of ridge regressions, of standardised values: keeps weights of alike values finite."""


def explained(
    states: NDArray[np.float32], guess: NDArray[np.float32] | Floats, metric: Floats
) -> float:
    """Share of the score variance of states ``(n, d)`` that guesses ``(n, d)`` explain.

    >>> states = np.array([[0.0, 1.0], [0.0, -1.0]], dtype=np.float32)
    >>> explained(states, states / 2, np.eye(2))
    0.75
    """
    lost, total = _variance(states, guess, metric), _total(states, metric)
    return float(1 - lost.sum() / total.sum())


def explained_of_users(
    cases: Cases, guesses: Sequence[NDArray[np.float32] | Floats], metric: Floats
) -> list[UserEstimate]:
    """:func:`explained` of cases by each of some guesses, with how much each user moves it."""
    total = _total(cases.states, metric)
    of_users = cases.per_user(total)
    return [
        ratio_estimate(cases.per_user(total - _variance(cases.states, guess, metric)), of_users)
        for guess in guesses
    ]


def explained_alone(
    code: scipy.sparse.csr_matrix, states: NDArray[np.float32], metric: Floats
) -> Floats:
    """Share of the score variance of states ``(n, d)`` that each latent explains by itself.

    By least squares on its activations, ``(n, m)``; 0 for a latent that never changes.

    >>> states = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], dtype=np.float32)
    >>> code = scipy.sparse.csr_matrix([[1.0, 0], [0, 0], [0, 0], [0, 0]])
    >>> explained_alone(code, states, np.eye(2)).round(2)  # 1/2, of a mean square of 1
    array([0.33, 0.  ])
    """
    n = code.shape[0]
    code = code.astype(np.float64)
    own = states - states.mean(0, dtype=np.float64)
    mean = np.asarray(code.mean(0)).ravel()
    variance = np.asarray(code.multiply(code).mean(0)).ravel() - np.square(mean)
    cross = np.asarray(code.T @ own) / n
    total = np.einsum("nd,nd->", own @ metric, own) / n
    explained = np.einsum("md,md->m", cross @ metric, cross)
    return np.where(variance > 1e-12, explained / np.maximum(variance * total, 1e-24), 0.0)


def _variance(states: NDArray[np.float32], guess: NDArray[Any], metric: Floats) -> Floats:
    """``(n,)`` score variance between each state and its guess, or one guess for all."""
    variance = np.empty(len(states))
    for start in range(0, len(states), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        error = states[rows] - (guess if guess.ndim == 1 else guess[rows]).astype(np.float64)
        variance[rows] = np.einsum("nd,nd->n", error @ metric, error)
    return variance


def _total(states: NDArray[np.float32], metric: Floats) -> Floats:
    """``(n,)`` score variance of each case."""
    return _variance(states, states.mean(0, dtype=np.float64), metric)


def linear_fit(values: Floats, states: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Weights ``(m, d)`` and intercept ``(d,)`` of states ``(n, d)`` on values ``(n, m)``.

    By ridge regression with one penalty for values of whatever size; a constant gets no weight.
    """
    mean, state_mean = values.mean(0), states.mean(0, dtype=np.float64)
    size = values.std(0)
    size[size < 1e-12] = np.inf
    z = (values - mean) / size
    gram = z.T @ z / len(z) + RIDGE * np.eye(z.shape[1])
    weights = np.linalg.solve(gram, z.T @ (states - state_mean) / len(z)) / size[:, None]
    return weights, state_mean - mean @ weights


def explained_by_one(
    construction: tuple[Floats, NDArray[np.float32]],
    heldout: tuple[Floats, NDArray[np.float32]],
    metric: Floats,
) -> Floats:
    """``(m,)`` share of held-out score variance that each of m values alone explains.

    States are fitted on one value at a time, by least squares on construction cases.

    Parameters
    ----------
    construction, heldout
        Values ``(n, m)`` and states ``(n, d)`` of construction and of held-out cases.
    """
    z, states = construction[0] - construction[0].mean(0), construction[1].astype(np.float64)
    mean = states.mean(0)
    spread_ = np.square(z).sum(0)
    weights = (z.T @ (states - mean)) / np.where(spread_ > 0, spread_, np.inf)[:, None]
    heldout_z = heldout[0] - construction[0].mean(0)
    heldout_states = heldout[1].astype(np.float64)
    own = heldout_states - heldout_states.mean(0)
    error = heldout_states - mean
    total = np.einsum("nd,de,ne->", own, metric, own, optimize=True)
    unexplained = np.einsum("nd,de,ne->", error, metric, error, optimize=True)
    both = np.einsum("md,de,me->m", weights, metric, heldout_z.T @ error)
    squared = np.einsum("md,de,me->m", weights, metric, weights) * np.square(heldout_z).sum(0)
    return np.asarray(1 - (unexplained - 2 * both + squared) / total, dtype=np.float64)


def explained_by_all(
    construction: tuple[Floats, NDArray[np.float32]],
    heldout: tuple[Floats, NDArray[np.float32]],
    metric: Floats,
) -> float:
    """Share of held-out score variance that all values together explain, by :func:`linear_fit`."""
    weights, start = linear_fit(*construction)
    return explained(heldout[1], heldout[0] @ weights + start, metric)
