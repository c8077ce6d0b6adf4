"""Matryoshka: nested dictionaries, the first latents being the coarsest.

Bussmann et al. 2025 (arXiv 2503.17547), here with TopK instead of BatchTopK.
"""

from __future__ import annotations

from itertools import pairwise

import torch

from recsae.sae.variants.base import Weights
from recsae.sae.variants.topk import TopK


class Matryoshka(TopK):
    """``z = TopK(ReLU(pre))``; ``loss = sum over prefixes p of mean (x_hat_p - x)^2``.

    ``x_hat_p = z[:p] W_dec[:p] + b_dec`` must do with the first p latents. The prefixes are in
    the configuration.
    """

    def smallest_prefix(self, sae: Weights) -> torch.Tensor:
        """``(n_latents,)`` the smallest prefix that each latent is in, from 0."""
        prefixes = torch.tensor(sae.config.prefixes)
        return torch.searchsorted(prefixes, torch.arange(sae.n_details), right=True)

    def fit(self, sae: Weights, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Each prefix adds its latents to the reconstruction of the one before."""
        rebuilt, loss = sae.b_dec.expand_as(x), x.new_zeros(())
        for first, last in pairwise((0, *(sae.config.prefixes or ()))):
            rebuilt = rebuilt + z[:, first:last] @ sae.W_dec[first:last]
            loss = loss + (rebuilt - x).square().mean()
        return loss
