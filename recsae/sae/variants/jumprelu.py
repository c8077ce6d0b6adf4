"""JumpReLU: a learned threshold for each latent (Rajamanoharan et al. 2024, arXiv 2407.14435)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from recsae.sae.codes import Code, above
from recsae.sae.variants.base import Variant, Weights, quantile


class JumpReLU(Variant):
    """``z_j = pre_j [pre_j > t_j]`` with ``loss = FVU + weight (L0 / k - 1)^2``.

    L0 is the batch's mean number of active latents. The logarithm of t is learned. Its gradient
    is estimated from the pre-activations within half a ``bandwidth`` of t, see :class:`Jump`; the
    kernel K is the paper's, a rectangle of width 1.
    """

    approaches_k = True

    def prepare(self, sae: Weights) -> None:
        """Thresholds at which k latents are active if pre-activations are standard normal."""
        start = math.log(quantile(sae.config.k / sae.n_details))
        parameter = nn.Parameter(torch.full((sae.n_details,), start))
        sae.register_parameter("log_threshold", parameter)

    def select(self, sae: Weights, pre: torch.Tensor) -> Code:
        """All that exceed their threshold."""
        threshold = sae.log_threshold.detach().exp()
        return above(pre.masked_fill(pre <= threshold, 0.0), 0.0)

    def dense(self, sae: Weights, pre: torch.Tensor) -> torch.Tensor:
        """The same, dense, by torch's operations alone."""
        return pre.where((pre > sae.log_threshold.detach().exp()) & (pre > 0), 0.0)

    def activate(self, sae: Weights, pre: torch.Tensor) -> torch.Tensor:
        """The same, dense."""
        threshold = sae.log_threshold.exp()
        z: torch.Tensor = Jump.apply(pre, threshold, sae.config.bandwidth)  # type: ignore[no-untyped-call]
        return z

    def penalty(self, sae: Weights, pre: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """``weight (L0 / k - 1)^2``; only the thresholds have a gradient from it."""
        threshold = sae.log_threshold.exp()
        active: torch.Tensor = HeavisideStep.apply(pre, threshold, sae.config.bandwidth)  # type: ignore[no-untyped-call]
        excess = active.sum(1).mean() / sae.config.k - 1
        return (sae.config.sparsity_weight or 0.0) * excess.square()


def _near(pre: torch.Tensor, threshold: torch.Tensor, bandwidth: float) -> torch.Tensor:
    """The kernel ``K((pre - t) / bandwidth)``: 1 within half a bandwidth of t, else 0."""
    return ((pre - threshold).abs() < bandwidth / 2).to(pre.dtype)


class Jump(torch.autograd.Function):
    """``pre [pre > t]``; its slope in t is taken as ``-t / bandwidth K((pre - t) / bandwidth)``."""

    @staticmethod
    def forward(
        ctx: Any, pre: torch.Tensor, threshold: torch.Tensor, bandwidth: float
    ) -> torch.Tensor:
        """Activations ``(n, n_latents)``."""
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        return pre * (pre > threshold)

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        """Slopes in the pre-activations and in the thresholds."""
        pre, threshold = ctx.saved_tensors
        near = _near(pre, threshold, ctx.bandwidth)
        of_threshold = -(slopes[0] * near).sum(0) * threshold / ctx.bandwidth
        return slopes[0] * (pre > threshold), of_threshold, None


class HeavisideStep(torch.autograd.Function):
    """``[pre > t]``; its slope in t is taken to be ``-1 / bandwidth K((pre - t) / bandwidth)``.

    There is none in the pre-activations.
    """

    @staticmethod
    def forward(
        ctx: Any, pre: torch.Tensor, threshold: torch.Tensor, bandwidth: float
    ) -> torch.Tensor:
        """1 where a latent is active, ``(n, n_latents)``."""
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        return (pre > threshold).to(pre.dtype)

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> tuple[None, torch.Tensor, None]:
        """Slopes in the thresholds."""
        pre, threshold = ctx.saved_tensors
        near = _near(pre, threshold, ctx.bandwidth)
        return None, -(slopes[0] * near).sum(0) / ctx.bandwidth, None
