"""Rows of each user come together, the oldest first."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsae.core.errors import InvalidInput
from recsae_torch.grouping import draw, group, notes_on_draw


def test_by_hand():
    """User 2 has the oldest row, user 0 the next; the two at time 5 keep their order."""
    found = group(np.array([0, 2, 0, 2, 0]), np.array([5, 9, 5, 1, 3]))
    assert found.users.tolist() == [2, 0]
    assert found.lengths.tolist() == [2, 3]
    assert found.rows.tolist() == [3, 1, 4, 0, 2]
    assert found.n_same == 1


ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), max_size=30)


@given(ROWS)
def test_rows_are_in_order_of_time_and_users_of_their_first(rows):
    user, time = np.array(rows, dtype=np.int64).reshape(-1, 2).T
    found = group(user, time)
    by_time = sorted(range(len(rows)), key=lambda row: rows[row][1])
    users = list(dict.fromkeys(rows[row][0] for row in by_time))
    assert found.users.tolist() == users
    assert found.rows.tolist() == [r for u in users for r in by_time if rows[r][0] == u]
    assert found.n_same == len(rows) - len(set(rows))


def test_users_are_drawn():
    numbers = draw(100, 10)
    assert sorted(numbers[numbers >= 0]) == list(range(10))
    assert np.array_equal(numbers, draw(100, 10))
    assert draw(5, None).tolist() == draw(5, 5).tolist() == [0, 1, 2, 3, 4]
    assert notes_on_draw(numbers) == ("10 of 100 users were drawn at random (max_users).",)
    assert notes_on_draw(draw(5, 9)) == ()


@pytest.mark.parametrize("most", [0, -1, 2.5, True, "3"])
def test_a_number_of_users_that_is_none(most):
    with pytest.raises(InvalidInput, match="a whole number from 1 on, or None"):
        draw(5, most)
