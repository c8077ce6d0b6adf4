"""How much of what the recommender does can be said with a few concepts that passed the test."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsae.capture.cases import ndcg_of_states
from recsae.evaluation.explained import RIDGE, explained, score_metric
from recsae.recommender.metrics import ndcg_of_lists

if TYPE_CHECKING:
    import scipy.sparse
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.recommender.protocol import LinearHead

SIZES = (8, 16, 32)


class Share(NamedTuple):
    """Share of score variance explained by 8, 16 and 32 concepts, and NDCG kept by the last."""

    shares: dict[int, float]
    ndcg_kept: float
    chosen: list[int]


def named_share(
    construction: tuple[scipy.sparse.csr_matrix, Cases],
    heldout: tuple[scipy.sparse.csr_matrix, Cases],
    candidates: NDArray[np.int64],
    head: LinearHead | None,
) -> Share:
    """Explain hidden states by few concepts, fitted on construction and measured on held-out cases.

    Up to 32 of the candidates (verified on *other* held-out users) are chosen one after another,
    each time the one that explains most of the remaining score variance of construction cases;
    then states are fitted on their activations by ridge regression.
    """
    code, cases = construction
    test_code, test = heldout
    metric = score_metric(head, cases.catalog.recommendable, cases.states.shape[1])
    limit = max(SIZES) if len(candidates) else 0
    order = _choose(code[:, candidates], cases.states, metric, limit)
    if not order:  # none was verified, or none of those is ever active on construction cases
        return Share(dict.fromkeys(SIZES, 0.0), 0.0, [])
    chosen = [int(candidates[i]) for i in order]
    shares, guess = {}, test.states
    for size in SIZES:
        picked = chosen[:size]
        guess = _fit_predict(code[:, picked], cases.states, test_code[:, picked])
        shares[size] = explained(test.states, guess, metric)
    if head is None:
        return Share(shares, float("nan"), chosen)
    base = ndcg_of_lists(test.top_items.astype(np.int64), test.targets).mean()
    kept = ndcg_of_states(guess, test, head).mean() / base if base else float("nan")
    return Share(shares, float(kept), chosen)


def _centred_moments(
    code: scipy.sparse.csr_matrix, states: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Means, covariance of the activations ``(m, m)`` and with the states ``(m, d)``."""
    code = code.astype(np.float64)
    n = code.shape[0]
    mean, state_mean = np.asarray(code.mean(0)).ravel(), states.mean(0, dtype=np.float64)
    gram = np.asarray((code.T @ code).todense()) / n - np.outer(mean, mean)
    cross = np.asarray(code.T @ states) / n - np.outer(mean, state_mean)
    return mean, state_mean, gram, cross


def _choose(
    code: scipy.sparse.csr_matrix,
    states: NDArray[np.float32],
    metric: NDArray[np.float64],
    limit: int,
) -> list[int]:
    """Forward selection by orthogonal least squares on the moments alone."""
    _, _, gram, cross = _centred_moments(code, states)
    values, vectors = np.linalg.eigh(metric)
    target = cross @ (vectors * np.sqrt(np.maximum(values, 0)))
    variance = gram.diagonal().copy()
    usable = variance > 1e-12
    chosen: list[int] = []
    while len(chosen) < min(limit, int(usable.sum())):
        rest = gram.diagonal()
        open_ = usable & (rest > 1e-9 * np.maximum(variance, 1e-30))
        open_[chosen] = False
        if not open_.any():
            break
        gain = np.where(open_, np.square(target).sum(1) / np.where(open_, rest, 1), -1.0)
        best = int(gain.argmax())
        chosen.append(best)
        share = gram[:, best] / gram[best, best]
        target = target - np.outer(share, target[best])
        gram = gram - np.outer(share, gram[best])
    return chosen


def _fit_predict(
    code: scipy.sparse.csr_matrix, states: NDArray[np.float32], test_code: scipy.sparse.csr_matrix
) -> NDArray[np.float32]:
    mean, state_mean, gram, cross = _centred_moments(code, states)
    ridge = RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    weights = np.linalg.solve(gram + ridge, cross)
    return np.asarray(test_code @ weights + (state_mean - mean @ weights), dtype=np.float32)
