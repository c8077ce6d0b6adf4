"""Neurons, components and random directions go through the same door as the SAE."""

import numpy as np
import pytest
import torch

from helpers.toy import store
from recsae.sae.baselines import neurons, pca, random_directions
from recsae.sae.codes import sparse_code


@pytest.fixture
def states(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 3)) * [1.0, 10.0, 0.1] + [5.0, -3.0, 0.0]
    return store(tmp_path, rows, shard=200)


ALL = {
    "neurons": lambda data, k: neurons(data, k),
    "pca": lambda data, k: pca(data, k),
    "random": lambda data, k: random_directions(data, k, 20, seed=0),
}


def test_neurons_by_hand(tmp_path):
    # mean (2, 0), standard deviations 1 and 4: units +a, +b, -a, -b
    data = store(tmp_path, np.array([[1, 4], [3, -4], [1, -4], [3, 4]]))
    code = neurons(data, k=1)
    assert code.n_latents == 4
    found = code.encode_sparse(torch.tensor([[5.0, 8.0], [2.5, -8.0], [-1.0, 0.0]]))
    # standardised: (3, 2), (.5, -2), (-3, 0)
    assert found.indices.tolist() == [[0], [3], [2]]
    torch.testing.assert_close(found.values, torch.tensor([[3.0], [2.0], [3.0]]))


@pytest.mark.parametrize("name", ["neurons", "pca"])
def test_two_signs_of_every_dimension(states, name):
    directions = ALL[name](states, 1).directions
    assert directions.shape == (6, 3)
    assert torch.equal(directions[:3], -directions[3:])


def test_neurons_do_not_depend_on_the_scale_of_a_dimension(states, tmp_path):
    rows = states.column("states")
    scaled = store(tmp_path / "scaled", rows * np.array([7.0, 0.01, 3.0], dtype=np.float32))
    one = neurons(states, 2).encode_sparse(torch.from_numpy(rows))
    other = neurons(scaled, 2).encode_sparse(torch.from_numpy(scaled.column("states")))
    torch.testing.assert_close(one.values, other.values, rtol=1e-3, atol=1e-4)


def test_a_dimension_that_never_varies_gives_numbers(tmp_path):
    rows = np.random.default_rng(0).normal(size=(50, 3))
    rows[:, 1] = 4.0
    code = neurons(store(tmp_path, rows), 2)
    assert bool(torch.isfinite(code.encode_sparse(torch.from_numpy(rows).float()).values).all())


def test_components_are_orthonormal_and_the_largest_comes_first(states):
    directions = pca(states, 1).directions[:3].double()
    torch.testing.assert_close(directions @ directions.T, torch.eye(3).double(), atol=1e-5, rtol=0)
    rows = torch.from_numpy(states.column("states")).double()
    spread = ((rows - rows.mean(0)) @ directions.T).std(0)
    assert spread.tolist() == sorted(spread.tolist(), reverse=True)
    assert int(directions[0].abs().argmax()) == 1  # the dimension of standard deviation 10
    strongest = directions.abs().argmax(1, keepdim=True)
    assert bool((directions.gather(1, strongest) > 0).all())  # the sign is not left to chance


def test_random_directions_are_seeded_unit_vectors(states):
    one, same, other = (random_directions(states, 2, 30, seed=s) for s in (1, 1, 2))
    assert torch.equal(one.directions, same.directions)
    assert not torch.equal(one.directions, other.directions)
    torch.testing.assert_close(one.directions.norm(dim=1), torch.ones(30))
    assert one.n_latents == 30


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("name", ALL)
def test_at_most_k_are_active_and_they_are_the_largest(states, name, k):
    rows = states.column("states")
    code = ALL[name](states, k)
    dense = sparse_code(code.encode_sparse, rows, code.n_latents).toarray()
    projected = (rows - rows.mean(0)) @ code.directions.numpy().T
    for z, p in zip(dense, projected, strict=True):
        expected = np.where(p >= np.sort(p)[-k], np.maximum(p, 0), 0)
        np.testing.assert_allclose(z, expected, atol=1e-4)


@pytest.mark.parametrize("name", ["neurons", "pca"])
def test_dense_codes_keep_every_positive_unit(states, name):
    rows = states.column("states")
    code = ALL[name](states, None)
    dense = sparse_code(code.encode_sparse, rows, code.n_latents).toarray()
    projected = (rows - rows.mean(0)) @ code.directions.numpy().T
    np.testing.assert_allclose(dense, np.maximum(projected, 0), atol=1e-4)
    assert ((dense > 0).sum(1) == 3).mean() > 0.99  # one sign of each


def test_more_active_units_than_there_are(states):
    code = neurons(states, 50).encode_sparse(torch.zeros(2, 3))
    assert code.indices.shape == (2, 6)
