"""Divergence and popularity quantiles, by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers import toy
from recsae.recommender.lists import History
from recsae.steering.calibration.figures import divergence, quantile_error


def test_a_divergence_by_hand():
    """q' is .99 q + .01 p: .997 and .003."""
    target, shares = torch.tensor([0.7, 0.3]), torch.tensor([1.0, 0.0])
    expected = 0.7 * math.log(0.7 / 0.997) + 0.3 * math.log(0.3 / 0.003)
    assert float(divergence(target, shares)) == pytest.approx(expected, rel=1e-5)


def test_what_is_missing_altogether_costs_the_logarithm_of_a_hundred():
    found = divergence(torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]]))
    assert found.tolist() == pytest.approx([math.log(100)], rel=1e-5)
    assert divergence(torch.tensor([[0.2, 0.8]]), torch.zeros(1, 2)).tolist() == pytest.approx(
        [math.log(100)], rel=1e-5
    )


def test_a_history_without_values_asks_for_nothing():
    assert divergence(torch.zeros(2), torch.tensor([1.0, 0.0])) == 0


@given(st.lists(st.tuples(st.floats(0.01, 1), st.floats(0, 1)), min_size=2, max_size=6))
def test_it_is_nothing_only_where_shares_are_equal(pairs):
    target, shares = torch.tensor(pairs, dtype=torch.float64).T
    target, shares = target / target.sum(), shares / shares.sum().clamp_min(1e-12)
    found = float(divergence(target, shares))
    assert -1e-9 <= found <= math.log(100) + 1e-9
    assert float(divergence(target, target)) == pytest.approx(0, abs=1e-9)


def error(history, lists, popularity):
    held = toy.sequences(*history)
    histories = History(held, np.arange(len(history)), held.lengths)
    return quantile_error(np.array(popularity), histories, np.array(lists)).tolist()


def test_quantiles_by_hand():
    """The history is of popularities 1 and 9. At quantiles up to .5 the bound is 1, where half of
    half the history is; of a list of 9 and 9 nothing is. At the others it is 9: half and half of a
    half of the history against half of the list. At all levels it differs by a quarter."""
    popularity = [0, 1, 9, 9, 1]
    assert error([[1, 2]], [[2, 3]], popularity) == pytest.approx([0.25])
    assert error([[1, 2]], [[4, 3]], popularity) == [0]
    assert error([[1, 2], [2, 2]], [[4, 1], [3, 2]], popularity) == pytest.approx([0.25, 0])


def test_more_popular_and_less_popular_are_both_off():
    popularity = [0, 1, 5, 9]
    assert error([[2], [2], [2]], [[2], [3], [1]], popularity) == [0, 0.5, 0.5]
