"""The positions of a store as cases: who, what came last, what is next."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.toy import cases, catalog, sequences, store
from recsae.capture import cases as module
from recsae.capture.cases import Cases, read_cases, spread

HISTORIES = sequences([1, 2, 3, 4, 5, 6, 7, 8], [5], [6, 7, 8])
SEQUENCE = np.array([2, 0, 0, 2, 0])
POSITION = np.array([1, 6, 0, 0, 2])


@pytest.fixture(params=[100, 2])
def read(tmp_path, request) -> Cases:
    """Captured in any order, over one shard or three; the state names the place in the store."""
    rows = np.arange(5)
    data = store(
        tmp_path,
        np.stack([rows, 10 * rows], axis=1),
        shard=request.param,
        sequence=SEQUENCE,
        position=POSITION,
        top_items=np.stack([rows + 1, rows + 2], axis=1),
    )
    return read_cases(data, HISTORIES, catalog())


def test_cases_are_sorted_by_user_and_position(read):
    assert read.sequence.tolist() == [0, 0, 0, 2, 2]
    assert read.position.tolist() == [0, 2, 6, 0, 1]
    assert read.states[:, 0].tolist() == [2, 4, 1, 3, 0]
    assert read.top_items.tolist() == [[3, 4], [5, 6], [2, 3], [4, 5], [1, 2]]


def test_last_items_are_newest_first_and_stay_in_their_own_history(read):
    assert read.last_items.tolist() == [
        [1, 0, 0, 0, 0],
        [3, 2, 1, 0, 0],
        [7, 6, 5, 4, 3],
        [6, 0, 0, 0, 0],
        [7, 6, 0, 0, 0],
    ]
    assert read.targets.tolist() == [2, 4, 8, 7, 8]


def test_recent_items_are_gone_through_in_blocks(read, monkeypatch):
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 2)
    assert np.array_equal(
        module.recent_items(HISTORIES, read.sequence, read.position, 5), read.last_items
    )
    longest = read.recent(9)
    assert [row[row > 0].tolist()[::-1] for row in longest] == [
        read.history(case) for case in range(len(read))
    ]


def test_what_was_counted_is_forgotten(read):
    few = read.sample(2)
    assert read.sample(2) is few
    read.forget()
    assert read.sample(2) is not few


def test_users_are_numbered_in_order_of_appearance(read):
    assert read.user.tolist() == [0, 0, 0, 1, 1]
    assert read.n_users == 2
    assert len(read) == 5


def test_history(read):
    assert read.history(2) == [1, 2, 3, 4, 5, 6, 7]
    assert read.history(2, 3) == [5, 6, 7]
    assert read.history(4) == [6, 7]


def test_take_renumbers_the_users(read):
    part = read.take(np.array([3, 4]))
    assert part.user.tolist() == [0, 0]
    assert part.targets.tolist() == [7, 8]
    assert part.history(1) == [6, 7]
    assert read.take(np.array([], dtype=int)).n_users == 0


def test_what_lists_leave_out_is_the_history(read):
    assert read.seen is None
    hiding = replace(read, filters_seen=True)
    assert hiding.seen.rows.tolist() == [0, 0, 0, 2, 2]
    assert hiding.seen.ends.tolist() == [1, 3, 7, 1, 2]
    assert hiding.take(np.array([1, 4])).seen.ends.tolist() == [3, 2]


def test_the_store_says_whether_its_lists_leave_out_the_history(tmp_path):
    data = store(tmp_path, np.zeros((2, 2)), sequence=np.array([0, 0]), position=np.arange(2))
    assert not read_cases(data, HISTORIES, catalog()).filters_seen
    data.manifest["hides_history"] = True
    assert read_cases(data, HISTORIES, catalog()).filters_seen


def test_thinned(tmp_path):
    rows = np.arange(5)
    data = store(tmp_path, np.stack([rows, rows], 1), sequence=SEQUENCE, position=POSITION)
    found = read_cases(data, HISTORIES, catalog(), limit=2)
    assert list(zip(found.sequence, found.position, strict=True)) == [(0, 0), (2, 1)]
    assert found.states[:, 0].tolist() == [2, 0]


@given(st.integers(0, 500), st.integers(1, 500))
def test_spread(n, limit):
    rows = spread(n, limit)
    assert len(rows) == min(n, limit)
    assert (np.diff(rows) >= 1).all()
    if len(rows) > 1:
        assert (rows[0], rows[-1]) == (0, n - 1)
        assert np.diff(rows).max() - np.diff(rows).min() <= 1  # evenly


def test_toy_cases_are_like_read_ones():
    made = cases([0, 0, 1], [[1], [2, 1], [3]], [[4], [5], [6]])
    assert made.user.tolist() == [0, 0, 1]
    assert made.position.tolist() == [0, 1, 0]
    assert made.last_items[1].tolist() == [2, 1, 0, 0, 0]
