"""Which positions are captured, and with how much context."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recsae.capture.windows as planning
from helpers.toy import sequences
from recsae.capture.windows import Windows, plan_windows
from recsae.recommender.sequences import Sequences

HISTORIES = st.lists(st.integers(1, 60), min_size=1, max_size=6)  # their lengths
LENGTHS = st.integers(1, 12)


def plan(lengths: list[int], max_length: int, every_position: bool = True, **options) -> Windows:
    options = {"limit": None, "seed": 0, **options}
    rows = np.arange(len(lengths))
    histories = sequences(*[[1] * n for n in lengths])
    return plan_windows(histories, rows, max_length, every_position=every_position, **options)


def per_user(histories: Sequences, **options) -> Windows:
    options = {"limit": None, "seed": 0, **options}
    rows = np.arange(len(histories))
    return plan_windows(histories, rows, 5, every_position=False, per_user=True, **options)


def kept(windows: Windows) -> list[tuple[int, int, int]]:
    """(row, position, number of items of context) of every position kept."""
    return [
        (int(row), p, p - int(start) + 1)
        for row, start, end, first in zip(
            windows.rows, windows.starts, windows.ends, windows.kept_from, strict=True
        )
        for p in range(int(first), int(end))
    ]


def test_overlapping_windows_by_hand():
    # 13 items: positions 0 to 11 have a next item. 5 items of context, at least ceil(.8 * 5) = 4,
    # so each window adds 2: it ends at 12, 10, 8, 6, and the one ending at 4 begins at 0.
    windows = plan([13], 5)
    assert windows.ends.tolist() == [12, 10, 8, 6, 4]
    assert windows.starts.tolist() == [7, 5, 3, 1, 0]
    assert windows.kept_from.tolist() == [10, 8, 6, 4, 0]
    assert windows.n_positions == 12


def test_one_window_per_prefix_where_one_forward_gives_one_state():
    windows = plan([4, 1, 3], 2, every_position=False)
    assert windows.rows.tolist() == [0, 0, 0, 2, 2]
    assert windows.ends.tolist() == [3, 2, 1, 2, 1]
    assert windows.starts.tolist() == [1, 0, 0, 0, 0]
    assert kept(windows) == [(0, 2, 2), (0, 1, 2), (0, 0, 1), (2, 1, 2), (2, 0, 1)]


def test_one_window_per_user_ends_where_its_state_was_learned():
    histories = replace(
        sequences([1] * 9, [1] * 3, [1] * 4, [1] * 2), learned=np.array([7, 3, 1, 0])
    )
    windows = per_user(histories)
    assert kept(windows) == [(0, 6, 5), (2, 0, 1)]  # 1 has no next item, of 3 nothing was learned
    assert windows.starts.tolist() == [2, 0]


def test_where_nobody_says_what_was_learned_it_is_all_but_the_last_item():
    assert kept(per_user(sequences([1] * 9, [1], [1] * 2))) == [(0, 7, 5), (2, 0, 1)]


def test_users_beyond_the_limit_are_left_out_at_random():
    histories = sequences(*[[1] * 4] * 30)
    drawn = [per_user(histories, limit=10, seed=s).rows.tolist() for s in (0, 1)]
    assert [len(set(rows)) for rows in drawn] == [10, 10]
    assert drawn[0] != drawn[1]


def test_histories_without_a_next_item_make_no_window():
    assert len(plan([1, 1], 5)) == 0
    assert plan([1, 1], 5).n_positions == 0


def test_rows_are_those_asked_for():
    windows = plan_windows(
        sequences([1, 2, 3], [1, 2], [1, 2, 3, 4]),
        np.array([2, 0]),
        5,
        every_position=True,
        limit=None,
        seed=0,
    )
    assert windows.rows.tolist() == [2, 0]
    assert windows.ends.tolist() == [3, 2]


@given(HISTORIES, LENGTHS, st.booleans())
def test_every_position_but_the_last_is_kept_once(lengths, max_length, every_position):
    found = Counter((row, p) for row, p, _ in kept(plan(lengths, max_length, every_position)))
    assert found == Counter((row, p) for row, n in enumerate(lengths) for p in range(n - 1))


@given(HISTORIES, LENGTHS, st.booleans())
def test_context_is_at_least_80_percent(lengths, max_length, every_position):
    for row, position, context in kept(plan(lengths, max_length, every_position)):
        at_most = min(max_length, position + 1)
        assert 0.8 * at_most <= context <= at_most
        if position == lengths[row] - 2 or not every_position:
            assert context == at_most  # what the model reads when it recommends


@given(HISTORIES, LENGTHS)
def test_windows_are_few(lengths, max_length):
    """No more forwards than an overlap of 80 % asks for."""
    windows = plan(lengths, max_length)
    sizes = windows.ends - windows.kept_from
    for row in range(len(lengths)):
        mine = sizes[windows.rows == row]
        assert (mine[:-1] >= max(1, int(0.2 * max_length))).all()  # the last one begins at 0


def test_exact_windows_by_hand():
    # 8 items: positions 0 to 6 have a next item; each from position 3 on is read by itself
    windows = plan([8], 3, exact=True)
    assert kept(windows) == [
        (0, 6, 3),
        (0, 5, 3),
        (0, 4, 3),
        (0, 3, 3),
        *((0, p, p + 1) for p in range(3)),
    ]
    assert len(windows) == 5


@given(HISTORIES, LENGTHS, st.booleans())
def test_exact_states_have_the_context_that_the_model_has(lengths, max_length, every_position):
    found = kept(plan(lengths, max_length, every_position, exact=True))
    assert {(row, p) for row, p, _ in found} == {
        (row, p) for row, n in enumerate(lengths) for p in range(n - 1)
    }
    assert all(context == min(max_length, p + 1) for _, p, context in found)


@given(HISTORIES, LENGTHS, st.integers(1, 40))
def test_forwards_of_exact_states_are_bounded(lengths, max_length, forwards):
    unbounded = plan(lengths, max_length, exact=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(planning, "EXACT_FORWARDS", forwards)
        windows = plan(lengths, max_length, exact=True)
    assert len(windows) == min(forwards, len(unbounded))
    assert set(kept(windows)) <= set(kept(unbounded))
    last = windows.ends == np.array(lengths)[windows.rows] - 1
    assert last.all() or last.sum() == sum(n > 1 for n in lengths)  # the last of each history first


@given(HISTORIES, LENGTHS, st.booleans(), st.integers(1, 80), st.integers(0, 3))
def test_limit(lengths, max_length, every_position, limit, seed):
    options = {"every_position": every_position, "limit": limit, "seed": seed}
    whole, part = (
        kept(plan(lengths, max_length, every_position)),
        plan(lengths, max_length, **options),
    )
    assert kept(part) == kept(plan(lengths, max_length, **options))  # seeded
    assert set(kept(part)) <= set(whole)
    if len(whole) <= limit:
        assert kept(part) == whole
    else:
        assert part.n_positions <= max(limit, max_length)
        assert part.n_positions > limit - max_length  # and not needlessly few
        assert len(part) >= 1


@given(HISTORIES, LENGTHS, st.booleans(), st.integers(1, 80))
def test_last_window_of_each_history_comes_first(lengths, max_length, every_position, limit):
    windows = plan(lengths, max_length, every_position, limit=limit)
    is_last = windows.ends == np.array(lengths)[windows.rows] - 1
    if not is_last.all():  # others were taken, so the last ones all are in
        assert is_last.sum() == sum(n > 1 for n in lengths)


def test_drawn_windows_differ_between_seeds():
    one, two = (kept(plan([60] * 4, 5, limit=100, seed=s)) for s in (1, 2))
    assert one != two


@pytest.mark.parametrize("max_length", [1, 5, 20, 50, 200])
def test_share_of_full_context_on_long_histories(max_length):
    """Half of the positions at the least have 80 % of what the model would read there."""
    found = kept(plan([1000], max_length))
    assert len(found) == 999
    assert min(c / min(max_length, p + 1) for _, p, c in found) >= 0.8


@given(HISTORIES, LENGTHS, st.booleans(), st.integers(1, 80), st.integers(0, 3))
def test_thinned_windows_are_some_of_them(lengths, max_length, every_position, limit, seed):
    whole = plan(lengths, max_length, every_position)
    some = whole.thinned(limit, seed)
    if whole.n_positions <= limit:
        assert some is whole
    else:
        assert set(kept(some)) <= set(kept(whole))
        assert limit - max_length < some.n_positions <= max(limit, max_length)


def test_thinned_windows_are_drawn_evenly():
    """Where a limit takes the last window of each history first."""
    whole = plan([101] * 50, 10, False)  # one position each: 100 of every history
    last = whole.ends == 100
    assert last.mean() == 0.01
    some = whole.thinned(1000, 0)
    assert (len(some), (some.ends == 100).mean() < 0.05) == (1000, True)
    assert len(np.unique(some.rows)) == 50
