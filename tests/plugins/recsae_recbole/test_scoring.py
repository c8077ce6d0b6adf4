"""Scores of all items, pair by pair where a model ranks no other way; models that cannot score."""

import pytest
import torch

pytest.importorskip("recbole")

from helpers.recbole_kit import FOLDER, small_checkpoint
from helpers.recbole_toys import PairToy, Toy, sequences
from recsae.core.errors import CannotOpenModel
from recsae_recbole import scoring
from recsae_recbole.open import open_checkpoint
from recsae_recbole.scoring import ModelCaller, ScoringStopped, around_scoring

pytestmark = pytest.mark.recbole


N_ITEMS = 7


def random_items(n_items=N_ITEMS):
    items = torch.randn(n_items, 2, generator=torch.Generator().manual_seed(n_items))
    items[0] = 0
    return items


THREE = ([1, 2], [3], [2, 2, 3])


# -- pairs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [1, 2, 3, 6, 7, 8, 13, 14, 20, 21, 1000])
def test_pairs_in_chunks_are_single_pairs(at_once, monkeypatch):
    """Seven items: less, just, or more than one sequence's pairs go into one call."""
    monkeypatch.setattr(scoring, "PAIRS_AT_ONCE", at_once)
    model, three = PairToy(items=random_items()), sequences(*THREE)
    scorer = ModelCaller(model, N_ITEMS, three)
    assert scorer.by_pairs
    model.sizes.clear()
    scores = scorer(three)
    assert sum(model.sizes) == 3 * N_ITEMS
    assert max(model.sizes) <= at_once
    for row in range(3):
        for item in range(N_ITEMS):
            one = three[row : row + 1]
            one.interaction[model.ITEM_ID] = torch.tensor([item])
            assert scores[row, item] == model.predict(one)


@pytest.mark.parametrize("n_items", [4, 11, 12, 13, 23, 24, 25])
def test_catalogues_around_the_limit(n_items, monkeypatch):
    monkeypatch.setattr(scoring, "PAIRS_AT_ONCE", 12)
    items, three = random_items(n_items), sequences(*THREE)
    by_pairs = ModelCaller(PairToy(items=items), n_items, three)(three)
    torch.testing.assert_close(by_pairs, Toy(items=items).full_sort_predict(three))


def test_a_model_that_ranks_is_not_asked_for_pairs():
    class Ranking(Toy):
        def predict(self, interaction):
            raise AssertionError

    three = sequences(*THREE)
    scorer = ModelCaller(Ranking(), 4, three)
    assert not scorer.by_pairs
    assert torch.equal(scorer(three), Toy().full_sort_predict(three))


def test_flat_scores_and_gradients():
    """Graph models give ``(n * n_items,)``; no score carries a gradient."""

    class Flat(Toy):
        def full_sort_predict(self, interaction):
            return super().full_sort_predict(interaction).view(-1)

    items = torch.nn.Parameter(random_items())
    scores = ModelCaller(Flat(items=items), N_ITEMS, sequences(*THREE))(sequences(*THREE))
    assert scores.shape == (3, N_ITEMS)
    assert not scores.requires_grad


# -- trials and partial scorings -----------------------------------------------------------------


def test_trials_score_real_items():
    items, three = random_items(), sequences(*THREE)
    real = torch.tensor([0, 1, 1, 0, 1, 1, 1]).bool()
    wanted = Toy(items=items).full_sort_predict(three)[:, real]
    for model in (Toy(items=items), PairToy(items=items)):
        found = ModelCaller(model, N_ITEMS, three).scores_of_real_items(three, real)
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(("n_items", "step"), [(9, 1), (10, 2), (17, 2), (18, 3)])
def test_trials_of_pairs_are_few_and_hold_every_sequence_once(n_items, step):
    """Every call has a row per sequence, so that states can be moved from one to another."""
    model, three = PairToy(items=random_items(n_items)), sequences(*THREE)
    scorer = ModelCaller(model, n_items, three)
    model.sizes.clear()
    found = scorer.scores_of_real_items(three, torch.arange(n_items) > 0)
    wanted = Toy(items=model.items).full_sort_predict(three)[:, 1::step]
    torch.testing.assert_close(found, wanted)
    assert model.sizes == [3] * wanted.shape[1]
    assert len(model.sizes) <= 8


def test_partial_scorings_show_each_sequence_its_own_last_item():
    class Showing(PairToy):
        def predict(self, interaction):
            self.shown = interaction[self.ITEM_ID].tolist()
            raise ScoringStopped

    three = sequences(*THREE)
    scorer = ModelCaller(PairToy(), 4, three)
    scorer.model = Showing()
    scorer.until(three)  # nothing comes out, not even ScoringStopped
    assert scorer.model.shown == [2, 3, 3]


def test_partial_scorings_of_users_show_the_first_item():
    class Users:
        ITEM_ID, device = "item_id", "cpu"
        full_sort_predict = PairToy.full_sort_predict

        def predict(self, interaction):
            self.shown = interaction[self.ITEM_ID].tolist()
            return torch.zeros(len(interaction))

    three = sequences(*THREE)
    scorer = ModelCaller(Users(), 4, three)
    scorer.until(three)
    assert scorer.model.shown == [1, 1, 1]


def test_errors_of_the_model_come_through_a_partial_scoring():
    three = sequences(*THREE)
    scorer = ModelCaller(Toy(), 4, three)
    scorer.model.items = None
    with pytest.raises(TypeError):
        scorer.until(three)


def test_both_ways_of_scoring_can_be_wrapped():
    model, calls = Toy(), []

    def wrap(method):
        return lambda given: (calls.append(method.__name__), method(given))[1]

    three = sequences(*THREE)
    three.interaction[model.ITEM_ID] = torch.tensor([1, 1, 1])
    with around_scoring(model, wrap):
        model.predict(three)
        model.full_sort_predict(three)
    with pytest.raises(ZeroDivisionError), around_scoring(model, wrap):
        raise ZeroDivisionError
    assert calls == ["predict", "full_sort_predict"]
    assert not {"predict", "full_sort_predict"} & set(vars(model))


# -- models that cannot score --------------------------------------------------------------------


class Asking(Toy):
    def full_sort_predict(self, interaction):
        return interaction["weather"]


class Raising(Toy):
    def full_sort_predict(self, interaction):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied\n(2x3 and 4x4)")


class AskingForPairs(PairToy):
    def predict(self, interaction):
        return interaction["weather"]


class Neither(PairToy):
    def predict(self, interaction):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Asking, "Asking asks for the field 'weather' of each sequence"),
        (AskingForPairs, "AskingForPairs asks for the field 'weather'"),
        (Raising, r"Raising cannot score .* \(RuntimeError: mat1 and mat2 shapes cannot be mult"),
        (Neither, r"Neither cannot score sequences of its own data set \(NotImplementedError"),
    ],
)
def test_models_that_cannot_score(model, message):
    with pytest.raises(CannotOpenModel, match=message) as caught:
        ModelCaller(model(), 4, sequences(*THREE))
    assert str(caught.value).endswith(" cannot attach to it.")
    assert "\n" not in str(caught.value)


# -- models that read a target while they rank ---------------------------------------------------


class Targeted(Toy):
    """Works out its loss before it ranks."""

    def full_sort_predict(self, interaction):
        self.targets = interaction[self.POS_ITEM_ID].tolist()
        return super().full_sort_predict(interaction)


def test_a_target_is_made_up_where_one_is_asked_for():
    model, three = Targeted(), sequences(*THREE)
    scorer = ModelCaller(model, 4, three)
    assert torch.equal(scorer(three), Toy().full_sort_predict(three))
    assert model.targets == [2, 3, 3]
    assert model.ITEM_ID not in three.interaction
    scorer.until(three[:1])
    assert model.targets == [2]


@pytest.mark.parametrize("name", ["GRU4RecCPR", "SASRecCPR"])
def test_scores_of_the_cpr_models_do_not_depend_on_the_target(name):
    path = small_checkpoint(FOLDER / f"scoring-{name}.pth", name)
    recommender = open_checkpoint(path, trust=True)
    rows = torch.arange(5).numpy()
    batch = recommender.sequences().batch(rows, 0 * rows, 0 * rows + 4, recommender.max_length)
    scores, model = recommender.score(batch), recommender.model
    assert scores.isfinite().all()
    for target in (1, 17):
        interaction = recommender.interaction(batch)
        interaction.interaction[model.POS_ITEM_ID] = torch.full((5,), target)
        with torch.no_grad():
            assert torch.equal(model.full_sort_predict(interaction), scores)
