"""Where batches hold items: padding on a side, a mask behind the newest, numbers of padding."""

import numpy as np
import pytest
import torch

from recsae.core.errors import CannotOpenModel, InvalidInput
from recsae_torch.layout import Layout, find_layout

FROM_ONE, FROM_ZERO, MASK = np.arange(1, 8), np.arange(7), 9


def padded(rows, side, *, length=6, token=(), fill=0):
    cells = []
    for row in ([*row, *token] for row in rows):
        blank = [fill] * (length - len(row))
        cells.append([*row, *blank] if side == "right" else [*blank, *row])
    return torch.tensor(cells)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("token", [(), (MASK,)])
@pytest.mark.parametrize("length", [5, 6, 9])
def test_layouts(side, token, length):
    def table(rows):
        return padded(rows, side, length=length, token=token)

    size = 5 - len(token)
    expected = Layout(side, len(token))
    assert find_layout(table, FROM_ONE, size, side) == expected
    in_a_dict = {"lengths": lambda r: torch.tensor([len(x) for x in r]), "items": table}
    made = find_layout(lambda r: {k: f(r) for k, f in in_a_dict.items()}, FROM_ONE, size, side)
    assert made == expected
    assert find_layout(lambda r: (table(r).T, None), FROM_ONE, size, side) == expected


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_on_the_other_side(side):
    other = "left" if side == "right" else "right"
    with pytest.raises(CannotOpenModel, match=f"on the {side}, not where padding='{other}'"):
        find_layout(lambda rows: padded(rows, side), FROM_ONE, 5, other)


def test_batches_without_such_a_table_are_as_stated():
    for make in (lambda rows: padded(rows, "right").float(), lambda rows: [torch.tensor(rows[0])]):
        assert find_layout(make, FROM_ONE, 5, "left") == Layout("left", 0)


@pytest.mark.parametrize("side", ["right", "left"])
def test_an_item_with_the_number_of_padding(side):
    with pytest.raises(InvalidInput, match="the number 0, which make_batch also fills"):
        find_layout(lambda rows: padded(rows, side), FROM_ZERO, 5, side)
    with pytest.raises(InvalidInput, match="the number 5, which"):
        find_layout(lambda rows: padded(rows, side, fill=5), FROM_ONE, 5, side)
    masked = padded([[1]], side, token=(MASK,))
    assert masked.shape == (1, 6)
    with pytest.raises(InvalidInput, match="the number 0, which"):
        find_layout(lambda rows: padded(rows, side, token=(MASK,)), FROM_ZERO, 5, side)


def test_numbers_from_0_where_padding_is_told_apart():
    """By lengths, by another number for padding, or because batches have other numbers."""
    lengths = lambda rows: (padded(rows, "right"), torch.tensor([len(r) for r in rows]))  # noqa: E731
    assert find_layout(lengths, FROM_ZERO, 5, "right") == Layout("right", 0)
    filled = find_layout(lambda r: padded(r, "left", fill=MASK), FROM_ZERO, 5, "left")
    assert filled == Layout("left", 0)
    shifted = lambda rows: padded([[i + 1 for i in r] for r in rows], "left")  # noqa: E731
    assert find_layout(shifted, FROM_ZERO, 5, "left") == Layout("left", 0, shift=1)


FIRST, END = 8, 10
"""Numbers of a token before the oldest item and of one behind the mask."""


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("token", [(), (MASK,)])
def test_tokens_before_and_other_numbers(side, token):
    def table(rows):
        return padded([[FIRST, *(i + 20 for i in row)] for row in rows], side, token=token)

    found = find_layout(table, FROM_ONE, 4, side)
    assert found == Layout(side, len(token), before=1, shift=20)
    others = [5, 3, 11, 2, 30, 17, 8, 12]
    named = lambda rows: padded([[others[i] for i in r] for r in rows], side, token=token)  # noqa: E731
    assert find_layout(named, FROM_ONE, 4, side) == Layout(side, len(token), shift=None)


def test_a_token_at_the_padded_end_moves_no_item():
    first = lambda rows: torch.nn.functional.pad(padded(rows, "left"), (1, 0), value=FIRST)  # noqa: E731
    assert find_layout(first, FROM_ONE, 5, "left") == Layout("left", 0)
    last = lambda rows: torch.nn.functional.pad(padded(rows, "right"), (0, 1), value=END)  # noqa: E731
    assert find_layout(last, FROM_ONE, 5, "right") == Layout("right", 0)


@pytest.mark.parametrize("side", ["right", "left"])
def test_where_the_prediction_is_made_is_not_guessed(side):
    two = lambda rows: padded(rows, side, length=8, token=(MASK, END))  # noqa: E731
    assert find_layout(two, FROM_ONE, 5, side).unplaced == "puts 2 tokens behind the newest item"
    turned = lambda rows: padded([row[::-1] for row in rows], side)  # noqa: E731
    assert find_layout(turned, FROM_ONE, 5, side).unplaced == "puts the newest item first"


@pytest.mark.parametrize("kept", [slice(3), slice(-3, None)])
def test_batches_that_hold_less_than_max_length(kept):
    with pytest.raises(CannotOpenModel, match="a history of 3 items whole and one of 6 not: say"):
        find_layout(lambda rows: padded([r[kept] for r in rows], "right"), FROM_ONE, 6, "right")
