"""Cross-entropy over a catalogue: whole, and of a sample."""

import math

import numpy as np
import pytest
import torch

from recsae_recbole.demo import softmax
from recsae_recbole.demo.softmax import catalogue_loss

RNG = np.random.default_rng(0)


def drawn(n, m, d=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(n, d, generator=generator, dtype=torch.double, requires_grad=True)
    table = torch.randn(m, d, generator=generator, dtype=torch.double, requires_grad=True)
    return states, table, torch.randint(1, m, (n,), generator=generator)


def test_by_hand():
    states, table = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0], [2.0, 5.0], [1.0, 7.0]])
    expected = -math.log(math.e**2 / (1 + math.e**2 + math.e))
    found = catalogue_loss(states, table, torch.tensor([1]), RNG)
    assert found.item() == pytest.approx(expected)


@pytest.mark.parametrize(("n", "m"), [(1, 2), (5, 16), (300, 40), (70, 17)])
def test_loss_and_gradients_are_those_of_autograd(monkeypatch, n, m):
    monkeypatch.setattr(softmax, "PIECE", 100 * 48)  # several pieces of 300 states
    states, table, targets = drawn(n, m)
    found = catalogue_loss(states, table, targets, RNG)
    expected = torch.nn.functional.cross_entropy(states @ table.T, targets)
    torch.testing.assert_close(found, expected)
    ours = torch.autograd.grad(3 * found, (states, table))
    theirs = torch.autograd.grad(3 * expected, (states, table))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_a_sample_of_all_other_items_is_the_whole_catalogue_without_padding(monkeypatch):
    monkeypatch.setattr(softmax, "FULL", 0)
    states, table, targets = drawn(20, 50)
    found = catalogue_loss(states, table, targets, RNG)
    expected = torch.nn.functional.cross_entropy(states @ table[1:].T, targets - 1)
    torch.testing.assert_close(found, expected)
    ours = torch.autograd.grad(found, (states, table))
    theirs = torch.autograd.grad(expected, (states, table))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_a_sample_estimates_the_loss_of_the_whole_catalogue(monkeypatch):
    monkeypatch.setattr(softmax, "FULL", 0)
    monkeypatch.setattr(softmax, "SAMPLED", 100)
    states, table, targets = drawn(30, 2000)
    expected = torch.nn.functional.cross_entropy(states @ table[1:].T, targets - 1).item()
    rng = np.random.default_rng(3)
    found = [catalogue_loss(states, table, targets, rng).item() for _ in range(200)]
    assert np.std(found) > 0  # another sample each time
    assert np.mean(found) == pytest.approx(expected, rel=0.05)


def test_items_that_are_not_drawn_have_no_gradient(monkeypatch):
    monkeypatch.setattr(softmax, "FULL", 0)
    monkeypatch.setattr(softmax, "SAMPLED", 5)
    states, table, targets = drawn(4, 100)
    (gradient,) = torch.autograd.grad(catalogue_loss(states, table, targets, RNG), table)
    moved = gradient.abs().sum(1) > 0
    assert moved[targets].all()
    assert not moved[0]
    assert int(moved.sum()) == len(targets.unique()) + 5
