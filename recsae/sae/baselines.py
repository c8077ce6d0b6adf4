"""Baseline codes: raw neurons, principal components and random directions, as sparse as the SAE.

Each has ``n_latents`` and ``encode_sparse(states) -> Code`` like the SAE, with the same number k of
active units per state, so that they go through the same labeler and scorer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from recsae.core.topk import top_k
from recsae.sae.codes import Code, above

if TYPE_CHECKING:
    from recsae.capture.store import ActivationStore
    from recsae.sae.model import Gates

BASELINES = ("neurons", "random", "pca")
"""Names of the baselines."""


@dataclass(frozen=True)
class LinearCode:
    """Top-k of ``ReLU(directions (h - mean))``; all positive ones if ``k`` is None (dense)."""

    directions: torch.Tensor  # (n_latents, d)
    mean: torch.Tensor  # (d,)
    k: int | None

    @property
    def n_latents(self) -> int:
        """Number of units."""
        return len(self.directions)

    def encode_sparse(self, states: torch.Tensor) -> Code:
        """Active units of raw states ``(n, d)``."""
        values = (states - self.mean) @ self.directions.T
        values, indices = top_k(values, min(self.k or self.n_latents, self.n_latents))
        return Code(values.relu(), indices)


@dataclass(frozen=True)
class GateCode:
    """Gates without anything beside them: ``ReLU(weight h - bound)``."""

    gates: Gates

    @property
    def n_latents(self) -> int:
        """Number of units."""
        return len(self.gates.bound)

    def encode_sparse(self, states: torch.Tensor) -> Code:
        """Active units of raw states ``(n, d)``."""
        return above(F.linear(states, self.gates.weight, -self.gates.bound), 0.0)


Baseline = LinearCode | GateCode


def _moments(store: ActivationStore) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean ``(d,)`` and covariance ``(d, d)`` of a store, float64."""
    mean = torch.from_numpy(store.moments().mean)
    return mean, torch.from_numpy(store.covariance)


def neurons(store: ActivationStore, k: int | None) -> LinearCode:
    """The 2d signed hidden dimensions, standardised."""
    mean, covariance = _moments(store)
    signed = torch.diag(covariance.diagonal().clamp_min(1e-12).rsqrt())
    return LinearCode(torch.cat([signed, -signed]).float(), mean.float(), k)


def pca(store: ActivationStore, k: int | None) -> LinearCode:
    """The 2d signed principal components."""
    mean, covariance = _moments(store)
    vectors = torch.linalg.eigh(covariance).eigenvectors.T.flip(0)
    sign = vectors.gather(1, vectors.abs().argmax(1, keepdim=True)).sign()
    signed = vectors * sign
    return LinearCode(torch.cat([signed, -signed]).float(), mean.float(), k)


def random_directions(store: ActivationStore, k: int, n_latents: int, seed: int) -> LinearCode:
    """Directions drawn uniformly from the sphere."""
    generator = torch.Generator().manual_seed(seed)
    directions = F.normalize(torch.randn(n_latents, store.width, generator=generator), dim=1)
    return LinearCode(directions, torch.from_numpy(store.moments().mean).float(), k)
