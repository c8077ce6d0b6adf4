"""Parts done by several threads: each alone, in order, and errors come out."""

import threading

import pytest
import torch

from recsae.core.threads import in_one_piece, in_threads


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_in_order_whoever_is_first(threads):
    meet = threading.Barrier(threads)

    def squared(n):
        if n < threads:
            meet.wait(20)  # so many at once
        return n * n, torch.get_num_threads()

    found = in_threads(squared, range(20))
    assert [square for square, _ in found] == [n * n for n in range(20)]
    assert {own for _, own in found} == {1}
    assert torch.get_num_threads() == threads


def test_what_goes_wrong_is_raised_and_the_number_of_threads_stays(threads):
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda n: 1 // n, [1, 0, 2])
    assert torch.get_num_threads() == threads


def test_with_fewer_parts_than_threads_the_others_are_shared_out(threads):
    torch.set_num_threads(2 * threads)
    own = in_threads(lambda _: torch.get_num_threads(), range(threads))
    assert own == [2] * threads
    assert in_threads(lambda _: torch.get_num_threads(), [0]) == [2 * threads]
    assert in_threads(lambda _: torch.get_num_threads(), []) == []
    torch.set_num_threads(threads)


def test_one_after_another_where_they_may_not_be_done_at_once(threads):
    order = []

    def note(n):
        order.append(n)
        return torch.get_num_threads()

    assert in_threads(note, range(5), at_once=False) == [threads] * 5
    assert order == list(range(5))


def test_within_one_another(threads):
    nested = in_threads(lambda n: in_threads(lambda m: n * m, range(3)), range(3))
    assert nested == [[0, 0, 0], [0, 1, 2], [0, 2, 4]]


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("size", [1, 4, 9, 20])
@pytest.mark.parametrize("in_them", [False, True])
def test_in_one_piece(size, in_them):
    numbers = torch.arange(9)
    asked = []

    def make(part):
        asked.append(part)
        return numbers[part, None].repeat(1, 3), numbers[part].double()

    table, column = in_one_piece(make, 9, size, at_once=in_them)
    assert table.tolist() == [[n] * 3 for n in range(9)]
    assert column.tolist() == list(range(9))
    assert column.dtype == torch.float64
    assert sorted(n for part in asked for n in numbers[part].tolist()) == list(range(9))  # once


def test_nothing_in_one_piece():
    (empty,) = in_one_piece(lambda part: [torch.ones(0, 2)[part]], 0, 5)
    assert empty.shape == (0, 2)


@pytest.mark.parametrize(
    "other", [torch.ones(2, 1), torch.ones(1, 3), torch.ones(2, 3, dtype=torch.int64)]
)
def test_parts_of_other_kinds_are_refused(other):
    with pytest.raises(ValueError, match="parts of other kinds"):
        in_one_piece(lambda part: [other if part.start else torch.ones(2, 3)], 4, 2)
