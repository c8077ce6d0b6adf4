"""Lookups of a history's items are found in whatever order they are made, and replaced alone."""

import pytest
import torch
from torch import nn

from recsae.core.errors import CannotOpenModel
from recsae.recommender.embeddings import find_lookups

ITEMS = torch.tensor([[3, 5, 2, 0], [4, 1, 0, 0], [1, 2, 6, 4]])
LENGTHS = torch.tensor([3, 2, 4])
MASK = 7
LAYOUTS = {  # the same three histories, as models ask for them
    "first entry on": (ITEMS, [[0, 1, 2], [0, 1], [0, 1, 2, 3]]),
    "up to the last entry": (
        torch.tensor([[0, 3, 5, 2], [0, 0, 4, 1], [1, 2, 6, 4]]),
        [[1, 2, 3], [2, 3], [0, 1, 2, 3]],
    ),
    "without the oldest": (
        torch.tensor([[5, 2, MASK, 0], [1, MASK, 0, 0], [2, 6, 4, MASK]]),
        [[None, 0, 1], [None, 0], [None, 0, 1, 2]],
    ),
    "longer than the longest": (
        torch.cat([ITEMS, torch.zeros(3, 2, dtype=torch.int64)], dim=1),
        [[0, 1, 2], [0, 1], [0, 1, 2, 3]],
    ),
    "newest alone": (
        torch.tensor([[2], [1], [4]]),
        [[None, None, 0], [None, 0], [None, None, None, 0]],
    ),
    "each once, sorted": (
        torch.tensor([[0, 2, 3, 5], [0, 1, 4, 0], [1, 2, 4, 6]]),
        [[2, 3, 1], [2, 1], [0, 1, 3, 2]],
    ),
}


class Asking(nn.Module):
    """Looks up an index, positions, and candidates."""

    def __init__(self, index):
        super().__init__()
        self.index = index
        self.items, self.places = nn.Embedding(8, 2), nn.Embedding(6, 2)
        self.items.weight.data = torch.arange(16.0).view(8, 2)

    def forward(self):
        candidates = self.items(torch.arange(1, 7))
        return self.items(self.index), self.places(torch.arange(self.index.shape[1])), candidates


VECTORS = 100 + torch.arange(24.0).view(3, 4, 2)


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_item_gets_its_own_vector_and_the_rest_stays(layout, flipped):
    index, columns = LAYOUTS[layout]
    model = Asking(index.T if flipped else index)
    lookups = find_lookups(model, ITEMS, LENGTHS, model)
    assert lookups.tables == (model.items,)
    before, places, candidates = model()
    with lookups.replaced(ITEMS, LENGTHS, VECTORS):
        after, places_after, candidates_after = model()
    expected = (before.transpose(0, 1) if flipped else before).clone()
    for row, where in enumerate(columns):
        for place, column in enumerate(where):
            if column is not None:
                expected[row, column] = VECTORS[row, place]
    assert torch.equal(after.transpose(0, 1) if flipped else after, expected)
    assert torch.equal(places, places_after)
    assert torch.equal(candidates, candidates_after)
    assert torch.equal(model()[0], before)


def test_a_flat_lookup_of_the_newest_items():
    model = Asking(LAYOUTS["newest alone"][0])
    model.forward = lambda: model.items(torch.tensor([2, 1, 4]))
    lookups = find_lookups(model, ITEMS, LENGTHS, model)
    with lookups.replaced(ITEMS, LENGTHS, VECTORS):
        assert torch.equal(model(), VECTORS[[0, 1, 2], LENGTHS - 1])


def test_of_an_item_that_comes_twice_each_place_has_its_vector():
    twice, two = torch.tensor([[3, 3, 0, 0], [4, 1, 4, 0]]), torch.tensor([2, 3])
    model = Asking(twice)
    lookups = find_lookups(model, twice, two, model)
    with lookups.replaced(twice, two, VECTORS[:2]):
        found = model()[0]
    assert torch.equal(found[0, :2], VECTORS[0, :2])
    assert torch.equal(found[1, :3], VECTORS[1, :3])


def test_vectors_are_rows_of_the_table_and_gradients_reach_them_alone():
    model = Asking(ITEMS)
    lookups = find_lookups(model, ITEMS, LENGTHS, model)
    given = lookups.vectors(ITEMS)
    assert torch.equal(given, model.items.weight.detach()[ITEMS])
    assert not given.requires_grad
    given.requires_grad_()
    with lookups.replaced(ITEMS, LENGTHS, given):
        (slope,) = torch.autograd.grad(model()[0].sum(), given)
    assert torch.equal(slope[:, :, 0], (ITEMS > 0).float())
    assert model.items.weight.grad is None


def test_tables_side_by_side():
    model = Asking(ITEMS)
    model.more = nn.Embedding(8, 3)
    model.forward = lambda: (model.more(ITEMS), model.items(ITEMS))
    lookups = find_lookups(model, ITEMS, LENGTHS, model)
    assert lookups.tables == (model.more, model.items)
    vectors = torch.randn(3, 4, 5)
    with lookups.replaced(ITEMS, LENGTHS, vectors):
        more, items = model()
    assert torch.equal(more[2], vectors[2, :, :3])
    assert torch.equal(items[2], vectors[2, :, 3:])


def test_models_that_write_into_lengths_are_not_followed():
    model, lengths = Asking(ITEMS), LENGTHS.clone()

    def forward():
        lengths.fill_(1)
        return model.items(ITEMS)

    model.forward = forward
    lookups = find_lookups(model, ITEMS, lengths, model)
    lengths.copy_(LENGTHS)
    with lookups.replaced(ITEMS, lengths, VECTORS):
        assert torch.equal(model()[2], VECTORS[2])


def test_afterwards_nothing_is_replaced_even_when_it_failed():
    model = Asking(ITEMS)
    lookups = find_lookups(model, ITEMS, LENGTHS, model)
    with pytest.raises(ZeroDivisionError), lookups.replaced(ITEMS, LENGTHS, VECTORS):
        raise ZeroDivisionError
    assert "forward" not in vars(model.items)


def test_no_table_of_items():
    model = Asking(torch.tensor([[1, 1, 1, 1], [2, 2, 2, 2], [3, 3, 3, 3]]))
    with pytest.raises(CannotOpenModel, match="Asking looks up no vector for each item"):
        find_lookups(model, ITEMS, LENGTHS, model)
