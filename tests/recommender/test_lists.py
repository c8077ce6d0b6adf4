"""What lists leave out, and which items in them are relevant."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.toy import catalog, sequences, user_table
from recsae.recommender.evaluation import histories_of_groups, hits_in, top_lists
from recsae.recommender.lists import History, best_items, one_history
from recsae.recommender.protocol import EvaluationCases

HISTORIES = sequences([1, 2, 3, 2, 4], [5], [6, 7, 8])


def test_the_first_items_of_each_history_are_hidden():
    scores = torch.ones(4, 9)
    History(HISTORIES, np.array([2, 0, 1, 0]), np.array([2, 4, 0, 1])).mask_seen(scores)
    hidden = [np.flatnonzero(row).tolist() for row in (scores == -torch.inf).numpy()]
    assert hidden == [[6, 7], [1, 2, 3], [], [1]]


def test_lists_that_run_out_of_items_end_with_padding():
    scores = torch.arange(9.0)[None].repeat(2, 1)
    everything = sequences([1, 2, 3, 4, 5, 6, 7, 8])
    seen = History(everything, np.array([0, 0]), np.array([6, 8]))
    assert best_items(scores, catalog(), 4, seen).tolist() == [[8, 7, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_has_a_score_of_minus_infinity_is_not_recommended(dtype):
    scores = torch.tensor([[5.0, 1, 3, *[-torch.inf] * 6]], dtype=dtype)
    assert best_items(scores, catalog(), 4).tolist() == [[2, 1, 0, 0]]


def test_one_history_is_what_was_typed():
    which, items = one_history([3, 1, 3]).pairs()
    assert (which.tolist(), items.tolist()) == ([0, 0, 0], [3, 1, 3])


def test_whoever_ranks_the_model_s_own_test_is_given_the_histories_of_the_lists():
    """Each group's first case ends where the model stopped learning."""
    model = user_table(5)
    own = model.evaluation()
    histories, asked = histories_of_groups(model, own), []

    def rank(scores, k, mine):
        asked.extend(zip(mine.rows.tolist(), mine.ends.tolist(), strict=True))
        return scores.topk(k).indices

    assert top_lists(model, own, rank).shape == (5, 10)
    assert asked == list(enumerate(model.sequences().learned.tolist()))
    assert asked == list(zip(histories.rows.tolist(), histories.ends.tolist(), strict=True))


def cases(targets, groups):
    rows = np.array(groups)
    n = np.arange(len(rows))
    return EvaluationCases(rows, n, np.array(targets), rows, None, ("ndcg",), (10,), "by hand")


def test_hits_by_hand():
    lists = np.array([[1, 2, 3], [3, 4, 0]])
    hits, n_relevant = hits_in(lists, cases([3, 4, 9, 3, 3], [0, 1, 1, 1, 0]))
    assert hits.tolist() == [[False, False, True], [True, True, False]]
    assert n_relevant.tolist() == [1, 3]  # 3 was asked for twice, 9 is not in the list


LISTS = st.lists(st.permutations(range(6)).map(lambda p: p[:3]), min_size=1, max_size=4)


@given(LISTS, st.data())
def test_hits_equal_their_definition(lists, data):
    n = len(lists)
    more = data.draw(st.lists(st.integers(0, n - 1), max_size=4))
    groups = data.draw(st.permutations([*range(n), *more]))
    targets = data.draw(st.lists(st.integers(1, 9), min_size=len(groups), max_size=len(groups)))
    hits, n_relevant = hits_in(np.array(lists), cases(targets, groups))
    for group, items in enumerate(lists):
        wanted = {t for t, g in zip(targets, groups, strict=True) if g == group}
        assert hits[group].tolist() == [i in wanted for i in items]
        assert n_relevant[group] == len(wanted)
