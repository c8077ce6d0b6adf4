"""TopK: the k largest of each state (Gao et al. 2024, arXiv 2406.04093; RecSAE, section 3)."""

from __future__ import annotations

import torch

from recsae.core.topk import top_k
from recsae.sae.codes import Code
from recsae.sae.variants.base import Variant, Weights


class TopK(Variant):
    """``z = TopK(ReLU(pre))``, trained with the gradients of :mod:`recsae.sae.gradients`."""

    by_autograd = False

    def smallest_prefix(self, sae: Weights) -> torch.Tensor:
        """``(n_latents,)`` zeros: all latents are the only prefix."""
        return torch.zeros(sae.n_details, dtype=torch.int64)

    def select(self, sae: Weights, pre: torch.Tensor) -> Code:
        """The k largest of each row, those that are positive."""
        values, indices = top_k(pre, sae.config.k)
        return Code(values.relu(), indices)

    def dense(self, sae: Weights, pre: torch.Tensor) -> torch.Tensor:
        """The same, dense, by torch's operations alone."""
        best = pre.topk(sae.config.k, dim=1)
        return torch.zeros_like(pre).scatter(1, best.indices, best.values.relu())

    def activate(self, sae: Weights, pre: torch.Tensor) -> torch.Tensor:
        """The same, dense."""
        _, indices = top_k(pre, sae.config.k)
        return torch.zeros_like(pre).scatter(1, indices, pre.gather(1, indices).relu())
