"""Greedy choice against loops over cases and candidates, and strengths for users by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import toy
from recsae.steering.calibration.figures import divergence
from recsae.steering.calibration.reranking import added_for_users, greedy_choice
from recsae.steering.calibration.shares import ItemShares

N_ITEMS = 12


def by_loops(items, p, target, has, strength, k):
    """Each candidate is tried in each place."""
    weights = has / np.maximum(has.sum(1, keepdims=True), 1)
    chosen = []
    for _ in range(k):
        best, most = None, -math.inf
        for place, item in enumerate(items):
            if place in chosen or p[place] == -math.inf:
                continue
            sums = weights[[items[c] for c in chosen] + [item]].sum(0)
            shares = torch.from_numpy(sums / max(sums.sum(), 1e-12))
            value = p[place] - strength * float(divergence(torch.from_numpy(target), shares))
            if value > most + 1e-6:
                best, most = place, value
        chosen.append(best)
    return chosen


@settings(deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.003, 0.03, 0.3, 10.0]))
def test_it_chooses_as_loops_over_cases_and_candidates_do(seed, strength):
    rng = np.random.default_rng(seed)
    has = (rng.random((N_ITEMS, 4)) < 0.4).astype(float)
    items = np.stack([rng.permutation(N_ITEMS)[:7] for _ in range(3)])
    p = np.sort(rng.random((3, 7)) / 10, axis=1)[:, ::-1].copy()
    p[0, -2:] = -math.inf
    target = rng.random((3, 4)) * (rng.random((3, 4)) < 0.7)
    target /= np.maximum(target.sum(1, keepdims=True), 1e-12)
    found = greedy_choice(
        torch.from_numpy(items),
        torch.from_numpy(p).float(),
        torch.from_numpy(target).float(),
        ItemShares.of("genre", tuple("abcd"), toy.sparse(has)),
        strength,
        4,
    ).tolist()
    for row in range(3):
        expected = by_loops(items[row], p[row], target[row], has, strength, 4)
        values = [
            _value(chosen, row, p, target, has, items, strength)
            for chosen in (found[row], expected)
        ]
        assert values[0] == pytest.approx(values[1], abs=1e-4), (found[row], expected)
        assert len(set(found[row])) == 4
        assert not {5, 6} & set(found[row]) or row


def _value(chosen, row, p, target, has, items, strength):
    weights = has / np.maximum(has.sum(1, keepdims=True), 1)
    sums = weights[items[row][chosen]].sum(0)
    shares = torch.from_numpy(sums / max(sums.sum(), 1e-12))
    off = float(divergence(torch.from_numpy(target[row]), shares))
    return p[row][chosen].sum() - strength * off


def test_half_of_each_genre_by_hand():
    """Items 1 and 2 are likely, and of the first genre; 3 is of the second."""
    shares = ItemShares.of("genre", ("A", "B"), toy.sparse([[0, 0], [1, 0], [1, 0], [0, 1]]))
    items, p = torch.tensor([[1, 2, 3]]), torch.tensor([[0.3, 0.2, 0.1]])

    def chosen(strength, target):
        return greedy_choice(items, p, torch.tensor([target]), shares, strength, 2).tolist()

    assert chosen(0.0, [0.5, 0.5]) == [[0, 1]]
    assert chosen(0.1, [0.5, 0.5]) == [[0, 2]]  # the divergence falls from 1.96 to 0
    assert chosen(0.1, [1.0, 0.0]) == [[0, 1]]
    assert chosen(9.0, [0.0, 1.0])[0][0] == 2


def test_no_candidate_has_a_value():
    shares = ItemShares.of("genre", ("A",), toy.sparse([[0], [0], [0], [1]]))
    items, p = torch.tensor([[2, 1]]), torch.tensor([[0.3, 0.2]])
    assert greedy_choice(items, p, torch.tensor([[1.0]]), shares, 5.0, 2).tolist() == [[0, 1]]


def test_a_list_gains_by_how_far_it_is_off():
    """The list has the first genre only, the history half of each."""
    shares = ItemShares.of("genre", ("A", "B"), toy.sparse([[0, 0], [1, 0], [0, 1], [1, 1]]))
    items, first = torch.tensor([[1, 2, 3, 0]]), torch.tensor([[1, 1]])
    found = added_for_users(items, first, torch.tensor([[0.5, 0.5]]), shares)[0].tolist()
    less = math.log((0.99 * 0.5 + 0.01) / (0.99 + 0.005))
    more = math.log(0.99 * 0.5 / 0.005)
    assert found == pytest.approx([less, more, (less + more) / 2, 0], rel=1e-4)


@pytest.mark.parametrize("target", [[1.0, 0.0], [0.0, 0.0]])
def test_a_list_that_is_not_off_and_one_that_nothing_is_asked_of_are_left_alone(target):
    shares = ItemShares.of("genre", ("A", "B"), toy.sparse([[0, 0], [1, 0], [0, 1]]))
    items, first = torch.tensor([[1, 2]]), torch.tensor([[1, 1]])
    added = added_for_users(items, first, torch.tensor([target]), shares)
    assert added.tolist() == [[0, 0]]
