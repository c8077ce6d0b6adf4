"""BatchTopK, also called Mutual Choice: k per state on average, shared out within a batch.

Bussmann et al. 2024 (arXiv 2412.06410) and Ayonrinde 2024 (arXiv 2411.02124).
"""

from __future__ import annotations

import torch

from recsae.sae.variants.base import SMOOTHING, Variant, Weights


class BatchTopK(Variant):
    """In training the ``n k`` largest of a batch of n; then all that reach a threshold.

    ``z = pre [pre >= t]``. The threshold t, one for all latents, is the running mean over batches
    of the smallest activation kept.
    """

    def prepare(self, sae: Weights) -> None:
        """A threshold; 0 until the first batch."""
        sae.register_buffer("threshold", torch.zeros(()))

    def activate(self, sae: Weights, pre: torch.Tensor) -> torch.Tensor:
        """The ``n k`` largest of all, those that are positive."""
        return keep_best(pre.relu(), len(pre) * sae.config.k)

    def follow(self, sae: Weights, z: torch.Tensor) -> None:
        """Move the threshold."""
        smallest = z.masked_fill(z <= 0, torch.inf).amin()
        move(sae.threshold, smallest)


def keep_best(z: torch.Tensor, number: int) -> torch.Tensor:
    """Set all but the ``number`` largest entries of a matrix to 0.

    >>> keep_best(torch.tensor([[1.0, 3.0], [2.0, 0.0]]), 2).tolist()
    [[0.0, 3.0], [2.0, 0.0]]
    """
    flat = z.flatten()
    best = flat.detach().topk(min(number, len(flat))).indices
    return torch.zeros_like(flat).scatter(0, best, flat[best]).view_as(z)


def move(threshold: torch.Tensor, smallest: torch.Tensor) -> None:
    """Move running means, in place, towards what was seen (inf: nothing); from 0 all the way."""
    moved = torch.where(threshold > 0, threshold.lerp(smallest, SMOOTHING), smallest)
    threshold.copy_(torch.where(torch.isfinite(smallest), moved, threshold))
