"""Lists after all states have moved are those of all items, and few cases are ranked in full."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.two_directions import N_ITEMS, cases, table
from recsae.recommender.lists import top_of_states
from recsae.recommender.protocol import LinearHead
from recsae.steering.obeyed import shifted
from recsae.steering.obeyed.loops import first_of
from recsae.steering.obeyed.shifted import ShiftedLists
from recsae.steering.steered_scores import HeadScorer


def made(hides, bias=False):
    head = table()
    if bias:
        head = LinearHead(head.items, torch.linspace(-1, 1, N_ITEMS + 1))
    some = replace(cases(), filters_seen=hides, counted={})
    return HeadScorer(some, None, head), head, some


@settings(deadline=None)
@given(
    st.floats(-3, 2).map(lambda power: 10**power),
    st.booleans(),
    st.booleans(),
    st.integers(0, 9),
    st.sampled_from([12, 512]),
)
def test_lists_are_those_of_all_items(size, bias, hides, seed, length):
    scorer, head, some = made(hides, bias)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shifted, "LENGTH", length)
        kept = ShiftedLists(scorer, 10)
    step = torch.from_numpy((size * np.random.default_rng(seed).normal(size=3)).astype(np.float32))
    moved = torch.from_numpy(some.states) + step
    wanted = top_of_states(moved, head, some.catalog, 10, some.seen)
    found = kept.after(step)
    same = (found == wanted).mean()
    assert same > 0.999  # a sum of two scores is not rounded as one score is


def test_by_hand():
    best, items = np.float32([[5, 3, 1], [9, 8, -np.inf]]), np.int32([[2, 0, 1], [1, 2, 0]])
    lists, unsure = np.full((2, 2), 7), np.zeros(2, dtype=bool)
    first_of(best, items, np.float32([0, 4.5, 1]), np.float32(4.5), lists, unsure)
    assert lists.tolist() == [[2, 1], [1, 2]]  # 6, 5.5; 13.5, 9
    assert unsure.tolist() == [True, False]  # what lies behind 1 could have 5.5; there is nothing
    first_of(best[:, :2], items[:, :2], np.float32([0, 0, 1]), np.float32(1), lists, unsure)
    assert lists.tolist() == [[2, 0], [1, 2]]  # 9 and 8 + 1 are alike, and stay as they were
