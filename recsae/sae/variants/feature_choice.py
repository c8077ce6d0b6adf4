"""Feature Choice: each latent chooses its states (Ayonrinde 2024, arXiv 2411.02124)."""

from __future__ import annotations

import math

import torch

from recsae.sae.variants.base import SMOOTHING, Variant, Weights
from recsae.sae.variants.batch_topk import keep_best, move


class FeatureChoice(Variant):
    """In training at most m of a batch's n states for each latent, ``n k`` pairs in all.

    ``m = ceil(n k / n_latents)``. Where m latents each would be more than ``n k`` pairs, the best
    ``n k`` of them stay. Once trained ``z_j = pre_j [pre_j >= t_j]``; a latent's threshold t_j is
    the running mean of the smallest activation it kept.

    The auxiliary loss is the Zipf loss: instead of dead latents only, those used less than Zipf's
    law gives their rank reconstruct the residual, see :func:`underused` for what is counted as
    less; the paper's idea, with the bound on m taken into account.
    """

    def prepare(self, sae: Weights) -> None:
        """Thresholds, 0 until a latent was active, and the share of states that each is used on."""
        n, k = sae.n_details, sae.config.k
        sae.register_buffer("threshold", torch.zeros(n))
        sae.register_buffer("density", torch.full((n,), k / n))

    def activate(self, sae: Weights, pre: torch.Tensor) -> torch.Tensor:
        """The best m of each column, those that are positive."""
        pairs = len(pre) * sae.config.k
        best, rows = pre.relu().topk(math.ceil(pairs / sae.n_details), dim=0)
        return torch.zeros_like(pre).scatter(0, rows, keep_best(best, pairs))

    def follow(self, sae: Weights, z: torch.Tensor) -> None:
        """Move thresholds and densities."""
        move(sae.threshold, z.masked_fill(z <= 0, torch.inf).amin(0))
        sae.density.lerp_((z > 0).to(z.dtype).mean(0), SMOOTHING)

    def neglected(self, sae: Weights, dead: torch.Tensor) -> torch.Tensor:
        """The latents that are used less than Zipf's law expects; dead ones are among them."""
        return underused(sae.density, sae.config.k)


def underused(density: torch.Tensor, k: int) -> torch.Tensor:
    """Indices of the latents whose density is below what their rank gives.

    Expected at rank r of n is ``k / (r H_n)``, Zipf's law with k active latents per state, but no
    more than ``0.9 k / n``: a latent can have ``k / n`` here, and a little less is chance. The most
    used latent has rank 1.

    >>> underused(torch.tensor([0.5, 0.1, 0.48, 0.0]), 2).tolist()
    [1, 3]
    """
    n = len(density)
    ranks = torch.arange(1, n + 1, dtype=density.dtype, device=density.device)
    expected = k / (ranks * (1 / ranks).sum())
    order = density.argsort(descending=True, stable=True)
    low = density[order] < expected.clamp_max(0.9 * k / n)
    return order[low].sort().values
