"""Shares of values in histories and lists, by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers import toy
from recsae.recommender.lists import History
from recsae.steering.calibration.shares import ItemShares, popularity_groups

GENRES = toy.sparse([[0, 0], [1, 0], [0, 1], [1, 1], [0, 0]])
"""Item 1 has the first genre, 2 the second, 3 both, 4 none."""


def shares():
    return ItemShares.of("genre", ("A", "B"), GENRES)


def histories(*items):
    held = toy.sequences(*items)
    return History(held, np.arange(len(items)), held.lengths)


def test_an_item_with_two_values_has_half_of_each():
    made = shares()
    assert made.values.tolist() == [[2, 2], [0, 2], [1, 2], [0, 1], [2, 2]]
    found = made.of_lists(torch.tensor([[1, 3], [2, 4], [4, 0], [3, 3]]))
    assert found.tolist() == [[0.75, 0.25], [0, 1], [0, 0], [0.5, 0.5]]


def test_a_history_counts_every_item_up_to_its_end():
    held = toy.sequences([1, 1, 2, 3], [4, 2])
    found = shares().of_histories(History(held, np.array([0, 0, 1]), np.array([2, 4, 1])))
    assert found.tolist() == [[1, 0], [0.625, 0.375], [0, 0]]


def test_no_item_has_a_value():
    made = ItemShares.of("genre", ("A",), toy.sparse([[0], [0]]))
    assert made.of_lists(torch.tensor([[1, 1]])).tolist() == [[0]]


def test_head_middle_and_tail_by_a_fifth_of_the_interactions_each():
    """Before item 1 there is nothing, before item 2 half, before item 4 85 %."""
    real = np.array([False, True, True, True, True, True])
    made = popularity_groups(np.array([99, 50, 20, 15, 10, 5]), real)
    assert made.names == ("head", "middle", "tail")
    assert made.values.tolist() == [[3], [0], [1], [1], [2], [2]]
    even = popularity_groups(np.array([0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]), np.arange(11) > 0)
    assert even.values.ravel().tolist() == [3, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2]


@given(st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=5), min_size=1, max_size=5))
def test_shares_add_up_to_one_or_are_nothing(items):
    made = shares()
    found = made.of_histories(histories(*items))
    for row, history in zip(found, items, strict=True):
        assert float(row.sum()) == pytest.approx(float(any(i != 4 for i in history)))
        assert torch.allclose(row, made.of_lists(torch.tensor([history]))[0])
