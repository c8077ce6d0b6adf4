"""States with planted directions, and trainings that die."""

from __future__ import annotations

import numpy as np

from recsae.sae.model import SAE

SMALL = {
    "n_latents": 12,
    "k": 2,
    "batch_size": 32,
    "n_samples": 1200,
    "dead_after": 100,
    "patience": None,
}


def planted(n: int = 300, width: int = 8, n_directions: int = 12, seed: int = 0) -> tuple:
    """States that are sums of two of some directions, and the directions."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(n_directions, width))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    mix = np.zeros((n, n_directions))
    for row in mix:
        row[rng.choice(n_directions, 2, replace=False)] = rng.uniform(1, 2, 2)
    return (mix @ directions).astype(np.float32), directions


def weights(sae: SAE) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in sae.state_dict().items()}


class Killed(Exception):
    pass


def killed_at(step: int):
    def progress(done: int, total: int, what: str) -> None:
        if done >= step:
            raise Killed

    return progress
