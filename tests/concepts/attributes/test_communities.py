"""Groups of items by who consumes them, planted and found again."""

import numpy as np
import pandas as pd
import pytest

from helpers.toy import cases, cases_of
from recsae.concepts.attributes import communities as module
from recsae.concepts.attributes.communities import (
    SEPARATOR,
    communities,
    shared_values,
    value_of,
)
from recsae.recommender.catalog import build_catalog

N_GROUPS = 4
SIZE = 12
N = N_GROUPS * SIZE
NAMES = [f"i{i}" for i in range(1, N + 1)]
ITEMS = build_catalog(["[PAD]", *NAMES], pd.DataFrame({"item_id": NAMES, "title": NAMES}))


@pytest.fixture
def planted(monkeypatch):
    """Users who stay within one of four groups of items."""
    monkeypatch.setattr(module, "SIZES", (N_GROUPS,))
    rng = np.random.default_rng(0)
    group = rng.integers(0, N_GROUPS, 150)
    histories = [(1 + g * SIZE + rng.integers(0, SIZE, 20)).tolist() for g in group]
    return cases_of(*histories, items=ITEMS)


def weights(found):
    return np.bincount(found.last_items[:, 0], minlength=N + 1).astype(float)


def test_planted_groups_come_out(planted):
    found = communities(planted, weights(planted))
    groups = {tuple(sorted(items)) for items in found}
    assert groups == {tuple(range(1 + g * SIZE, 1 + (g + 1) * SIZE)) for g in range(N_GROUPS)}


def test_what_few_people_did_is_no_group(monkeypatch):
    """Three users with items that nobody else has."""
    monkeypatch.setattr(module, "SIZES", (3,))
    histories = [[1 + 12 * user + item for item in range(12)] * 2 for user in range(3)]
    few = cases_of(*histories, items=ITEMS)
    assert communities(few, weights(few)) == []
    several = cases_of(*histories * 5, items=ITEMS)
    assert len(communities(several, weights(several))) == 3


def test_histories_of_single_items_have_no_groups(recwarn):
    alone = cases_of(*([1 + user % N, 2] for user in range(20)), items=ITEMS)
    assert communities(alone, weights(alone)) == []
    assert not recwarn.list


def test_what_is_left_over_makes_no_group(planted, monkeypatch):
    """Items of four groups that nobody mixes have a cosine of about .5 with the centre of all."""
    monkeypatch.setattr(module, "SIZES", (1,))
    assert communities(planted, weights(planted)) == []
    monkeypatch.setattr(module, "MIN_ALIKE", 0.4)
    assert [len(items) for items in communities(planted, weights(planted))] == [N]


def test_named_after_three_of_their_own_items(planted):
    for items in communities(planted, weights(planted)):
        value = value_of(items, [], ITEMS.external_ids)
        members = [ITEMS.internal(external) for external in value.split(SEPARATOR)]
        assert members == items[:3].tolist()


def test_said_with_what_most_of_the_items_share_and_few_others():
    weight = np.array([0.0, 5, 3, 2, 0, 10, 10, 10])
    group = np.array([3, 1, 2])
    horror, old, of_all = np.zeros((3, 8), dtype=bool)
    horror[[1, 2]] = True  # .8 of what is consumed of the group, .2 of everything
    old[[1, 3, 5]] = True  # .7, and .43 of everything: not twice as much
    of_all[1:] = True
    values = [("era", "old", old), ("genre", "Horror", horror), ("kind", "film", of_all)]
    assert shared_values(group, values, weight) == [1]
    old[5] = False  # .7, and .18 of everything
    assert shared_values(group, values, weight) == [1, 0]  # divergences .8 log 4 .., .7 log 4 ..
    weight[[2, 3]] = 2, 3  # .8, and only .7 that are Horror
    assert shared_values(group, values, weight) == [0, 1]
    weight[[2, 3]] = 1.9, 3.1  # not enough of it is
    assert shared_values(group, values, weight) == [0]
    weight[[2, 3]] = 3, 2
    values[0] = ("genre", "old", old)
    assert shared_values(group, values, weight) == [1]  # one value of an attribute
    assert shared_values(group, values[2:], weight) == []
    said = [("old", old), ("Horror", horror)]
    assert value_of(group, said, "abcdefgh") == "old Horror ∷ b | d | c"


def test_items_that_nobody_consumed_belong_nowhere(planted):
    weight = weights(planted)
    weight[[2, 20]] = 0
    members = np.concatenate(communities(planted, weight))
    assert sorted(members) == sorted(set(range(1, N + 1)) - {2, 20})


def test_the_last_item_of_a_history_is_not_read(planted, monkeypatch):
    before = communities(planted, weights(planted))
    sequences = planted.sequences
    sequences.flat[sequences.offsets[1:] - 1] = 1  # the test's items, all of the first group
    again = communities(planted, weights(planted))
    assert len(again) == len(before) > 0
    assert all(np.array_equal(a, b) for a, b in zip(again, before, strict=True))


def test_too_few_items_have_no_groups():
    few = cases([0, 1], [[1], [2]], [[1]] * 2)
    assert communities(few, np.ones(9)) == []
