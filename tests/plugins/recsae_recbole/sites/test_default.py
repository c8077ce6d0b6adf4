"""Where default sites are found: shares worked out by hand, and classes that a user wrote."""

import json
import sys

import pytest
import torch
from click.testing import CliRunner
from torch import nn

pytest.importorskip("recbole")

import recsae
from helpers.recbole_kit import other_weights, small_checkpoint
from helpers.recbole_toys import PairToy, Toy, sequences
from recsae.cli.entry import group
from recsae.core.errors import CannotOpenModel
from recsae.testing import check_recommender
from recsae_recbole.boundary import recbole_boundary
from recsae_recbole.scoring import ModelCaller
from recsae_recbole.sites.default import (
    UNIT,
    WHOLE,
    WHOLE_OF_USER,
    ProbedModel,
    find_default,
    outputs,
)
from recsae_recbole.sites.taps import OutputTap

pytestmark = pytest.mark.recbole


# -- toys ----------------------------------------------------------------------------------------

REMEDY = "A model attaches if its forward, or a submodule of a model of users, returns that vector."
FOLLOW = (
    "of its scores' variance follows forward; gather_indexes takes no part in the model's scoring"
)


def looking(model, *items, users=None):
    some = sequences(*items, users=users)
    n_items = len(model.items)
    return ProbedModel(
        model, ModelCaller(model, n_items, some), some, some, torch.arange(n_items) > 0
    )


SIX = torch.cat([torch.zeros(1, 6), torch.eye(6)])  # every item has a dimension of its own
THREE = ([2, 1], [3, 2], [1, 3])  # whose last items are in the first three dimensions


class TwoParts(Toy):
    """Scores are a times forward's state and b times a user's, which nothing passes on."""

    def __init__(self, a, b):
        super().__init__(items=SIX)
        self.a, self.b = a, b

    def gather_indexes(self, output, index):
        raise AssertionError

    def _states(self, interaction):
        of_user = self.items[4 + interaction[self.USER_ID]]  # in the last three dimensions
        return self.a * super()._states(interaction) + self.b * of_user


class PairParts(PairToy, TwoParts):
    def full_sort_predict(self, interaction):
        raise NotImplementedError


@pytest.mark.parametrize("parts", [TwoParts, PairParts])
@pytest.mark.parametrize(
    ("a", "b", "share"),
    # squares of what a row misses, 2 b^2, and of what lies between two rows, 2 a^2 + 2 b^2
    [(1, 0, 1.0), (2, 1, 0.8), (1, 1, 0.5), (1, 2, 0.2), (0, 1, 0.0)],
)
def test_shares_by_hand(parts, a, b, share):
    look = looking(parts(a, b), *THREE)
    assert look.share(OutputTap(look.model, "forward")) == pytest.approx(share)


def test_sequences_with_the_same_scores_have_no_share():
    look = looking(TwoParts(1, 0), [1], [1])
    assert look.share(OutputTap(look.model, "forward")) == 0


def test_the_vector_that_makes_all_scores():
    found = find_default(looking(TwoParts(3, 0), *THREE), general=False)
    assert (found.tap.call, found.tap.layout) == ("forward", "rows")
    assert found.meaning == f"{WHOLE}{UNIT}"  # of [1, 0] and [0, 1]
    assert found.share == pytest.approx(1)


def test_a_vector_that_makes_part_of_the_scores():
    found = find_default(looking(TwoParts(2, 1), *THREE), general=False)
    assert found.share == pytest.approx(0.8)
    assert found.meaning == (
        "part of what scores are made from: 80% of its scores' variance follows forward"
    )


@pytest.mark.parametrize(("a", "b", "percent"), [(1, 2, "20%"), (0, 1, "0%")])
def test_a_vector_that_makes_less_than_half_of_the_scores(a, b, percent):
    with pytest.raises(CannotOpenModel) as caught:
        find_default(looking(TwoParts(a, b), *THREE), general=False)
    assert str(caught.value) == (
        "recsae cannot attach to TwoParts: it found no vector from which the scores are made "
        f"({percent} {FOLLOW}). {REMEDY}"
    )


def test_scores_are_not_taken_for_states():
    class Scores(TwoParts):
        def forward(self, *given):
            return super().forward(*given) @ self.items.T

        def full_sort_predict(self, interaction):
            return Toy._states(self, interaction)

    look = looking(Scores(1, 0), *THREE)
    assert look.share(OutputTap(look.model, "forward")) == pytest.approx(1)
    with pytest.raises(CannotOpenModel, match="0% of its scores' variance follows forward"):
        find_default(look, general=False)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_states_that_are_not_finite(value):
    model = TwoParts(1, 0)
    model.items = SIX.clone()
    model.items[3, 0] = value
    with pytest.raises(CannotOpenModel, match="TwoParts gives NaN or infinite states on its own"):
        find_default(looking(model, *THREE), general=False)


class Tower(Toy):
    """A user's row goes through two layers; a third is called twice and leads to nothing."""

    n_users = 4

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.users, self.wide, self.narrow = nn.Embedding(4, 3), nn.Linear(3, 5), nn.Linear(5, 2)
        self.twice = nn.Linear(3, 2)

    def _states(self, interaction):
        row = self.users(interaction[self.USER_ID])
        self.twice(row), self.twice(row)
        return self.narrow(self.wide(row))


def test_of_places_in_a_row_the_narrowest():
    look = looking(Tower(), [1], [1], [1], users=[1, 2, 3])
    assert outputs(look) == [("users", (3, 3)), ("wide", (3, 5)), ("narrow", (3, 2))]
    found = find_default(look, general=True)
    assert (found.tap.call, found.meaning) == ("narrow", WHOLE_OF_USER)
    assert found.share == pytest.approx(1)


def test_of_pairs_the_rows_of_users():
    """What lies between is of a user and a candidate together."""

    class Pairs(PairToy, Tower):
        pass

    found = find_default(looking(Pairs(), [1], [1], [1], users=[1, 2, 3]), general=True)
    assert (found.tap.call, found.meaning) == ("users", WHOLE_OF_USER)
    assert found.share == pytest.approx(1)


# -- own classes ---------------------------------------------------------------------------------

OWN = '''
import torch
from torch import nn
from recbole.model.abstract_recommender import GeneralRecommender, SequentialRecommender
from recbole.model.general_recommender import FISM
from recbole.model.sequential_recommender import FPMC, RepeatNet
from recbole.utils import InputType


class Mean(SequentialRecommender):
    """Forward returns the representation: the mean of the items' vectors, and a layer."""

    input_type = InputType.POINTWISE

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.table = nn.Embedding(self.n_items, 4, padding_idx=0)
        self.layer = nn.Linear(4, 4)

    def forward(self, item_seq, lengths):
        return self.layer(self.table(item_seq).sum(1) / lengths[:, None])

    def of(self, interaction):
        return self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])

    def predict(self, interaction):
        return (self.of(interaction) * self.table(interaction[self.ITEM_ID])).sum(1)

    def full_sort_predict(self, interaction):
        return self.of(interaction) @ self.table.weight.T


class Everywhere(Mean):
    """Forward returns states of all positions: running means."""

    def forward(self, item_seq, lengths):
        position = torch.arange(1, item_seq.shape[1] + 1)
        return self.layer(self.table(item_seq).cumsum(1) / position[:, None])

    def of(self, interaction):
        lengths = interaction[self.ITEM_SEQ_LEN]
        return self.gather_indexes(self.forward(interaction[self.ITEM_SEQ], lengths), lengths - 1)


class Scores(Mean):
    """Forward returns scores, and no vector is behind them: similarities are added up."""

    def forward(self, item_seq, lengths):
        alike = (self.table(item_seq) @ self.table.weight.T).tanh()
        return (alike * (item_seq > 0)[..., None]).sum(1)

    def full_sort_predict(self, interaction):
        return self.of(interaction)


class Users(GeneralRecommender):
    """A table of users times a table of items."""

    input_type = InputType.PAIRWISE

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.people, self.things = nn.Embedding(self.n_users, 5), nn.Embedding(self.n_items, 5)

    def predict(self, interaction):
        things = self.things(interaction[self.ITEM_ID])
        return (self.people(interaction[self.USER_ID]) * things).sum(1)

    def full_sort_predict(self, interaction):
        return self.people(interaction[self.USER_ID]) @ self.things.weight.T


class UserPairs(Users):
    def full_sort_predict(self, interaction):
        raise NotImplementedError


class Numbers(Users):
    """The table of users is no submodule."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.people = nn.Parameter(torch.rand(self.n_users, 5))

    def full_sort_predict(self, interaction):
        return self.people[interaction[self.USER_ID]] @ self.things.weight.T


class Repeating(RepeatNet):
    pass


class Walking(FPMC):
    pass


class Alike(FISM):
    pass
'''
OF_BASE = {
    "Repeating": {"joint_train": False, "dropout_prob": 0.5, "loss_type": "CE"},
    "Walking": {"loss_type": "BPR"},
    "Alike": {"split_to": 0, "reg_weights": [0.01, 0.01], "alpha": 0.0},
}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Saves a checkpoint of one of the classes above, which lie in a file of the user's."""
    (tmp_path / "own_models.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_models", raising=False)

    def saved(name):
        with recbole_boundary():
            import own_models

        settings = OF_BASE.get(name, {})
        found = getattr(own_models, name)
        return small_checkpoint(tmp_path / "x.pth", found, change=other_weights, **settings)

    return saved


@pytest.mark.parametrize(("name", "call"), [("Mean", "forward"), ("Everywhere", "gather_indexes")])
def test_own_sequential_models(name, call, own):
    recommender = recsae.load_recommender(own(name), trust=True)
    (site,) = recommender.sites()
    assert (site.name, site.meaning, site.width, site.share) == ("sequence", WHOLE, 4, 1)
    assert not site.per_user
    assert site.every_position == (name == "Everywhere")
    assert recommender._default.tap.call == call
    assert torch.equal(recommender.linear_head().items, recommender.model.table.weight)
    check_recommender(recommender)


@pytest.mark.parametrize(("name", "call"), [("Users", "people"), ("UserPairs", "people")])
def test_own_general_models(name, call, own):
    recommender = recsae.load_recommender(own(name), trust=True)
    (site,) = recommender.sites()
    assert (site.name, site.meaning, site.width, site.share) == ("user", WHOLE_OF_USER, 5, 1)
    assert site.per_user
    assert recommender._default.tap.call == call
    assert torch.equal(recommender.linear_head().items, recommender.model.things.weight)
    check_recommender(recommender)


def test_a_model_is_known_by_its_base_class(own):
    recommender = recsae.load_recommender(own("Repeating"), trust=True)
    (site,) = recommender.sites()
    assert site.meaning.startswith("what the GRU knows after each item; how likely a repetition")
    assert site.every_position
    assert site.share < 0.5  # most of the scores goes to items of the sequence itself
    check_recommender(recommender)
    recommender = recsae.load_recommender(own("Walking"), trust=True)
    assert recommender.sites()[0].meaning.startswith("the user's vector and the last item's")
    assert recommender.sites()[0].width == 16
    check_recommender(recommender)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Scores", f"0% {FOLLOW}"),
        ("Numbers", "no submodule gives one for each user"),
        ("Alike", "its scores add up similarities of the candidate to each item of the history"),
    ],
)
def test_own_models_without_such_a_vector(name, reason, own):
    with pytest.raises(CannotOpenModel) as caught:
        recsae.load_recommender(own(name), trust=True)
    assert str(caught.value) == (
        f"recsae cannot attach to {name}: it found no vector from which the scores are made "
        f"({reason}). {REMEDY}"
    )


def test_inspect_says_what_was_found_and_how_sure_it_is(own):
    shown = CliRunner().invoke(group, ["inspect", str(own("Mean")), "--trust", "--json"])
    assert shown.exit_code == 0, shown.output
    facts = json.loads(shown.output)
    assert (facts["model"], facts["class"]) == ("Mean", "own_models.Mean")
    assert facts["sites"] == [
        {
            "name": "sequence",
            "meaning": WHOLE,
            "width": 4,
            "every_position": False,
            "per_user": False,
            "share": 1.0,
        }
    ]
    assert facts["head"]["parameter"] == "table.weight"
    assert 0 <= facts["head"]["relative_error"] < 1e-6
    assert facts["scores_by"] == "full_sort_predict"
