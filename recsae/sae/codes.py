"""The active latents of states, held sparse."""

from __future__ import annotations

from typing import NamedTuple

import torch

from recsae.core.topk import top_k


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
