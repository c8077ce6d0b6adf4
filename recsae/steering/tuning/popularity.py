"""Popularity of recommended items: the latents that stand for it, and measures of lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse

from recsae.steering.fairness.groups import TASTES, thirds
from recsae.steering.steps.goals import HEAD
from recsae.steering.tuning.results import PopularityMeasure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.steering.frontier import Outcome

    Floats = NDArray[np.float64]

N_CANDIDATE_LATENTS = 64
"""How many latents, those with the largest Cohen's d, a path to such a goal may choose from."""


def cohens_d(code: scipy.sparse.csr_matrix, cases: Cases, popularity: NDArray[np.int64]) -> Floats:
    """Cohen's d ``(m,)`` of each latent's mean activation: users of popular against niche items.

    ``code (n_cases, m)``. The third of the users whose items are most popular, against the third
    with the least popular (the idea of PopSteer).
    """
    n = np.bincount(cases.user, minlength=cases.n_users).astype(float)
    group = thirds(cases.per_user(np.log1p(popularity[cases.targets])) / n)
    where = (cases.user, np.arange(len(cases)))
    by_user = scipy.sparse.csr_matrix((1 / n[cases.user], where), (cases.n_users, len(cases)))
    means = (by_user @ code).tocsr()
    sides = [means[np.flatnonzero(group == g)] for g in (TASTES.index("head"), 0)]
    mean = [np.asarray(side.mean(0)).ravel() for side in sides]
    spread = [
        np.asarray(side.power(2).mean(0)).ravel() - m**2
        for side, m in zip(sides, mean, strict=True)
    ]
    pooled = np.sqrt(np.maximum(spread[0] + spread[1], 0) / 2)
    difference = mean[0] - mean[1]
    return np.asarray(np.divide(difference, pooled, out=np.zeros_like(pooled), where=pooled > 0))


def popularity_measures(
    before: Outcome, after: Outcome, cases: Cases, popularity: NDArray[np.int64]
) -> list[PopularityMeasure]:
    """Average popularity, Gini coefficient and coverage of the lists."""
    real = cases.catalog.recommendable
    order = np.argsort(-popularity[real], kind="stable")
    tail = np.flatnonzero(real)[order][int(HEAD * real.sum()) :]
    sides = [(o.counts, o.counts / o.counts.sum()) for o in (before, after)]
    figures = {
        "average popularity": [float(part @ popularity) for _, part in sides],
        "Gini coefficient": [gini(counts[real]) for counts, _ in sides],
        "long tail: share of lists": [float(part[tail].sum()) for _, part in sides],
        "long tail: recommended at all": [float((part[tail] > 0).mean()) for _, part in sides],
    }
    return [PopularityMeasure(name, old, new) for name, (old, new) in figures.items()]


def gini(counts: NDArray[np.int64]) -> float:
    """Gini coefficient of counts: 0 where all items are recommended alike, near 1 where one is.

    >>> gini(np.array([1, 1])), gini(np.array([0, 0, 0, 4]))
    (0.0, 0.75)
    """
    ordered = np.sort(counts).astype(float)
    n = len(ordered)
    weighted = (2 * np.arange(1, n + 1) - n - 1) @ ordered
    return float(weighted / (n * ordered.sum()))
