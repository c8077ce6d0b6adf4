"""Where training starts: items first, then states, whatever the seed."""

import numpy as np
import pytest
import torch

from helpers.toy import store
from recsae.sae.config import make_config
from recsae.sae.model import SAE, Gates
from recsae.sae.start import starting_directions
from recsae.sae.train import train_sae


def started(folder, states, items, n_latents, seed=0):
    made = store(folder, states)
    sae = SAE(make_config(n_latents=n_latents, k=1, seed=seed), states.shape[1])
    sae.fit_input(made)
    return starting_directions(sae, made, items)


def test_groups_of_items_and_states_by_hand(tmp_path):
    """Items and centred states lie along two axes, both ways: these are the four directions."""
    axes = torch.tensor([[2.0, 0.0], [0.0, 2.0], [-2.0, 0.0], [0.0, -2.0]])
    items = axes.repeat_interleave(6, dim=0) + 0.1 * torch.randn(
        24, 2, generator=torch.Generator().manual_seed(0)
    )
    states = np.array([[3, 0], [-3, 0], [0, 3], [0, -3]] * 10, dtype=np.float32)
    found = started(tmp_path, states, items, 4)
    expected = {(1, 0), (-1, 0), (0, 1), (0, -1)}
    assert {tuple(row) for row in found.round().int().tolist()} == expected
    assert torch.allclose(found.norm(dim=1), torch.ones(4))


@pytest.mark.parametrize("n_latents", [3, 40, 150])
@pytest.mark.parametrize("n_items", [None, 1, 30])
def test_as_many_unit_directions_as_details(tmp_path, n_latents, n_items):
    rng = np.random.default_rng(0)
    items = None if n_items is None else torch.from_numpy(rng.normal(size=(n_items, 8)))
    found = started(tmp_path, rng.normal(size=(100, 8)).astype(np.float32), items, n_latents)
    assert found.shape == (n_latents, 8)
    assert torch.allclose(found.norm(dim=1), torch.ones(n_latents), atol=1e-5)


def test_the_seed_changes_nothing_where_there_are_states_enough(tmp_path):
    rng = np.random.default_rng(1)
    states, items = rng.normal(size=(300, 8)).astype(np.float32), torch.randn(50, 8)
    found = [started(tmp_path, states, items, 60, seed=seed) for seed in (0, 7)]
    assert torch.equal(*found)


def test_details_start_from_the_items_and_an_sae_without_gates_from_its_seed(tmp_path):
    """States are sums of two of twelve items' vectors, in twelve dimensions of sixteen."""
    rng = np.random.default_rng(2)
    items = np.linalg.qr(rng.normal(size=(16, 16)))[0][:12].astype(np.float32)
    pairs = np.stack([rng.permutation(12)[:2] for _ in range(3000)])
    made = store(tmp_path, items[pairs].sum(1) + 0.05 * rng.normal(size=(3000, 16)))
    direction = torch.eye(16)[:1]
    gate = Gates(direction, torch.tensor([5.0]), direction)  # never open

    def same(gates):
        seeds = (make_config(n_latents=12, k=2, seed=seed, n_samples=30_000) for seed in (0, 1))
        tables = [
            train_sae(made, config, gates=gates, items=torch.from_numpy(items)).W_dec.detach()
            for config in seeds
        ]
        return float(((tables[0] @ tables[1].T).max(1).values > 0.95).float().mean())

    assert same(gate) > 0.9
    assert same(None) < same(gate)
