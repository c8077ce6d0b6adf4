"""The k largest entries of every row, which take most of an SAE's time.

``torch.topk`` costs several times the matrix product before it on a CPU; the loops of
:mod:`recsae.core.kernels` cost less than the product. Without Numba, on other devices and for other
types, ``torch.topk`` does it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray


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
    compiled = kernels_for(matrix)
    if compiled is None:
        best = matrix.detach().topk(k, dim=1)
        return TopK(best.values, best.indices)
    values = torch.empty(len(matrix), k)
    indices = torch.empty(len(matrix), k, dtype=torch.int64)
    compiled.row_top_k(matrix.detach().contiguous().numpy(), values.numpy(), indices.numpy(), True)
    return TopK(values, indices)


class RunningTopK:
    """The k largest entries of n rows that come a block of columns at a time, in their order.

    Parameters
    ----------
    n, k
        Rows, and entries of each that are kept.

    Attributes
    ----------
    values, indices
        ``(n, k)`` largest first, and their columns; -inf and 0 where there were fewer. NaN and
        -inf never are among them; of equal entries the one with the lower index comes first on the
        fast path.

    >>> best = RunningTopK(1, 2)
    >>> best.merge(torch.tensor([[1.0, 3.0]]), 0)
    >>> best.merge(torch.tensor([[2.0]]), 2)
    >>> best.indices.tolist()
    [[1, 2]]
    """

    def __init__(self, n: int, k: int) -> None:
        self.values = torch.full((n, k), float("-inf"))
        self.indices = torch.zeros(n, k, dtype=torch.int64)
        self._is_empty = True

    def merge(self, block: torch.Tensor, first: int) -> None:
        """Take ``(n, m)`` further columns in, from column ``first`` on."""
        compiled, (n, k) = kernels_for(block), self.values.shape
        is_first, self._is_empty = self._is_empty, False
        if compiled is not None:
            if is_first and block.shape[1] >= k:
                self.values, indices = top_k(block, k)
                self.indices = (indices + first).masked_fill_(self.values == float("-inf"), 0)
                return
            rows = block.detach().contiguous().numpy()
            compiled.merge_top_k(rows, first, self.values.numpy(), self.indices.numpy())
            return
        columns = torch.arange(first, first + block.shape[1]).expand(n, -1)
        known = block.masked_fill(block.isnan(), float("-inf"))
        every = torch.cat([self.values.to(block), known], dim=1)
        found = every.cpu().topk(k, dim=1)
        chosen = torch.cat([self.indices, columns], dim=1).gather(1, found.indices)
        self.values = found.values
        self.indices = chosen.masked_fill(found.values == float("-inf"), 0)


def number_before(
    block: torch.Tensor,
    first: int,
    values: NDArray[np.float32],
    columns: NDArray[np.int64],
) -> NDArray[np.int64]:
    """``(n,)`` how many entries of each row come before one of some value and column.

    Larger ones do, and equal ones of a lower column; NaN does not.

    Parameters
    ----------
    block
        ``(n, m)`` columns from column ``first`` on.
    values, columns
        ``(n,)``; the columns need not be in the block.

    >>> row = torch.tensor([[2.0, 1.0, 2.0, 3.0]])
    >>> number_before(row, 10, np.float32([2]), np.array([12])).tolist()
    [2]
    """
    compiled, split = kernels_for(block), (columns - first).clip(0, block.shape[1])
    if compiled is not None:
        before = np.empty(len(block), dtype=np.int64)
        compiled.number_before(block.detach().contiguous().numpy(), values, split, before)
        return before
    bound = torch.from_numpy(values).to(block)[:, None]
    lower = (
        torch.arange(block.shape[1], device=block.device)
        < torch.from_numpy(split).to(block.device)[:, None]
    )
    return np.asarray(((block > bound) | ((block == bound) & lower)).sum(1).cpu().numpy())


def kernels_for(*tables: torch.Tensor) -> ModuleType | None:
    """The compiled loops, if there are any and they can read these tables of numbers; else None."""
    if any(table.device.type != "cpu" or table.dtype != torch.float32 for table in tables):
        return None
    return kernels()


@cache
def kernels() -> ModuleType | None:
    """The module of compiled loops, None where Numba is not installed."""
    try:
        from recsae.core import kernels
    except ImportError:
        return None
    return kernels
