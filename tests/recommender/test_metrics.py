"""Ranking metrics against their definitions, and lists from states."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.toy import catalog, head, sequences
from recsae.capture.cases import ndcg_of_states
from recsae.recommender.lists import (
    History,
    best_items,
    places_of,
    top_of_scores,
    top_of_states,
)
from recsae.recommender.metrics import (
    kendall_tau,
    ndcg_of_lists,
    ndcg_of_places,
    rank_biased_overlap,
    ranking_metrics,
)

ALL = ("recall", "precision", "hit", "mrr", "ndcg")


def one_list(hits: list[bool], n_relevant: int, k: int) -> dict[str, float]:
    """Textbook definitions, one list at a time."""
    first = hits[:k]
    ranks = [rank for rank, hit in enumerate(first, 1) if hit]
    ideal = sum(1 / np.log2(r + 1) for r in range(1, min(n_relevant, k) + 1))
    return {
        "recall": len(ranks) / n_relevant,
        "precision": len(ranks) / k,
        "hit": float(bool(ranks)),
        "mrr": 1 / ranks[0] if ranks else 0.0,
        "ndcg": sum(1 / np.log2(r + 1) for r in ranks) / ideal,
    }


def test_by_hand():
    # relevant at ranks 2 and 3 of 3; three are relevant in all
    hits = np.array([[False, True, True]])
    found = ranking_metrics(hits, np.array([3]), ALL, (1, 3))
    assert found["recall@3"] == pytest.approx([2 / 3])
    assert found["precision@3"] == pytest.approx([2 / 3])
    assert found["mrr@3"] == pytest.approx([1 / 2])
    assert found["hit@3"] == [1]
    # DCG .6309 + .5 of an ideal 1 + .6309 + .5
    assert found["ndcg@3"] == pytest.approx([1.1309297535714575 / 2.1309297535714573])
    assert all(found[f"{name}@1"] == [0] for name in ALL)


@given(
    st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=5),
    st.integers(1, 4),
    st.lists(st.integers(1, 6), min_size=1, max_size=3, unique=True),
)
def test_definitions(hits, more, ks):
    relevant = [sum(h) + more for h in hits]
    found = ranking_metrics(np.array(hits), np.array(relevant), ALL, tuple(ks))
    assert list(found) == [f"{name}@{k}" for name in ALL for k in ks]
    for k in ks:
        for row, (h, n) in enumerate(zip(hits, relevant, strict=True)):
            for name, value in one_list(h, n, k).items():
                assert found[f"{name}@{k}"][row] == pytest.approx(value)


def test_metric_that_is_not_known_is_not_taken_for_another():
    with pytest.raises(ValueError, match="map"):
        ranking_metrics(np.array([[True]]), np.array([1]), ("map",), (1,))


def test_ndcg_of_lists_equals_the_metric():
    lists = np.array([[3, 1, 2], [1, 2, 3], [2, 3, 4]])
    targets = np.array([2, 1, 9], dtype=np.int32)
    assert ndcg_of_lists(lists, targets) == pytest.approx([0.5, 1, 0])
    hits = lists == targets[:, None]
    metric = ranking_metrics(hits, np.ones(3, dtype=int), ("ndcg",), (3,))["ndcg@3"]
    assert ndcg_of_lists(lists, targets) == pytest.approx(metric)


TABLE = np.array([[9.0, 9], *([i, -i] for i in range(1, 9))])  # padding would win


def test_top_of_states(monkeypatch):
    monkeypatch.setattr("recsae.recommender.lists.STATES_AT_ONCE", 2)
    states = np.array([[1, 0], [0, 1], [-1, 0], [2, 1], [0, 2]], dtype=np.float32)
    found = top_of_states(states, head(TABLE), catalog(), k=3)
    assert found.tolist() == [[8, 7, 6], [1, 2, 3], [1, 2, 3], [8, 7, 6], [1, 2, 3]]
    everything = top_of_states(states, head(TABLE), catalog(), k=99)
    assert everything.shape == (5, 8)  # as many as there are items
    assert 0 not in everything


def test_top_of_states_without_what_was_seen(monkeypatch):
    monkeypatch.setattr("recsae.recommender.lists.STATES_AT_ONCE", 2)
    states = np.array([[1, 0], [0, 1], [1, 0]], dtype=np.float32)
    histories = sequences([1, 8, 6, 4], [2, 3, 3])
    seen = History(histories, np.array([0, 1, 0]), np.array([3, 2, 0]))
    found = top_of_states(states, head(TABLE), catalog(), k=3, history=seen)
    assert found.tolist() == [[7, 5, 4], [1, 4, 5], [8, 7, 6]]


@pytest.mark.parametrize("at_once", [1, 2, 4, 9])
def test_top_of_states_by_blocks_of_items(at_once, monkeypatch):
    """As the whole table ranks them, whatever is hidden and wherever blocks end."""
    rng = np.random.default_rng(0)
    states, histories = rng.normal(size=(20, 2)).astype(np.float32), sequences([1, 8, 6, 4], [2, 3])
    seen = History(histories, rng.integers(0, 2, 20), rng.integers(0, 3, 20))
    biased = head(TABLE)._replace(bias=torch.linspace(0, 1, 9))
    whole = best_items(biased.score(torch.from_numpy(states)), catalog(), 5, seen)
    monkeypatch.setattr("recsae.recommender.lists.ITEMS_AT_ONCE", at_once)
    found = top_of_states(states, biased, catalog(), k=5, history=seen)
    assert np.array_equal(found, whole.numpy())


@pytest.mark.parametrize("at_once", [1, 2, 4, 9])
@pytest.mark.parametrize("limit", [1, 3, 20])
def test_places_are_those_in_the_lists(at_once, limit, monkeypatch):
    """Whatever is hidden, of items that score the same too, and of the padding."""
    rng = np.random.default_rng(1)
    states, histories = rng.normal(size=(90, 2)).astype(np.float32), sequences([1, 8, 6, 4], [2, 3])
    seen = History(histories, rng.integers(0, 2, 90), rng.integers(0, 3, 90))
    table = TABLE.copy()
    table[3] = table[7] = table[4]
    states[5], targets = np.nan, rng.integers(0, 9, 90)
    monkeypatch.setattr("recsae.recommender.lists.COMPARED_AT_ONCE", at_once)
    monkeypatch.setattr("recsae.recommender.lists.STATES_AT_ONCE", 16)
    for history in (None, seen):
        lists = top_of_states(states, head(table), catalog(), 9, history)
        expected = [
            min(limit, row.index(target)) if target and target in row else limit
            for row, target in zip(lists.tolist(), targets.tolist(), strict=True)
        ]
        found = places_of(states, targets, head(table), catalog(), limit, history)
        assert found.tolist() == expected
        if limit == 20:
            whole = ndcg_of_lists(lists[:, :8], np.where(targets > 0, targets, -1))
            assert np.array_equal(ndcg_of_places(found, 8), whole)


def test_top_of_states_with_a_bias():
    biased = head(TABLE)._replace(bias=torch.tensor([0.0, 100, 0, 0, 0, 0, 0, 0, 0]))
    states = torch.tensor([[1.0, 0.0]])
    assert top_of_states(states, biased, catalog(), k=2).tolist() == [[1, 8]]


def test_ndcg_of_states():
    from helpers.toy import cases

    made = cases([0, 1], [[1], [1]], [[1], [1]], targets=[7, 1])
    states = np.array([[1, 0], [1, 0]], dtype=np.float32)  # lists 8 7 6 5 4 3 2 1
    expected = [1 / np.log2(3), 1 / np.log2(9)]
    assert ndcg_of_states(states, made, head(TABLE)) == pytest.approx(expected)
    # without item 1, which both have seen: the first list loses its last, the second its target
    hiding = replace(made, filters_seen=True)
    assert ndcg_of_states(states, hiding, head(TABLE)) == pytest.approx([expected[0], 0])


def test_lists_for_people_leave_out_what_was_seen():
    scores = torch.arange(9.0)[None] * -1  # padding best, then 1, 2, ...
    before = scores.clone()
    assert top_of_scores(scores, catalog(), 3, np.array([], dtype=np.int64)) == [1, 2, 3]
    assert top_of_scores(scores, catalog(), 3, np.array([1, 3])) == [2, 4, 5]
    assert top_of_scores(scores, catalog(), 9, np.arange(1, 8)) == [8]
    assert torch.equal(scores, before)


def test_rank_biased_overlap_by_hand():
    # agreement at depths 1, 2, 3: 1, 1/2, 1; weights 1, 1/2, 1/4: (1 + 1/4 + 1/4) / (7/4)
    left, right = np.array([[1, 2, 3]]), np.array([[1, 3, 2]])
    assert rank_biased_overlap(left, right, p=0.5) == pytest.approx([6 / 7])


def test_where_lists_have_ended_they_agree_and_never_more_than_once():
    short, other = np.array([[1, 0, 0]]), np.array([[2, 0, 0]])
    assert rank_biased_overlap(short, short) == pytest.approx([1])
    assert rank_biased_overlap(short, other, p=0.5) == pytest.approx([(0.25 + 1 / 6) / 1.75])


LISTS = st.permutations(range(1, 8)).map(lambda p: p[:5])


@given(LISTS, LISTS, st.floats(0.1, 0.99))
def test_rank_biased_overlap_equals_its_definition(left, right, p):
    overlap = [len(set(left[:d]) & set(right[:d])) / d for d in range(1, 6)]
    weights = [p**d for d in range(5)]
    expected = np.dot(overlap, weights) / sum(weights)
    found = rank_biased_overlap(np.array([left]), np.array([right]), p)
    assert found == pytest.approx([expected])
    assert rank_biased_overlap(np.array([right]), np.array([left]), p) == pytest.approx(found)
    assert rank_biased_overlap(np.array([left]), np.array([left]), p) == pytest.approx([1])


@pytest.mark.parametrize(
    ("left", "right", "tau"),
    [
        ([1, 2, 3], [1, 2, 3], 1),
        ([1, 2, 3], [4, 5, 6], -1),
        ([1, 2, 3], [3, 2, 1], 1 - 2 * 3 / 12),  # three of three pairs turned; disjoint: 9 + 3
        ([1, 2], [2, 3], 1 - 2 * 2 / 5),  # (1, 2) and (1, 3) turned; disjoint: 4 + 1
        ([1, 0], [1, 0], 1),  # both have ended
        ([1, 2], [1, 0], 1),  # 2 comes after 1 in both
    ],
)
def test_kendalls_tau_by_hand(left, right, tau):
    assert kendall_tau(np.array([left]), np.array([right])) == pytest.approx([tau])


@given(LISTS, LISTS)
def test_kendalls_tau_equals_its_definition(left, right):
    def order(items: list[int], one: int, other: int) -> int | None:
        ranks = [items.index(i) if i in items else 99 for i in (one, other)]
        return None if ranks[0] == ranks[1] else int(np.sign(ranks[0] - ranks[1]))

    pairs = combinations(sorted({*left, *right}), 2)
    apart = 0.0
    for one, other in pairs:
        orders = order(left, one, other), order(right, one, other)
        apart += 0.5 if None in orders else orders[0] != orders[1]
    expected = 1 - 2 * apart / (25 + 10)
    found = kendall_tau(np.array([left]), np.array([right]))
    assert found == pytest.approx([expected])
    assert kendall_tau(np.array([right]), np.array([left])) == pytest.approx(found)
