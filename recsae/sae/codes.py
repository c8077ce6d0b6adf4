"""The active latents of states, held sparse."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from recsae.core.distributed import SINGLE_PROCESS, Ranks
from recsae.core.threads import in_threads
from recsae.core.topk import top_k

if TYPE_CHECKING:
    import numpy as np
    import scipy.sparse
    from numpy.typing import NDArray

STATES_AT_ONCE = 2048
"""States encoded in one go; also what processes share, so that all have the same bits."""


class Code(NamedTuple):
    """The active latents of n states: ``values (n, m)`` and ``indices (n, m)``.

    Where fewer than m are active the values are 0, and those indices mean nothing.
    """

    values: torch.Tensor
    indices: torch.Tensor


def above(pre: torch.Tensor, threshold: torch.Tensor | float) -> Code:
    """Pre-activations ``(n, n_latents)`` that reach a threshold of 0 or more and are positive.

    >>> above(torch.tensor([[1.0, 3.0, 2.0], [0.0, 2.5, 0.0]]), 2.0).values.tolist()
    [[3.0, 2.0], [2.5, 0.0]]
    """
    active = (pre >= threshold) & (pre > 0)
    most = int(active.sum(1).max()) if len(pre) else 1
    values, indices = top_k(pre.masked_fill(~active, -torch.inf), max(1, most))
    return Code(values.relu(), indices)


class Codes(NamedTuple):
    """A sparse code of construction and of held-out cases, ``(n, n_latents)`` each."""

    construction: scipy.sparse.csr_matrix
    heldout: scipy.sparse.csr_matrix


def sparse_code(
    encode: Callable[[torch.Tensor], Code],
    states: NDArray[np.float32],
    n_latents: int,
    ranks: Ranks = SINGLE_PROCESS,
) -> scipy.sparse.csr_matrix:
    """Run an ``encode_sparse`` over states ``(n, d)``: ``(n, n_latents)``, zeros not stored."""
    import numpy as np
    import scipy.sparse

    def active_of(part: torch.Tensor) -> tuple[NDArray[Any], ...]:
        with torch.no_grad():
            code = encode(part)
        active = code.values > 0
        index = code.indices[active].numpy().astype(np.int32)
        return code.values[active].numpy(), index, active.sum(1).numpy()

    rows = ranks.share(-(-len(states) // STATES_AT_ONCE))  # whole batches: all have the same bits
    own = torch.from_numpy(states[rows.start * STATES_AT_ONCE : rows.stop * STATES_AT_ONCE])
    parts = in_threads(active_of, own.split(STATES_AT_ONCE))
    values, indices, counts = (
        np.concatenate(column)
        for column in zip(*(part for own in ranks.gather(parts) for part in own), strict=True)
    )
    bounds = np.r_[0, counts.cumsum()]
    matrix = scipy.sparse.csr_matrix((values, indices, bounds), (len(states), n_latents))
    matrix.sort_indices()
    return matrix
