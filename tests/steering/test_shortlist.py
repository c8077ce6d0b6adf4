"""Lists out of shortlists are those of all items, whatever the edit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.two_directions import N_ITEMS, cases, table
from recsae.recommender.lists import top_of_states
from recsae.recommender.protocol import LinearHead
from recsae.steering import shortlist
from recsae.steering.shortlist import Shortlist


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(shortlist, "LENGTH", 20)


def made(bias, hides):
    head = table()
    if bias:
        head = LinearHead(head.items, torch.linspace(-1, 1, N_ITEMS + 1))
    some = replace(cases(), filters_seen=hides, counted={})
    return head, some, Shortlist.of(some, head)


@settings(deadline=None)
@given(
    st.floats(-4, 2).map(lambda power: 10**power), st.booleans(), st.booleans(), st.integers(0, 9)
)
def test_lists_are_those_of_all_items(size, bias, hides, seed):
    head, some, kept = made(bias, hides)
    rng = np.random.default_rng(seed)
    edit = size * rng.normal(size=some.states.shape) + size * rng.normal(size=3)
    moved = torch.from_numpy((some.states + edit).astype(np.float32))
    found = kept.lists(moved, 10)
    assert np.array_equal(found, top_of_states(moved, head, some.catalog, 10, some.seen))
    assert kept.in_full <= 1


def test_small_edits_are_settled_by_the_bound_and_large_ones_are_not():
    head, some, kept = made(bias=False, hides=False)
    states = torch.from_numpy(some.states)
    shares = []
    for size in (0.0, 0.4, 1.0, 100.0):
        kept.lists(states + torch.tensor([size, 0, 0]), 10)
        shares.append(kept.in_full)
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert 0 < shares[1] < 1
    assert shares[-1] == 1
    assert Shortlist.of(some, head) is kept


def test_an_item_from_outside_comes_in():
    """By hand: one item of 40 is at the end of the list, until states move along its own way."""
    rng = np.random.default_rng(0)
    items = rng.normal(size=(N_ITEMS + 1, 3)).astype(np.float32)
    items[7] = [0, 0, 100]
    some = cases(10)
    some.states[:] = [1, 1, -1]
    head = LinearHead(torch.from_numpy(items), None)
    kept = Shortlist(some, head)
    assert not (kept.items == 7).any()
    lists = kept.lists(torch.from_numpy(some.states) + torch.tensor([0, 0, 2.0]), 10)
    assert (lists[:, 0] == 7).all()
    assert kept.in_full == 1


def test_where_all_items_are_in_the_shortlist_none_comes_in():
    head, some, _ = made(bias=False, hides=False)
    few = some.catalog.recommendable & (np.arange(N_ITEMS + 1) < 12)
    some = replace(some, catalog=replace(some.catalog, recommendable=few), counted={})
    kept = Shortlist(some, head)
    lists = kept.lists(torch.from_numpy(some.states), 10)
    assert np.array_equal(lists, top_of_states(some.states, head, some.catalog))


def test_where_histories_leave_too_few_all_items_are_ranked(monkeypatch):
    monkeypatch.setattr(shortlist, "LENGTH", N_ITEMS)
    head, some, kept = made(bias=False, hides=True)  # each history has an item
    lists = kept.lists(torch.from_numpy(some.states), 10)
    assert np.array_equal(lists, top_of_states(some.states, head, some.catalog, 10, some.seen))
    assert kept.in_full == 1
