"""Histories held one after another, batches cut out of them, and who is held out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.toy import sequences
from recsae.core.errors import InvalidInput, NotEnoughData
from recsae.recommender.sequences import is_heldout, pad, split_users


def test_rows_and_lengths():
    found = sequences([1, 2, 3], [4], [5, 6])
    assert len(found) == 3
    assert found.lengths.tolist() == [3, 1, 2]
    assert [found[i].tolist() for i in range(3)] == [[1, 2, 3], [4], [5, 6]]


def test_users_are_found_by_external_id():
    found = sequences([1], [2], users=["196", "anna"])
    assert found.row_of("anna") == 1
    assert found.row_of(196) == 0
    with pytest.raises(InvalidInput, match=r"'ana'\. Did you mean 'anna'\?"):
        found.row_of("ana")


def test_batch_cuts_and_pads_on_the_right():
    rows, starts, ends = np.array([0, 1, 0]), np.array([1, 0, 0]), np.array([3, 1, 2])
    batch = sequences([1, 2, 3], [4]).batch(rows, starts, ends, 3)
    assert batch.items.tolist() == [[2, 3, 0], [4, 0, 0], [1, 2, 0]]
    assert batch.lengths.tolist() == [2, 1, 2]
    assert batch.users.tolist() == [1, 2, 1]


@given(st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=8), min_size=1), st.data())
def test_batch_holds_exactly_the_slices_asked_for(histories, data):
    rows = data.draw(st.lists(st.integers(0, len(histories) - 1), min_size=1))
    starts = [data.draw(st.integers(0, len(histories[r]) - 1)) for r in rows]
    ends = [
        data.draw(st.integers(s + 1, len(histories[r]))) for r, s in zip(rows, starts, strict=True)
    ]
    batch = sequences(*histories).batch(np.array(rows), np.array(starts), np.array(ends), 8)
    for i, (row, start, end) in enumerate(zip(rows, starts, ends, strict=True)):
        part = histories[row][start:end]
        assert batch.items[i].tolist() == part + [0] * (8 - len(part))
        assert batch.lengths[i] == len(part)


def test_pad_keeps_the_most_recent_items():
    batch = pad([[1, 2, 3, 4], [5]], 3, user_row=7)
    assert batch.items.tolist() == [[2, 3, 4], [5, 0, 0]]
    assert batch.lengths.tolist() == [3, 1]
    assert batch.users.tolist() == [7, 7]


def test_being_held_out_depends_on_the_id_alone():
    # SHA-256 of "recsae/1" begins with fa, of "recsae/21" with 1f: above and below 0.2 * 2^8
    assert not is_heldout("1")
    assert is_heldout("21")
    share = np.mean([is_heldout(f"user {i}") for i in range(20_000)])
    assert share == pytest.approx(0.2, abs=0.01)
    everyone = [str(i) for i in range(300)]
    tenth = {u for u in everyone if is_heldout(u, 0.1)}
    assert tenth < {u for u in everyone if is_heldout(u)}  # a smaller share is a subset


def test_split_does_not_depend_on_who_else_is_there():
    users = [str(i) for i in range(40)]
    whole = split_users(sequences(*[[1, 2]] * 40, users=users))
    part = split_users(sequences(*[[1, 2]] * 20, users=users[::-1][:20]))
    assert whole.any()
    assert not whole.all()
    assert part.tolist() == whole[::-1][:20].tolist()


def test_split_needs_users_on_both_sides():
    with pytest.raises(NotEnoughData, match="3 users"):  # none of the three is held out
        split_users(sequences([1, 2], [1, 2], [3, 4], users=["1", "2", "3"]))
    long_enough = [[1, 2] if not is_heldout(str(i)) else [1] for i in range(40)]
    with pytest.raises(NotEnoughData):  # held-out users are there, but without a next item
        split_users(sequences(*long_enough, users=[str(i) for i in range(40)]))


def test_first_items_of_sequences_one_after_another():
    known = sequences([5, 6, 7], [8], [9, 5, 4, 3])
    which, place, items = known.first_items(np.array([2, 0, 1, 2]), np.array([3, 2, 0, 1]))
    assert which.tolist() == [0, 0, 0, 1, 1, 3]
    assert place.tolist() == [0, 1, 2, 0, 1, 0]
    assert items.tolist() == [9, 5, 4, 5, 6, 9]
