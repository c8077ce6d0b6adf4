"""Pools by blocks of items are those of all scores."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.two_directions import N_ITEMS, cases, table
from recsae.recommender.protocol import LinearHead
from recsae.steering.steered_scores import mask_unavailable
from recsae.steering.steps import blocks, pools, ranking
from recsae.steering.steps.blocks import Blocks
from recsae.steering.steps.ranking import Reorder


@pytest.mark.parametrize("hides", [False, True])
@pytest.mark.parametrize("temperature", [None, 0.7])
@pytest.mark.parametrize("at_once", [7, 1024])
@pytest.mark.parametrize("n_weights", [1, 2, 3])
def test_pools_are_those_of_all_scores(hides, temperature, at_once, n_weights, monkeypatch):
    monkeypatch.setattr(blocks, "ITEMS_AT_ONCE", at_once)
    head = LinearHead(table().items, torch.linspace(-1, 1, N_ITEMS + 1))
    some, part = replace(cases(), filters_seen=hides, counted={}), slice(3, 11)
    states = torch.from_numpy(some.states[part])
    weights = torch.arange(N_ITEMS + 1) % n_weights * 1.0
    step = Reorder.of(weights, 0.1, temperature)
    found = step.settled(Blocks(some, head, step.parts(10)).pool(states, part, temperature), 10)
    expected = step.pool(mask_unavailable(head.score(states), some, part), 10)
    assert found.items.tolist() == expected.items.tolist()
    assert torch.allclose(found.scores, expected.scores, atol=1e-5)
    assert torch.allclose(found.total, expected.total, atol=1e-5)
    assert step.lists(found, 10).tolist() == step.lists(expected, 10).tolist()


def test_what_is_left_out_is_in_no_pool():
    """Neither the padding nor what was seen, and every item once."""
    some = replace(cases(10), filters_seen=True, counted={})
    weights = torch.zeros(N_ITEMS + 1)
    weights[:3] = 1  # the padding and two items
    seen = some.seen.take(slice(0, 1)).pairs()[1]
    pool = Blocks(some, table(), Reorder.of(weights, 0.0).parts(10)).pool(
        torch.from_numpy(some.states[:1]), slice(0, 1), None
    )
    real = pool.items[0][pool.scores[0] > float("-inf")].tolist()
    assert not set(real) & {0, *seen.tolist()}
    assert len(real) == len(set(real)) >= 10


def plain_loops(monkeypatch):
    for module in (pools, ranking):
        monkeypatch.setattr(module, "kernels_for", lambda *_: None)


def test_lists_by_probability_are_those_of_the_plain_loop(monkeypatch):
    """With equal scores, with what is no item, and with more places than items."""
    rng = np.random.default_rng(0)
    scores = torch.from_numpy(rng.integers(-3, 4, (50, 40)).astype(np.float32))
    scores[:, 5:9] = float("-inf")
    scores[7, 2:] = float("-inf")
    weights = torch.arange(40) % 2 * 1.0
    for gain in (0.0, 0.02, 0.5):
        step = Reorder.of(weights, gain, 1.0)
        pool = step.pool(scores, 10)
        compiled = step.lists(pool, 12)
        plain_loops(monkeypatch)
        assert compiled.tolist() == step.lists(step.pool(scores, 10), 12).tolist()
        monkeypatch.undo()
