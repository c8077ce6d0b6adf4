"""How well an SAE reconstructs, and how often its latents are active."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from recsae.core.distributed import SINGLE_PROCESS, Ranks
from recsae.sae.codes import Code

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from recsae.capture.store import ActivationStore
    from recsae.sae.model import SAE

DENSE_SHARE = 0.1
"""A latent that is active on more than this share of the positions is dense."""
STATES_AT_ONCE = 4096
"""States encoded in one go: bounds the memory of dense activations."""


def quality(sae: SAE, store: ActivationStore, ranks: Ranks = SINGLE_PROCESS) -> dict[str, float]:
    """FVU in raw space, L0, dead share and share of dense latents on a (held-out) store.

    FVU is ``sum ||h - h_hat||^2 / sum ||h - mean||^2`` with the store's own mean, over the whole
    store at once: predicting the mean gives 1. Dead: never active here. Dense: active on more
    than 10 % of the positions. Processes that share the work take whole shards.
    """
    error = torch.zeros((), dtype=torch.float64)
    fired = torch.zeros(sae.n_latents, dtype=torch.int64)
    for shard in store.shards[ranks.rank :: ranks.size]:
        for code, squared in _coded(sae, torch.from_numpy(shard[:].copy())):
            error += squared
            fired += torch.bincount(code.indices[code.values > 0], minlength=sae.n_latents)
    ranks.sum(error)
    ranks.sum(fired)
    n = len(store)
    return {
        "fvu": float(error) / store.moments().spread,
        "l0": int(fired.sum()) / n,
        "dead_fraction": float((fired == 0).float().mean()),
        "dense_fraction": float((fired > DENSE_SHARE * n).float().mean()),
    }


def fvu_beside_training(sae: SAE, states: torch.Tensor) -> float:
    """FVU of states ``(n, d)`` with the variance of the states that the SAE is trained on."""
    error = sum(squared for _, squared in _coded(sae, states))
    return error / (float(sae.scale) ** 2 * states.numel())


def reconstructed(sae: SAE, states: NDArray[np.float32]) -> torch.Tensor:
    """What an SAE makes of states ``(n, d)``, some thousand at a time."""
    with torch.no_grad():
        return torch.cat([sae(part) for part in torch.from_numpy(states).split(STATES_AT_ONCE)])


def _coded(sae: SAE, states: torch.Tensor) -> Iterator[tuple[Code, float]]:
    """Codes of states, some thousand at a time, and their summed squared error."""
    with torch.no_grad():
        for part in states.split(STATES_AT_ONCE):
            code = sae.encode_sparse(part)
            yield code, float((part - sae.decode_sparse(code)).double().square().sum())
