"""Better probabilities than the model's own: three powers, fitted to what came next."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsae.core.threads import in_threads
from recsae.core.topk import top_k
from recsae.recommender.lists import rows_at_once
from recsae.steering.steered_scores import mask_unavailable
from recsae.steering.steps.kinds import Powers
from recsae.steering.steps.pools import LEAST, LEAST_OUTSIDE
from recsae.steering.steps.ranking import N_FIRST

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.steering.steered_scores import SteeredScores

    Floats = NDArray[np.float64]

UNCALIBRATED = Powers(p=1.0, place=0.0, popularity=0.0)
TIMES_AS_MANY = 3
"""It is fitted to so many times the cases that a path is found on: the three numbers decide every
list, and with fewer cases reach less."""
MIN_FOUND = 200
"""With fewer next items among the first the powers stay as they are."""
N_STEPS = 20
"""Newton's steps at most; it is a convex fit of three numbers."""
ALIKE = 1e-6
"""What spreads less over items tells none of them from another."""
CLOSE = 1e-6
"""Steps that are all smaller end it."""
PRIOR = 10.0
"""How much of a unit's information, of the powers times the spread of what they are of, holds them
to what they are without a calibration."""


class _First(NamedTuple):
    """What is known of the first items of some cases."""

    x: NDArray[np.float32]
    """``(n, m, 3)`` logarithms of p, of the place, and of one more than how often each item was
    consumed."""
    outside: Floats
    """``(n,)`` the logarithm of what all other items have together."""
    found: NDArray[np.int64]
    """``(n,)`` the place of the next item, m where it is none of the first."""


def popularity_by_others(of_all: NDArray[np.int64], own: NDArray[np.int64]) -> Floats:
    """How often each item ``(n_items,)`` was consumed by other users than those of a fit, as if
    there were as many of them as all: what one consumed is no sign of its own popularity."""
    others = (of_all - own).astype(np.float64)
    total = float(others.sum())
    return others * (float(of_all.sum()) / total) if total else others


def powers_of(scorer: SteeredScores, temperature: float, popularity: Floats) -> Powers:
    """Fit the powers to the next items of the scorer's cases, by largest likelihood.

    Parameters
    ----------
    scorer
        The scores of construction cases.
    temperature
        At which the softmax of scores is the model's p.
    popularity
        ``(n_items,)`` how often each item was consumed, see :func:`popularity_by_others`.
    """
    parts = _first_items(scorer, temperature, popularity)
    if sum(int((part.found < part.x.shape[1]).sum()) for part in parts) < MIN_FOUND:
        return UNCALIBRATED
    spread = np.sqrt(np.mean([part.x.reshape(-1, 3).var(0, dtype=np.float64) for part in parts], 0))
    if spread.min() < ALIKE:
        return UNCALIBRATED
    start = np.array([1.0, 0.0, 0.0])
    powers = start.copy()
    for _ in range(N_STEPS):
        slope, curvature = -PRIOR * spread**2 * (powers - start), PRIOR * np.diag(spread**2)
        for part in parts:
            _add_slope(part, powers, slope, curvature)
        step = np.linalg.solve(curvature, slope)
        powers += step
        if np.abs(step).max() < CLOSE:
            break
    if not np.isfinite(powers).all() or powers[0] <= 0:
        return UNCALIBRATED
    return Powers(p=powers[0], place=powers[1], popularity=powers[2])


def _add_slope(part: _First, powers: Floats, slope: Floats, curvature: Floats) -> None:
    """Add the first and (minus) the second derivative of the log likelihood of some cases."""
    x = part.x.astype(np.float64)
    own = np.c_[x @ powers, part.outside]
    own = np.exp(own - own.max(1, keepdims=True))
    q = (own / own.sum(1, keepdims=True))[:, :-1]
    mean = np.einsum("nm,nmf->nf", q, x)
    among = part.found < x.shape[1]
    slope += x[among, part.found[among]].sum(0) - mean.sum(0)
    weighted = (q[:, :, None] * x).reshape(-1, 3)
    curvature += weighted.T @ x.reshape(-1, 3) - mean.T @ mean


def _first_items(scorer: SteeredScores, temperature: float, popularity: Floats) -> list[_First]:
    cases = scorer.cases
    size = rows_at_once(cases.catalog.n_items)
    m = min(N_FIRST, int(cases.catalog.recommendable.sum()))

    def first_of(rows: slice) -> _First:
        scores = mask_unavailable(scorer.scores(rows), cases, rows) / temperature
        first = top_k(scores, m)
        log_p = (first.values - scores.logsumexp(1, keepdim=True)).double().numpy()
        items, targets = first.indices.numpy(), cases.targets[rows].astype(np.int64)[:, None]
        outside = np.log(np.maximum(1 - np.exp(log_p).sum(1), LEAST_OUTSIDE))
        there = items == targets
        x = np.stack(
            np.broadcast_arrays(
                np.maximum(log_p, LEAST),
                np.log(np.arange(1.0, m + 1)),
                np.log1p(popularity[items]),
            ),
            -1,
        )
        found = np.where(there.any(1), there.argmax(1), m)
        return _First(x.astype(np.float32), outside, found)

    parts = [slice(i, min(i + size, len(cases))) for i in range(0, len(cases), size)]
    return in_threads(first_of, parts, at_once=scorer.at_once)
