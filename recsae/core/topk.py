"""The k largest entries of every row, which take most of an SAE's time.

``torch.topk`` costs several times the matrix product before it on a CPU; the loops of
:mod:`recsae.core.kernels` cost less than the product. Without Numba, on other devices and for other
types, ``torch.topk`` does it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from types import ModuleType


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
    compiled = kernels()
    if compiled is None or matrix.device.type != "cpu" or matrix.dtype != torch.float32:
        best = matrix.detach().topk(k, dim=1)
        return TopK(best.values, best.indices)
    values = torch.empty(len(matrix), k)
    indices = torch.empty(len(matrix), k, dtype=torch.int64)
    compiled.row_top_k(matrix.detach().contiguous().numpy(), values.numpy(), indices.numpy(), True)
    return TopK(values, indices)


@cache
def kernels() -> ModuleType | None:
    """The module of compiled loops, None where Numba is not installed."""
    try:
        from recsae.core import kernels
    except ImportError:
        return None
    return kernels
