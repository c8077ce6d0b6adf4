"""The k largest entries of every row: where an SAE's time goes.

``torch.topk`` costs several times the matrix product before it on a CPU; one pass per row with a
running threshold costs less than the product. Numba compiles that pass; without Numba, on other
devices and for other types, ``torch.topk`` does it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Callable


class TopK(NamedTuple):
    """``(n, k)`` values, largest first, and their columns."""

    values: torch.Tensor
    indices: torch.Tensor


def top_k(matrix: torch.Tensor, k: int) -> TopK:
    """Values and column indices ``(n, k)`` of the k largest entries per row, largest first.

    Of equal entries the one with the lower index comes first on the fast path. No gradient.

    >>> values, indices = top_k(torch.tensor([[1.0, 3.0, 2.0]]), 2)
    >>> indices.tolist()
    [[1, 2]]
    """
    kernel = _kernel()
    if kernel is None or matrix.device.type != "cpu" or matrix.dtype != torch.float32:
        found = matrix.detach().topk(k, dim=1)
        return TopK(found.values, found.indices)
    values = torch.empty(len(matrix), k)
    indices = torch.zeros(len(matrix), k, dtype=torch.int64)
    kernel(matrix.detach().contiguous().numpy(), values.numpy(), indices.numpy())
    return TopK(values, indices)


@cache
def _kernel() -> Callable[[Any, Any, Any], None] | None:
    try:
        import numba
    except ImportError:
        return None

    @numba.njit(cache=True, nogil=True)
    def row_top_k(matrix: Any, values: Any, indices: Any) -> None:
        n, m = matrix.shape
        k = values.shape[1]
        for row in range(n):
            for slot in range(k):
                values[row, slot] = -float("inf")
            threshold = values[row, k - 1]
            for column in range(m):
                value = matrix[row, column]
                if value > threshold:
                    slot = k - 1
                    while slot > 0 and values[row, slot - 1] < value:
                        values[row, slot] = values[row, slot - 1]
                        indices[row, slot] = indices[row, slot - 1]
                        slot -= 1
                    values[row, slot] = value
                    indices[row, slot] = column
                    threshold = values[row, k - 1]

    return row_top_k
