"""How long a history is, and what in it was consumed before."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.toy import cases_of
from recsae.capture.cases import Cases
from recsae.concepts.attributes.history import consumed_before, history_length
from recsae.concepts.attributes.names import LENGTH, LENGTHS
from recsae.concepts.wording import Predicate


def test_every_length_covers_its_histories_and_no_others():
    found = cases_of([1] * 60)
    n = found.position + 1
    for value in LENGTHS:
        words, number = value.split(" item")[0].rsplit(" ", 1)
        assert words == "at most"
        assert history_length(found, value).tolist() == (n <= int(number)).tolist()


def test_a_length_and_its_opposite_are_said_without_a_double_negative():
    short = Predicate("history", LENGTH, "at most 10 items", 1)
    long = short._replace(negated=True)
    assert "at most 10 items" in LENGTHS
    assert short.sentence({}) == "The history has at most 10 items."
    assert long.sentence({}) == "The history has more than 10 items."
    assert short.name({}) == "history of at most 10 items"
    assert long.name({}) == "history of more than 10 items"


def test_consumed_before_by_hand():
    found = cases_of([3, 5, 3, 3, 7])  # a case after each item but the last, which is the target
    recent = found.recent(3)
    assert recent.tolist() == [[3, 0, 0], [5, 3, 0], [3, 5, 3], [3, 3, 5]]
    assert consumed_before(found, recent, 0).tolist() == [
        [False, False, False],
        [False, False, False],
        [True, False, False],
        [True, True, False],
    ]
    recommended = np.array([[3, 5]] * 4, dtype=np.int32)
    assert consumed_before(found, recommended, None).tolist() == [
        [True, False],
        [True, True],
        [True, True],
        [True, True],
    ]


@pytest.mark.parametrize("recommended", [False, True])
@given(st.lists(st.lists(st.integers(1, 8), min_size=2, max_size=9), min_size=1, max_size=4))
def test_consumed_before_is_what_loops_find(recommended, histories):
    found: Cases = cases_of(*histories)
    items = np.tile(np.arange(1, 5, dtype=np.int32), (len(found), 1))
    items = items if recommended else found.recent(4)
    expected = []
    for row, (sequence, position) in enumerate(zip(found.sequence, found.position, strict=True)):
        before = histories[sequence][: position + 1]
        ends = [len(before) if recommended else max(0, position - back) for back in range(4)]
        expected.append([item in before[:end] for item, end in zip(items[row], ends, strict=True)])
    assert consumed_before(found, items, None if recommended else 0).tolist() == expected
