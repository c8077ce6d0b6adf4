"""Heads: found in parameters or asked of the model, exact for every item, or none."""

import functools

import numpy as np
import pytest
import torch

pytest.importorskip("recbole")

from helpers.recbole_kit import FOLDER, small_checkpoint
from helpers.recbole_toys import Toy, sequences
from recsae_recbole.open import open_checkpoint
from recsae_recbole.scoring import ModelCaller
from recsae_recbole.sites.default import ProbedModel
from recsae_recbole.sites.heads import facts, find_head
from recsae_recbole.sites.taps import OutputTap

pytestmark = pytest.mark.recbole


# -- toys ----------------------------------------------------------------------------------------


def looking(model):
    two = sequences([1, 2], [3])
    return ProbedModel(model, ModelCaller(model, 4, two), two, two, torch.arange(4) > 0)


def head_of(model):
    return find_head(looking(model), OutputTap(model, "forward"))


class TableToy(Toy):
    """Its vectors of items are a parameter, and a decoy of the same shape stands before them."""

    def __init__(self):
        super().__init__()
        self.decoy = torch.nn.Parameter(torch.ones(4, 2))
        self.items = torch.nn.Parameter(self.items.clone())


def test_a_table_among_the_parameters():
    model = TableToy()
    found = head_of(model)
    assert (found.parameter, found.error, found.head.bias) == ("items", 0, None)
    assert torch.equal(found.head.items, model.items)
    assert not found.head.items.requires_grad
    assert facts(found) == {"parameter": "items", "relative_error": 0}


class Affine(TableToy):
    """Scores are half the products, and 5, 6, 7, 8."""

    def full_sort_predict(self, interaction):
        return super().full_sort_predict(interaction) / 2 + torch.arange(5.0, 9)


def test_a_model_is_asked_for_scale_and_bias():
    model = Affine()
    found = head_of(model)
    torch.testing.assert_close(found.head.items, model.items.detach() / 2)
    torch.testing.assert_close(found.head.bias, torch.tensor([0.0, 6, 7, 8]))  # padding has none
    assert found.parameter == "items, times 0.5, plus a bias"
    assert 0 <= found.error < 1e-6
    torch.testing.assert_close(  # states [0, 1] and [1, 1]
        found.head.score(torch.tensor([[0.0, 1], [1, 1]])),
        torch.tensor([[0, 6, 7.5, 8.5], [0, 6.5, 7.5, 9]]),
    )
    assert "forward" not in vars(model)


def test_vectors_that_are_no_parameter():
    found = head_of(Toy())
    assert found.parameter == "asked of the model with unit vectors"
    assert torch.equal(found.head.items, Toy().items)
    assert found.head.bias is None


class Squared(Toy):
    def full_sort_predict(self, interaction):
        return super().full_sort_predict(interaction) ** 2 + super().full_sort_predict(interaction)


class Undefined(Toy):
    """Has no score of the zero vector."""

    def full_sort_predict(self, interaction):
        states = self._states(interaction)
        return states @ self.items.T + states.sum(1, keepdim=True).log()


@pytest.mark.parametrize("model", [Squared, Undefined])
def test_scores_that_are_not_linear(model):
    assert head_of(model()) is None
    assert facts(None) is None


def test_places_that_cannot_be_asked():
    """A unit vector at every position is no state of the model's."""
    model = Toy()
    assert find_head(looking(model), OutputTap(model, "encoder", "positions")) is None


# -- RecBole's models ----------------------------------------------------------------------------


def uneven(checkpoint):
    """Weights that no seed gives, biases of BERT4Rec's items that are not zero."""
    generator = torch.Generator().manual_seed(5)
    for value in checkpoint["state_dict"].values():
        if value.is_floating_point():
            value.add_(0.2 * torch.randn(value.shape, generator=generator))


@functools.cache
def attached(model):
    path = small_checkpoint(FOLDER / f"head-{model}.pth", model, change=uneven)
    return open_checkpoint(path, trust=True)


def some_batch(recommender):
    sequences = recommender.sequences()
    rows = np.arange(15)
    return sequences.batch(rows, 0 * rows, 1 + rows % 5, recommender.max_length)


def by_hand(model):
    """Vectors of items, biases, and the columns that are items, out of the parameters."""
    weights, n_items = model.state_dict(), model.n_items
    first = {name: value[:n_items] for name, value in weights.items() if "item" in name}
    match type(model).__name__:
        case "BERT4Rec":
            return first["item_embedding.weight"], weights["output_bias"]
        case "CORE":
            table = first["item_embedding.weight"]
            return torch.nn.functional.normalize(table, dim=1) / model.temperature, None
        case "HGN":
            return first["item_embedding_for_prediction.weight"], None
        case "NPE":
            return first["item_embedding.weight"].relu(), None
        case "FPMC":
            return torch.cat([weights["IU_emb.weight"], weights["IL_emb.weight"]], dim=1), None
        case _:
            return first["item_embedding.weight"], None


MODELS = ("SASRec", "BERT4Rec", "CORE", "HGN", "NPE", "FPMC", "BPR")


@pytest.mark.parametrize("name", MODELS)
def test_heads_by_hand(name):
    recommender = attached(name)
    head = recommender.linear_head()
    items, bias = by_hand(recommender.model)
    torch.testing.assert_close(head.items[1:], items[1:], rtol=1e-5, atol=1e-6)
    assert (head.bias is None) == (bias is None)
    if bias is not None:
        assert bias[1:].abs().min() > 0
        torch.testing.assert_close(head.bias[1:], bias[1:], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_heads_give_the_models_own_scores(name):
    recommender = attached(name)
    batch, head = some_batch(recommender), recommender.linear_head()
    scores = recommender.score(batch)[:, 1:]
    found = head.score(recommender.represent(batch))[:, 1:]
    assert (found - scores).abs().max() <= 1e-5 * scores.abs().max()
    assert recommender.describe()["head"]["relative_error"] <= 1e-5


@pytest.mark.parametrize("name", MODELS)
def test_attributions_add_up_to_the_score(name):
    """What each dimension of a state adds to an item's score, and the item's bias."""
    recommender = attached(name)
    batch, head = some_batch(recommender), recommender.linear_head()
    states, scores = recommender.represent(batch), recommender.score(batch)
    largest = float(scores[:, 1:].abs().max())
    rng = np.random.default_rng(3)
    for _ in range(20):
        row, item = int(rng.integers(15)), int(rng.integers(1, recommender.catalog.n_items))
        parts = [float(h * v) for h, v in zip(states[row], head.items[item], strict=True)]
        total = sum(parts) + (0 if head.bias is None else float(head.bias[item]))
        assert total == pytest.approx(float(scores[row, item]), rel=0, abs=1e-5 * largest)


@pytest.mark.parametrize("name", ["BERT4Rec", "CORE", "FPMC"])
def test_edited_states_are_scored_by_the_head(name):
    recommender = attached(name)
    batch, head = some_batch(recommender), recommender.linear_head()
    states = recommender.represent(batch)
    with recommender.edit(lambda h: 3 * h - 0.5):
        scores = recommender.score(batch)[:, 1:]
    torch.testing.assert_close(head.score(3 * states - 0.5)[:, 1:], scores, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["TransRec", "RepeatNet"])
def test_models_without_a_head(name):
    recommender = attached(name)
    assert recommender.linear_head() is None
    assert recommender.describe()["head"] is None
