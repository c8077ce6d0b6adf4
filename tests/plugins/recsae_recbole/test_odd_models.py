"""Models of people's own that do things as RecBole's never do: they attach or are refused."""

import pytest
import torch
from torch import nn

pytest.importorskip("recbole")

import recsae
from helpers.recbole_kit import live, small_checkpoint, some_batch, write_data
from helpers.recbole_toys import GraphToy, PairOfToys, plus_one, sequences
from recsae.core.errors import CannotOpenModel, NotEnoughData
from recsae_recbole.boundary import recbole_boundary
from recsae_recbole.sites.joint import JointTap, UserTableTap

pytestmark = pytest.mark.recbole


with recbole_boundary():
    from recbole.model.abstract_recommender import GeneralRecommender, SequentialRecommender
    from recbole.utils import InputType


class Mean(SequentialRecommender):
    """The mean of the items' vectors."""

    input_type = InputType.POINTWISE

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.items = nn.Embedding(self.n_items, 4, padding_idx=0)
        self.bias = nn.Parameter(torch.rand(self.n_items))

    def mean(self, seq, n):
        return self.items(seq).sum(1) / n[:, None]

    def forward(self, seq, n):
        return self.mean(seq, n)

    def forwarded(self, interaction):
        return self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])

    def full_sort_predict(self, interaction):
        return self.forwarded(interaction) @ self.items.weight.T + self.bias


class Logits(Mean):
    """``forward`` ranks already, a softmax comes after it."""

    def forward(self, seq, n):
        return self.mean(seq, n) @ self.items.weight.T

    def full_sort_predict(self, interaction):
        return self.forwarded(interaction).softmax(1)


class NoPadding(Mean):
    """Padding is never to come up."""

    def full_sort_predict(self, interaction):
        scores = super().full_sort_predict(interaction)
        scores[:, 0] = -torch.inf
        return scores


class DIN(Mean):
    """Has nothing but its name from RecBole's DIN."""


class Nothing(nn.Module):
    """Gives no layers."""

    def forward(self, seq):
        return []


class EmptyList(Mean):
    """A submodule gives an empty list."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.nothing = Nothing()

    def mean(self, seq, n):
        self.nothing(seq)
        return super().mean(seq, n)


class Graph(GeneralRecommender):
    """Keeps its tables as LightGCN does."""

    input_type = InputType.PAIRWISE

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.users = nn.Embedding(self.n_users, 5)
        self.items = nn.Embedding(self.n_items, 5)
        self.restore_user_e = self.restore_item_e = None

    def forward(self):
        return self.users.weight, self.items.weight

    def predict(self, interaction):
        users, items = self.forward()
        return (users[interaction[self.USER_ID]] * items[interaction[self.ITEM_ID]]).sum(1)

    def full_sort_predict(self, interaction):
        users, items = self.forward()
        return users[interaction[self.USER_ID]] @ items.T


class OnlyPairs(Graph):
    """Does not rank, and so keeps nothing."""

    def full_sort_predict(self, interaction):
        raise NotImplementedError


def opened(tmp_path, model, **settings):
    return recsae.load_recommender(
        small_checkpoint(tmp_path / "x.pth", model, **settings), trust=True
    )


@pytest.mark.parametrize("model", [DIN, EmptyList, NoPadding])
def test_they_attach(model, tmp_path):
    recommender = opened(tmp_path, model)
    assert recommender.sites()[0].share == 1
    head = recommender.linear_head()
    assert head.items.isfinite().all()
    assert head.bias.isfinite().all()


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Logits, "0% of its scores' variance follows forward"),
        (Graph, r"users takes no part in the model's scoring"),  # its vectors are never looked up
        (OnlyPairs, r"users takes no part in the model's scoring"),
    ],
)
def test_they_are_refused_with_the_reason(model, reason, tmp_path):
    with pytest.raises(CannotOpenModel, match=reason):
        opened(tmp_path, model)


def test_more_than_two_values_of_a_graph_models_forward(tmp_path):
    """NCL's gives its layers as well, and its predict takes them."""
    recommender = opened(tmp_path, "NCL")
    batch = some_batch(recommender)
    interaction = recommender.interaction(batch)
    interaction.interaction[recommender.model.ITEM_ID] = torch.full((len(interaction),), 3)
    with torch.no_grad(), recommender.edit(lambda h: 2 * h):
        pairs = recommender.model.predict(interaction)
        torch.testing.assert_close(pairs, recommender.score(batch)[:, 3])


@pytest.mark.parametrize("base", [PairOfToys, GraphToy])
def test_an_edit_acts_once_where_ranking_calls_predict(base):
    class Nested(base):
        def full_sort_predict(self, interaction):
            if base is GraphToy and self.restore_user_e is None:
                return super().full_sort_predict(interaction)
            pairs = interaction.repeat_interleave(4)
            pairs.interaction[self.ITEM_ID] = torch.arange(4).repeat(len(interaction))
            return self.predict(pairs).view(-1, 4)

    def tap(model):
        return UserTableTap(model) if base is GraphToy else JointTap(model, ["user", "last"])

    two, model, plain = sequences([1, 2], [3], users=[1, 2]), Nested(), base()
    with tap(plain).edit(plus_one):
        wanted = plain.full_sort_predict(two).view(-1, 4)
    model.full_sort_predict(two)
    with tap(model).edit(plus_one):
        torch.testing.assert_close(model.full_sort_predict(two).view(-1, 4), wanted)


def test_more_than_ten_blocks_are_in_order(tmp_path):
    names = [site.name for site in opened(tmp_path, "SASRec", n_layers=12).sites()]
    assert names[1::3] == [f"trm_encoder.layer.{n}" for n in range(12)]


def test_a_model_of_users_has_no_positions(tmp_path):
    recommender = opened(tmp_path, "BPR")
    with pytest.raises(CannotOpenModel, match="BPR does not give the states of all positions"):
        recommender.represent(some_batch(recommender), positions=True)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("SASRec", {"n_items": 29}),
        ("BPR", {"n_items": 29}),
        ("BPR", {"n_users": 15}),
        ("BPR", {"n_users": 25}),
    ],
)
def test_a_model_in_memory_with_other_data(name, size, tmp_path):
    few = {"user_inter_num_interval": "[0,20]"} if name == "BPR" else {}
    folder = write_data(tmp_path / "shop", "shop", **size)
    with pytest.raises(CannotOpenModel, match="does not match the model"):
        recsae.load_recommender(live(name, **few), data_path=folder)


def test_one_history_is_too_few(tmp_path):
    folder = write_data(tmp_path / "shop", "shop", n_users=1)
    with pytest.raises(NotEnoughData, match="1 histories of two items or more"):
        opened(tmp_path, "SASRec", data_path=str(folder.parent))
