"""Pools: what they are cut to decides nothing, whatever the scores."""

import numpy as np
import pytest
import torch

from recsae.core.topk import TopK, kernels, top_k
from recsae.steering.steps import pools, ranking
from recsae.steering.steps.pools import CalibratedP, Pool, others
from recsae.steering.steps.ranking import Beside, Ranking, Reorder

NONE = float("-inf")
N, N_ITEMS = 60, 500
RNG = np.random.default_rng(0)
WANTED = torch.from_numpy((RNG.random(N_ITEMS) < 0.1).astype(np.float32))
POPULAR = torch.from_numpy(RNG.normal(size=N_ITEMS).astype(np.float32))


def scores(seed, decimals):
    """Those of few decimals are often equal; some are of no item, in one row nearly all."""
    found = np.random.default_rng(seed).normal(size=(N, N_ITEMS)).round(decimals)
    made = torch.from_numpy(found.astype(np.float32))
    made[:, ::7] = NONE
    made[3, 5:] = NONE
    return made


@pytest.fixture(params=["compiled", "torch"])
def path(request, monkeypatch):
    if request.param == "torch":
        monkeypatch.setattr("recsae.core.topk.kernels", lambda: None)
    return request.param


def test_others_are_those_that_are_not_among_the_first(path):
    """Of items that score as the last of the first torch takes any."""
    own, turned = scores(1, 1), scores(2, 1)
    first = top_k(own, 40)
    items = top_k(turned, 40).indices.sort(dim=1).values
    found = others(first, TopK(own.gather(1, items), items))
    for row in range(N):
        known = {i for i, s in zip(first.indices[row], first.values[row], strict=True) if s > NONE}
        known = {int(i) for i in known}
        left = [int(i) for i in items[row] if int(i) not in known and own[row, i] > NONE]
        left.sort(key=lambda item: (-float(own[row, item]), item))
        there = found.values[row] > NONE
        assert not there[len(left) :].any()
        if path == "torch":
            left.sort()
        made = found.indices[row][there].tolist()
        assert (sorted(made) if path == "torch" else made) == left


@pytest.mark.skipif(kernels() is None, reason="Numba is not installed")
def test_the_first_of_each_kind():
    """The two largest p of each kind, of equal ones the lower item, by ascending items."""
    items = torch.tensor([[4, 2, 9, 7, 1, 3]])
    p = torch.tensor([[0.2, 0.2, 0.3, 0.2, 0.1, 0.9]])
    own = torch.tensor([[5.0, 4.0, 3.0, 2.0, 1.0, NONE]])
    none = own[:, :0]
    kind = torch.tensor([0, 0, 1, 1, 0, 0, 0, 0, 0, 1])
    found = Pool(items, own, own[:, :1], none, none, p).first_of_each(kind, 2, 2)
    assert found.items.tolist() == [[2, 4, 7, 9]]
    assert found.p[0].tolist() == pytest.approx([0.2, 0.2, 0.2, 0.3])
    assert found.scores.tolist() == [[4.0, 5.0, 2.0, 3.0]]
    few = Pool(items[:, :3], own[:, :3], own[:, :1], none, none, p[:, :3])
    found = few.first_of_each(kind, 2, 2)
    assert found.items[0, :3].tolist() == [2, 4, 9]
    assert found.scores[0, 3] == NONE


@pytest.mark.skipif(kernels() is None, reason="Numba is not installed")
@pytest.mark.parametrize("decimals", [0, 1, 7])
@pytest.mark.parametrize("weights", [WANTED, -WANTED, POPULAR, torch.zeros(N_ITEMS)])
@pytest.mark.parametrize("calibrated", [None, CalibratedP(1.2, -0.3, 0.2 * POPULAR)])
@pytest.mark.parametrize(
    ("candidates", "edits"),
    [(None, "scores"), (60, "scores"), (60, "candidates"), (61, "pushes"), (10, "candidates")],
)
def test_lists_are_those_without_compiled_loops(
    decimals, weights, calibrated, candidates, edits, monkeypatch
):
    weights = torch.zeros(0) if edits == "pushes" else weights
    own, turned = scores(3, decimals), scores(4, decimals)
    turned[own == NONE] = NONE
    for gain in (0.0, 0.003, 0.3):
        step = Reorder.of(weights, gain, 0.8, candidates, edits, calibrated)
        made, beside = Ranking(None, (step,)), Beside(own=own)
        found = made.lists(turned, 12, beside)
        for module in (pools, ranking):
            monkeypatch.setattr(module, "kernels_for", lambda *_: None)
        assert found.tolist() == made.lists(turned, 12, beside).tolist()
        monkeypatch.undo()


@pytest.mark.usefixtures("path")
def test_no_list_of_two_queries_has_an_item_twice():
    own, turned = scores(5, 0), scores(6, 0)
    own[4], turned[4] = NONE, NONE  # nothing is left to recommend
    step = Reorder.of(WANTED, 0.01, 0.8, 30, "candidates")
    for row in Ranking(None, (step,)).lists(turned, 10, Beside(own=own)).tolist():
        real = [item for item in row if item]
        assert len(real) == len(set(real))
    assert not any(Ranking(None, (step,)).lists(turned, 10, Beside(own=own))[4])


def test_pools_are_as_wide_where_a_goal_has_fewer_items_left():
    """Some cases have one item of the largest weight, others ten: what is kept has one width."""
    weights = POPULAR.clone()
    weights[[50, 51, 52]] = 9.0
    step, some = Reorder.of(weights, 0.1, 0.8), scores(7, 7)
    few = some.clone()
    few[:, 50:53] = NONE  # so that another weight, of one item, is the largest there is
    assert step.pool(some, 10).items.shape == step.pool(few, 10).items.shape
