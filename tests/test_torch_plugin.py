"""A plain GRU attached through the torch plug-in keeps the whole protocol."""

import numpy as np
import pytest
import torch
from torch import nn

import recsae_torch
from recsae.errors import CannotOpenModel, InvalidInput, SiteNotFound
from recsae.plugin import get_plugin, load_recommender
from recsae.recommender import Recommender, is_causal
from recsae.testing import PlantedRecommender, check_recommender

DATA = PlantedRecommender(n_users=60, n_items=60, n_concepts=4, width=8)
N_ITEMS = DATA.catalog.n_items


class GRURecommender(nn.Module):
    """Scores all items from the state after the last one."""

    def __init__(self, *, both_ways: bool = False, width: int = 8) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.items = nn.Embedding(N_ITEMS, width, padding_idx=0)
        self.gru = nn.GRU(
            width, width // (1 + both_ways), batch_first=True, bidirectional=both_ways
        )
        self.states = nn.Sequential(nn.LayerNorm(width), nn.Dropout(0.5))
        self.bias = nn.Parameter(torch.randn(N_ITEMS))

    def forward(self, items: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        states = self.states(self.gru(self.items(items))[0])
        last = states[torch.arange(len(items)), lengths - 1]
        return last @ self.items.weight.T + self.bias


def attach(model: nn.Module, **options: object) -> recsae_torch.TorchRecommender:
    given = {"site": "states", "max_length": 12, **options}
    return recsae_torch.TorchRecommender(
        model, catalog=DATA.catalog, sequences=DATA.sequences(), **given
    )


@pytest.fixture
def model() -> GRURecommender:
    return GRURecommender()


def test_gru_passes_the_kit(model: GRURecommender) -> None:
    recommender = attach(
        model, items=model.items.weight, bias=model.bias, other_sites=("gru", "states.0")
    )
    assert isinstance(recommender, Recommender)
    assert [s.every_position for s in recommender.sites()] == [True] * 3
    assert recommender.linear_head() is not None
    assert "nothing is changed" in check_recommender(recommender)


def test_model_that_reads_both_ways_passes_and_is_not_causal() -> None:
    recommender = attach(GRURecommender(both_ways=True))
    assert [s.every_position for s in recommender.sites()] == [False]
    assert not is_causal(recommender, None, recommender._probe())
    assert recommender.linear_head() is None
    check_recommender(recommender, n=12)


def test_one_state_per_sequence_and_a_score_of_ones_own(model: GRURecommender) -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model
            self.state = nn.Identity()

        def forward(self, items: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            states = self.inner.states(self.inner.gru(self.inner.items(items))[0])
            return self.state(states[torch.arange(len(items)), lengths - 1])

    def score(module: Last, batch: object) -> torch.Tensor:
        return module(batch.items, batch.lengths) @ model.items.weight.T

    recommender = attach(Last(), site="state", score=score, items=model.items.weight)
    assert not recommender.sites()[0].every_position
    with pytest.raises(CannotOpenModel, match="one state per sequence"):
        recommender.represent(recommender._probe(), positions=True)
    check_recommender(recommender, n=12)


def test_evaluation_is_leave_one_out(model: GRURecommender) -> None:
    recommender = attach(model)
    test, valid = recommender.evaluation(), recommender.evaluation("valid")
    sequences = recommender.sequences()
    assert [sequences[r][-1] for r in test.rows] == test.targets.tolist()
    assert np.array_equal(test.ends - 1, valid.ends)
    with pytest.raises(InvalidInput, match="'test' or 'valid'"):
        recommender.evaluation("train")


def test_fingerprint_is_of_the_weights(model: GRURecommender) -> None:
    before = attach(model).fingerprint()
    assert attach(GRURecommender()).fingerprint() == before
    with torch.no_grad():
        model.bias[1] += 1
    assert attach(model).fingerprint() != before


def test_wrong_item_vectors_are_refused(model: GRURecommender) -> None:
    with pytest.raises(CannotOpenModel, match="are not the scores"):
        attach(model, items=model.items.weight)  # the bias is missing


def test_unknown_and_unsuitable_sites_are_refused(model: GRURecommender) -> None:
    with pytest.raises(SiteNotFound, match=r"'state'.*states"):
        attach(model, site="state")
    model.aside = nn.Identity()
    with pytest.raises(CannotOpenModel, match="never called"):
        attach(model, site="aside")

    def score(model: GRURecommender, batch: object) -> torch.Tensor:
        model.aside(model.items.weight)
        return model(batch.items, batch.lengths)

    with pytest.raises(CannotOpenModel, match=r"gives \(61, 8\) for 60 sequences of 12 items"):
        attach(model, site="aside", score=score)


def test_plugin_takes_live_recommenders_only(model: GRURecommender) -> None:
    recommender = attach(model)
    plugin = get_plugin("torch")
    assert plugin.recognises(recommender)
    assert not plugin.recognises(model)
    assert plugin.open(recommender) is recommender
    assert load_recommender(recommender) is recommender
    assert plugin.versions() == {"torch": torch.__version__}
    with pytest.raises(CannotOpenModel, match="GRURecommender"):
        plugin.open(model)
