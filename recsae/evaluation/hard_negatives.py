"""Specificity on hard negatives: inactive cases whose states are nearest to active ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse

from recsae.core.topk import top_k

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases

N_POOL = 10_000
"""Cases at most that hard negatives are found among, evenly spread: bounds the comparisons."""
N_PROBES = 32
"""Active cases of each latent that others are compared with."""
N_HARD = 100
"""Hard negatives of each latent."""
LABELS_AT_ONCE = 16
"""Labels in one go: bounds the table of cosines."""


def hard_specificity(
    active: scipy.sparse.csc_matrix,
    steps: NDArray[np.int8],
    column: NDArray[np.int64],
    threshold: NDArray[np.int64],
    shown: scipy.sparse.csr_matrix,
    cases: Cases,
) -> NDArray[np.float64]:
    """Specificity on the inactive cases whose states are nearest, in cosine, to the positives.

    From a fixed pool of cases the 100 inactive ones with the highest cosine to any of 32 positives
    (evenly spread over the latent's active cases): the same procedure for every code, by hidden
    states alone. Cases whose recommendation was shown for the latent do not count here either.
    """
    import torch

    def unit(rows: NDArray[np.int64]) -> torch.Tensor:
        return torch.nn.functional.normalize(torch.from_numpy(cases.states[rows]), dim=-1)

    pool = np.unique(np.linspace(0, len(cases) - 1, N_POOL).astype(np.int64))
    near, top = unit(pool), cases.top_items[pool, 0]
    n_hard = min(N_HARD, len(pool))
    result = np.full(len(column), np.nan)
    for first in range(0, len(column), LABELS_AT_ONCE):
        labels = np.arange(first, min(first + LABELS_AT_ONCE, len(column)))
        rows = [active.indices[active.indptr[i] : active.indptr[i + 1]] for i in labels]
        probes = np.stack([r[np.linspace(0, len(r) - 1, N_PROBES).astype(np.int64)] for r in rows])
        closeness = (unit(probes.ravel()) @ near.T).view(len(labels), N_PROBES, -1).amax(1)
        positive = active[:, labels][pool].T.toarray() > 0
        removed = shown[labels].toarray()[:, top] > 0
        closeness[torch.from_numpy(positive | removed)] = -2.0
        nearest = top_k(closeness, n_hard)
        hard = pool[nearest.indices.numpy()]
        counted = nearest.values.numpy() > -2.0
        quiet = steps[column[labels][:, None], hard] < threshold[labels][:, None]
        with np.errstate(invalid="ignore"):
            result[labels] = (quiet & counted).sum(1) / counted.sum(1)
    return result
