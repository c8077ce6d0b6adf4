"""ReLU with an L1 penalty, for comparison (Bricken et al. 2023, Towards Monosemanticity)."""

from __future__ import annotations

import math

import torch
from torch import nn

from recsae.sae.codes import Code, above
from recsae.sae.variants.base import Variant, Weights, quantile

RATE = 0.005
"""How fast the weight of the penalty follows the number of active latents, per step."""


class ReLU(Variant):
    """``z = ReLU(pre)``; ``loss = FVU + w / d * mean over states of sum_j |z_j|``.

    So that k latents are active on average, w follows their number by a controller with a
    proportional and an integral part: ``w = c * clamp(L0 / k, 0.1, 2)``, and after each batch
    ``log c += rate * clamp(log(L0 / k), -1, 1)``. L0 is the batch's. The L1 norm shrinks what is
    active, so the FVU is higher than the others'; dead latents are not revived, as their
    pre-activations are negative.
    """

    approaches_k = True

    def prepare(self, sae: Weights) -> None:
        """The weight's c, and biases at which about k latents are active from the start."""
        sae.register_buffer("penalty", torch.tensor(sae.config.sparsity_weight))
        nn.init.constant_(sae.b_enc, -quantile(sae.config.k / sae.n_details))

    def select(self, sae: Weights, pre: torch.Tensor) -> Code:
        """All that are positive."""
        return above(pre, 0.0)

    def dense(self, sae: Weights, pre: torch.Tensor) -> torch.Tensor:
        """The same, dense, by torch's operations alone."""
        return pre.relu()

    def activate(self, sae: Weights, pre: torch.Tensor) -> torch.Tensor:
        """The same, dense."""
        return pre.relu()

    def penalty(self, sae: Weights, pre: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """The weighted L1 norm; decoder rows have length 1."""
        weight = sae.penalty * min(2.0, max(0.1, _ratio(sae, z)))
        return weight * z.sum(1).mean() / sae.width

    def follow(self, sae: Weights, z: torch.Tensor) -> None:
        """Move c."""
        excess = math.log(max(_ratio(sae, z), 1e-3))
        sae.penalty *= math.exp(RATE * min(1.0, max(-1.0, excess)))


def _ratio(sae: Weights, z: torch.Tensor) -> float:
    """L0 of a batch, in multiples of k."""
    return float((z > 0).sum()) / (len(z) * sae.config.k)
