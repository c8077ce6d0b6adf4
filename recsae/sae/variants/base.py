"""The interface of a variant, and what most variants share."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

import torch
from torch import nn

from recsae.sae.codes import Code, above

if TYPE_CHECKING:
    from recsae.sae.config import SAEConfig

SMOOTHING = 0.05
"""What one batch counts in a running mean: the last 20 batches matter most."""


class Weights(Protocol):
    """What a variant sees of an SAE: its size, its parameters, and where to keep its own."""

    config: SAEConfig
    b_enc: nn.Parameter
    W_dec: nn.Parameter
    b_dec: nn.Parameter
    mean: torch.Tensor
    scale: torch.Tensor
    threshold: torch.Tensor
    log_threshold: torch.Tensor
    density: torch.Tensor
    penalty: torch.Tensor

    @property
    def n_details(self) -> int:
        """Number of latents that are trained."""

    @property
    def width(self) -> int:
        """Dimension d of the states."""

    def mix(self, z: torch.Tensor) -> torch.Tensor:
        """Normalised reconstructions ``(n, d)`` of dense activations ``(n, n_latents)``."""

    def register_buffer(self, name: str, tensor: torch.Tensor | None) -> None:
        """As of ``torch.nn.Module``."""

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """As of ``torch.nn.Module``."""


class Variant:
    """A way of choosing latents. It keeps nothing: what it learns and counts lies in the SAE.

    ``pre`` is ``(n, n_latents)`` pre-activations, ``x (n, d)`` normalised states, ``z
    (n, n_latents)`` activations in training. The loss is ``fit + penalty`` plus the weighted
    auxiliary loss.
    """

    by_autograd: ClassVar[bool] = True
    approaches_k: ClassVar[bool] = False
    """Whether k active latents are only reached in the course of training; FVUs along the way then
    say nothing about when to stop."""

    def prepare(self, sae: Weights) -> None:
        """Give a new SAE the parameters and buffers that the variant needs besides weights."""

    def select(self, sae: Weights, pre: torch.Tensor) -> Code:
        """The active latents once trained; no state's depend on the other states."""
        return above(pre, sae.threshold)

    def dense(self, sae: Weights, pre: torch.Tensor) -> torch.Tensor:
        """What ``select`` gives, ``(n, n_latents)``, by torch's operations alone: they can be
        recorded, and take longer."""
        return pre.where((pre >= sae.threshold) & (pre > 0), 0.0)

    def activate(self, sae: Weights, pre: torch.Tensor) -> torch.Tensor:
        """Activations z in training, to be differentiated."""
        raise NotImplementedError

    def smallest_prefix(self, sae: Weights) -> torch.Tensor:
        """``(n_latents,)`` number of the smallest prefix that each latent is in, rising from 0.

        Only where gradients are written out: there the fit is the sum over p of the FVUs that the
        latents of prefixes 0 to p leave.
        """
        raise NotImplementedError

    def fit(self, sae: Weights, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The FVU: ``mean (x_hat - x)^2``, x having a variance of 1 per dimension."""
        return (sae.mix(z) - x).square().mean()

    def penalty(self, sae: Weights, pre: torch.Tensor, z: torch.Tensor) -> torch.Tensor | float:
        """What is added to the loss so that few latents are active."""
        return 0.0

    def follow(self, sae: Weights, z: torch.Tensor) -> None:
        """Bring running means and controllers up to date after a batch."""

    def neglected(self, sae: Weights, dead: torch.Tensor) -> torch.Tensor:
        """Indices of the latents that the auxiliary loss trains; ``dead`` are the dead ones."""
        return dead


def quantile(share: float) -> float:
    """What a standard normal number exceeds with this probability; above 0.45 as at 0.45.

    The pre-activations of a new SAE are roughly that, so it is where few latents are active.
    """
    return float(torch.special.ndtri(torch.tensor(1 - min(0.45, share))))
