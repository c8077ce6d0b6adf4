"""Integrated gradients: worked out by hand, complete, and honest where they are not available."""

import numpy as np
import pytest
import torch
from torch import nn

from helpers.recent import (
    DECAY,
    HISTORIES,
    IDS,
    LONGEST,
    VECTORS,
    N,
    Recent,
    attached,
)
from recsae.attribution.integrated_gradients import (
    BASELINES,
    baseline_vectors,
    integrate,
    vectors_of,
)
from recsae.core.errors import CannotOpenModel, InvalidInput, NotEnoughData
from recsae.recommender.sequences import is_heldout, pad
from recsae.testing import PlantedRecommender

# -- the integral ----------------------------------------------------------------------------------


def product(points):
    """Of the two items' numbers."""
    return points.prod(1)


def test_of_a_product_each_factor_has_half():
    found = integrate(product, torch.tensor([[3.0], [4.0]]), torch.zeros(1, 2, 1))
    assert found.attributions[:, 0].tolist() == pytest.approx([6, 6])
    assert (found.value[0], found.baseline_value[0]) == (12, 0)
    assert found.complete.tolist() == [True]


def test_from_another_baseline():
    """From (1, 2) to (3, 4): x1 x2 rises by 10, of which (2 + 4) / 2 * 2 is x1's."""
    found = integrate(product, torch.tensor([[3.0], [4.0]]), torch.tensor([[[1.0], [2.0]]]))
    assert found.attributions[:, 0].tolist() == pytest.approx([6, 4])


def test_several_baselines_are_averaged():
    ends = torch.tensor([[3.0], [4.0]])
    begin = torch.tensor([[[1.0], [2.0]], [[0.0], [0.0]]])
    found = integrate(product, ends, begin)
    assert found.attributions[:, 0].tolist() == pytest.approx([6, 5])
    assert found.baseline_value[0] == 1


def test_several_numbers_at_once():
    def numbers(points):
        return torch.cat([product(points), points.square().sum(1), 0 * points.sum(1) + 7], dim=1)

    found = integrate(numbers, torch.tensor([[3.0], [4.0]]), torch.zeros(1, 2, 1))
    assert found.attributions == pytest.approx(np.array([[6, 9, 0], [6, 16, 0]]))
    assert found.gap == pytest.approx([0, 0, 0], abs=1e-6)


def step(points):
    """Nearly a step, in the second half of the way."""
    return torch.sigmoid(400 * (points[:, 0] - 0.7003)) + 0 * points[:, 1]


def test_steps_are_doubled_until_it_adds_up():
    ends, begin = torch.tensor([[1.0], [1.0]]), torch.zeros(1, 2, 1)
    found = integrate(step, ends, begin)
    assert 16 < found.steps <= 512
    assert found.complete.all()
    assert found.attributions[:, 0] == pytest.approx([1, 0], abs=0.01)
    few = integrate(step, ends, begin, max_steps=16)
    assert few.steps == 16
    assert not few.complete.any()
    assert few.gap[0] > 0.01


# -- a model's vectors -----------------------------------------------------------------------------

HISTORY = pad([[3, 1, 5]], LONGEST)


def test_vectors_are_those_of_the_items():
    assert np.array_equal(vectors_of(attached(), HISTORY).numpy(), VECTORS[[3, 1, 5]])


def test_a_plugin_without_vectors():
    planted = PlantedRecommender(n_users=20, n_items=40, n_concepts=4, width=8)
    with pytest.raises(CannotOpenModel, match="The plug-in of Planted cannot give it vectors"):
        vectors_of(planted, HISTORY)


class Knowing(Recent):
    """Adds something of the item that does not come from the table."""

    def vectors(self, items):
        return self.items(items) + (items % 3 == 1)[:, :, None]


class Detached(Recent):
    """Lets no gradient through."""

    def vectors(self, items):
        return self.items(items).detach()

    def __init__(self):
        super().__init__()
        self.requires_grad_(False)


class InPlace(Recent):
    """Writes over what a gradient would need."""

    def vectors(self, items):
        found = self.items(items).exp()
        found.mul_(2)
        return found


class Bag(Recent):
    """Has no table that is looked up item by item."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(self.items.weight.detach().clone())

    def vectors(self, items):
        return self.table[items]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Knowing, "Knowing knows more of its items than the vectors"),
        (Detached, "Detached cannot be differentiated"),
        (InPlace, "InPlace cannot be differentiated"),
        (Bag, "Bag looks up no vector for each item"),
    ],
)
def test_models_that_cannot_be_read_like_that(model, words):
    with pytest.raises(CannotOpenModel, match=words):
        vectors_of(attached(model()), HISTORY)


def test_nothing_is_left_in_the_model():
    recommender = attached()
    vectors_of(recommender, HISTORY)
    weights = list(recommender.model.parameters())
    assert all(p.grad is None and p.requires_grad for p in weights)
    assert all("forward" not in vars(m) for m in recommender.model.modules())


# -- baselines -------------------------------------------------------------------------------------

KNOWN = [  # what construction users had before their last item
    [IDS[i] for i in items[:-1]] for user, items in HISTORIES.items() if not is_heldout(user)
]


def of(name, m):
    return baseline_vectors(attached(), name, pad([[1] * m], LONGEST)).numpy()


def test_zero():
    assert np.array_equal(of("zero", 3), np.zeros((1, 3, 2)))


def test_the_mean_user_is_a_mean_at_each_place_from_the_end():
    found = of("mean-user", 3)
    for back in (1, 2, 3):
        there = [VECTORS[history[-back]] for history in KNOWN if len(history) >= back]
        assert found[0, 3 - back] == pytest.approx(np.mean(there, axis=0), abs=1e-6)


def test_places_that_nobody_has_are_filled_with_the_mean_of_all():
    recommender = attached(histories={u: items[:3] for u, items in HISTORIES.items()})
    found = baseline_vectors(recommender, "mean-user", pad([[1] * 4], LONGEST))[0]
    known = [history[:2] for history in KNOWN]
    everything = np.mean([VECTORS[i] for history in known for i in history], axis=0)
    assert found[0].numpy() == pytest.approx(everything, abs=1e-6)
    assert found[3].numpy() != pytest.approx(everything, abs=1e-3)


def test_the_popular_user_had_the_most_frequent_items_the_first_of_them_last():
    counts = np.bincount([i for history in KNOWN for i in history], minlength=N)
    best = sorted(range(1, N), key=lambda i: -counts[i])[:3]
    assert np.array_equal(of("popular-user", 3), VECTORS[best[::-1]][None])


def test_sampled_users_have_as_many_items_and_their_newest_count():
    found = of("sampled-users", 3)
    long = [VECTORS[history[-3:]] for history in KNOWN if len(history) >= 3]
    assert len(found) == min(16, len(long))
    assert all(any(np.array_equal(one, other) for other in long) for one in found)
    assert np.array_equal(found, of("sampled-users", 3))


def test_nobody_to_sample():
    recommender = attached(histories={u: items[:3] for u, items in HISTORIES.items()})
    with pytest.raises(NotEnoughData, match="No construction user has the 4 items"):
        baseline_vectors(recommender, "sampled-users", pad([[1] * 4], LONGEST))


def test_unknown_baseline():
    with pytest.raises(InvalidInput, match="no baseline 'mean': it is one of zero, mean-user"):
        of("mean", 2)


# -- completeness ----------------------------------------------------------------------------------


class Gated(nn.Module):
    """A GRU, where nothing is linear."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.items, self.gru = nn.Embedding(N, 6), nn.GRU(6, 5, batch_first=True)
        self.items.weight.data.mul_(2)
        self.out = nn.Linear(5, N)

    def forward(self, items, lengths):
        return self.out(self.gru(self.items(items))[0][torch.arange(len(items)), lengths - 1])


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("history", [[3, 1, 5], [2, 2, 7, 8], [4]])
def test_attributions_of_a_state_add_up(history, baseline):
    recommender, batch = attached(Gated()), pad([history], LONGEST)
    begin = baseline_vectors(recommender, baseline, batch)
    m = len(history)

    def numbers(points):
        many = pad([history] * len(points), LONGEST)
        padded = torch.cat([points, torch.zeros(len(points), LONGEST - m, 6)], dim=1)
        return recommender.represent_from(many, padded)

    found = integrate(numbers, vectors_of(recommender, batch), begin)
    assert found.attributions.shape == (m, 5)
    rise = recommender.represent(batch)[0].numpy() - found.baseline_value
    assert found.attributions.sum(0) == pytest.approx(rise, abs=0.01 * float(abs(rise).max()))
    assert found.complete.all()


def test_of_a_linear_state_the_older_items_have_less_by_half():
    recommender = attached()

    def numbers(points):
        return recommender.represent_from(pad([[3, 1, 5]] * len(points), LONGEST), points)[:, :1]

    vectors = torch.cat([vectors_of(recommender, HISTORY), torch.zeros(1, 2)])
    found = integrate(numbers, vectors, torch.zeros(1, LONGEST, 2))
    expected = [VECTORS[3][0] * DECAY**2, VECTORS[1][0] * DECAY, VECTORS[5][0], 0]
    assert found.attributions[:, 0] == pytest.approx(expected, abs=1e-5)
