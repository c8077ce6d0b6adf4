"""States, scores and edits of RecBole models through the adapter."""

import functools
import json
from itertools import pairwise

import numpy as np
import pytest
import torch

pytest.importorskip("recbole")

from helpers.recbole_kit import FOLDER, TINY, opened, small_checkpoint, tiny
from recsae.capture.fill import capture
from recsae.core.errors import CannotOpenModel, InvalidInput, RecSAEError, SiteNotFound
from recsae.recommender.checks import is_causal
from recsae.recommender.protocol import Recommender
from recsae.recommender.sequences import pad
from recsae_recbole import plugin
from recsae_recbole.open import open_checkpoint

pytestmark = pytest.mark.recbole


CAUSAL = ("SASRec", "GRU4Rec")


def some_batch(recommender, n=40):
    sequences = recommender.sequences()
    rows = np.arange(0, len(sequences), max(1, len(sequences) // n))
    ends = sequences.lengths[rows]
    starts = np.maximum(0, ends - recommender.max_length)
    return sequences.batch(rows, starts, ends, recommender.max_length)


# -- capture -------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", CAUSAL)
def test_states_of_windows_are_those_of_single_forwards(model, tmp_path):
    recommender = opened(model)
    assert recommender.sites()[0].every_position
    sequences = recommender.sequences()
    rows = np.arange(0, len(sequences), 40)
    store = capture(recommender, rows, tmp_path)
    assert len(store) == (sequences.lengths[rows] - 1).sum()  # each position but the last, once
    positions = store.column("position")
    windows = starts_of_windows(store, recommender.max_length)
    for row, position, start, state in zip(
        store.column("sequence"), positions, windows, store.column("states"), strict=True
    ):
        items = sequences[row][start : position + 1]
        assert len(items) >= min(position + 1, 0.8 * recommender.max_length)
        batch = pad([items.tolist()], recommender.max_length)
        alone = recommender.model.forward(batch.items, batch.lengths)[0].detach().numpy()
        np.testing.assert_allclose(state, alone, atol=1e-5)


def starts_of_windows(store, length):
    """Start of the window that each stored position was read in, as the plan has it."""
    from recsae.capture.windows import plan_windows

    sequences = opened().sequences()
    rows = np.unique(store.column("sequence")).astype(np.int64)
    windows = plan_windows(sequences, rows, length, every_position=True, limit=None, seed=0)
    return np.repeat(windows.starts, windows.ends - windows.kept_from)


@pytest.mark.parametrize("model", ["LightSANs", "FEARec"])
def test_models_that_look_ahead_get_one_forward_per_prefix(model, tmp_path):
    recommender = opened(model)
    site = recommender.sites()[0]
    assert not site.every_position
    assert not is_causal(recommender, None, some_batch(recommender))
    sequences = recommender.sequences()
    store = capture(recommender, np.arange(60), tmp_path, limit=150)
    assert len(store) == 150
    for row, position, state in zip(
        store.column("sequence"), store.column("position"), store.column("states"), strict=True
    ):
        prefix = sequences[row][max(0, position + 1 - recommender.max_length) : position + 1]
        batch = pad([prefix.tolist()], recommender.max_length)
        alone = recommender.model.forward(batch.items, batch.lengths)[0].detach().numpy()
        np.testing.assert_allclose(state, alone, atol=1e-5)


def test_padding_reaches_no_store(tmp_path):
    """Every stored position is one of the history's, and none is stored twice."""
    recommender = opened()
    store = capture(recommender, np.arange(len(recommender.sequences())), tmp_path)
    lengths = recommender.sequences().lengths
    sequence, position = store.column("sequence"), store.column("position")
    assert (position >= 0).all()
    assert (position < lengths[sequence] - 1).all()
    pairs = sorted(zip(sequence.tolist(), position.tolist(), strict=True))
    assert all(a != b for a, b in pairwise(pairs))
    assert (store.column("top_items") > 0).all()


def test_states_that_are_not_finite(tmp_path):
    path = small_checkpoint(tmp_path / "x.pth", change=huge_weights)
    with pytest.raises(CannotOpenModel, match="SASRec gives NaN or infinite states"):
        open_checkpoint(path, trust=True)
    recommender = open_checkpoint(small_checkpoint(tmp_path / "y.pth"), trust=True)
    recommender.model.LayerNorm.weight.data.fill_(torch.nan)  # broken only afterwards
    with pytest.raises(RecSAEError, match="SASRec gives NaN or infinite states at"):
        capture(recommender, np.arange(20), tmp_path / "states")
    assert not list((tmp_path / "states").iterdir())


def huge_weights(checkpoint):
    checkpoint["state_dict"]["item_embedding.weight"].fill_(3e38)


# -- scores and edits ----------------------------------------------------------------------------


@pytest.mark.parametrize("model", CAUSAL)
def test_scores_are_the_models_own(model):
    recommender = opened(model)
    batch = some_batch(recommender)
    with torch.no_grad():
        own = recommender.model.full_sort_predict(recommender.interaction(batch))
        states = recommender.model.forward(batch.items, batch.lengths)
    assert torch.equal(recommender.score(batch), own)
    assert torch.equal(recommender.represent(batch), states)
    head = recommender.linear_head()
    torch.testing.assert_close(head.score(states), own)
    assert not states.requires_grad
    assert not recommender.model.training


@pytest.mark.parametrize("model", CAUSAL)
def test_edits(model):
    recommender = opened(model)
    batch = some_batch(recommender)
    before, states = recommender.score(batch), recommender.represent(batch)
    keys = list(recommender.model.state_dict())
    with recommender.edit(lambda h: h):
        assert torch.equal(recommender.score(batch), before)
    with recommender.edit(lambda h: h * 2), recommender.edit(lambda h: h + 1, "sequence"):
        torch.testing.assert_close(recommender.represent(batch), states * 2 + 1)
        torch.testing.assert_close(
            recommender.score(batch), recommender.linear_head().score(states * 2 + 1)
        )
        assert list(recommender.model.state_dict()) == keys
    assert torch.equal(recommender.score(batch), before)
    with pytest.raises(ZeroDivisionError), recommender.edit(lambda h: h / 0 / (1 // 0)):
        recommender.score(batch)
    assert torch.equal(recommender.score(batch), before)
    assert not {"forward", "gather_indexes"} & set(vars(recommender.model))


def test_positions_that_a_model_does_not_give(tmp_path):
    recommender = open_checkpoint(small_checkpoint(tmp_path / "x.pth", "HGN"), trust=True)
    with pytest.raises(CannotOpenModel, match="HGN does not give the states of all positions"):
        recommender.represent(some_batch(recommender), positions=True)


def test_a_sequence_of_an_unknown_user():
    recommender = opened()
    known = recommender.sequences()[3][-5:].tolist()
    alone = recommender.score(pad([known], recommender.max_length))
    assert alone.shape == (1, recommender.catalog.n_items)
    together = recommender.score(pad([known, known[:2]], recommender.max_length))
    torch.testing.assert_close(alone[0], together[0])


def test_unknown_sites():
    recommender = opened()
    with pytest.raises(SiteNotFound, match=r"no site 'sequense'\. Did you mean 'sequence'\?"):
        recommender.represent(some_batch(recommender), "sequense")
    with pytest.raises(SiteNotFound, match="It has: "):
        recommender.edit(lambda h: h, "block 0")


# -- general recommenders ------------------------------------------------------------------------


@functools.cache
def general():
    return open_checkpoint(small_checkpoint(FOLDER / "adapter-BPR.pth", "BPR"), trust=True)


def test_states_of_users():
    """They are the model's own, whatever part of a user's history is shown."""
    recommender = general()
    model, sequences = recommender.model, recommender.sequences()
    rows = np.arange(len(sequences))
    assert recommender.max_length == sequences.learned.max()
    batches = [sequences.batch(rows, 0 * rows, 0 * rows + n, 5) for n in (1, 4)]
    wanted = model.user_embedding.weight.detach()[sequences.user_rows]
    for batch in batches:
        assert torch.equal(recommender.represent(batch), wanted)
    with torch.no_grad():
        own = model.full_sort_predict(recommender.interaction(batches[0])).view(len(rows), -1)
    assert torch.equal(recommender.score(batches[1]), own)


def test_general_recommenders_know_no_sequences_of_strangers():
    with pytest.raises(InvalidInput, match=r"BPR knows users, not sequences: .* trained on"):
        general().score(pad([[1, 2]], 5))


# -- identity ------------------------------------------------------------------------------------


def test_describe():
    recommender = opened()
    assert isinstance(recommender, Recommender)
    facts = recommender.describe()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["sites"][0] == {
        "name": "sequence",
        "meaning": "what the model knows of a sequence: its scores are made from this vector alone",
        "width": 64,
        "every_position": True,
        "per_user": False,
        "share": 1.0,
    }
    assert [site["name"] for site in facts["sites"]] == [s.name for s in recommender.sites()]
    assert facts["scores_by"] == "full_sort_predict"
    assert facts["head"]["parameter"] == "item_embedding.weight"
    assert facts["head"]["relative_error"] < 1e-6
    assert (facts["users"], facts["items"], facts["max_length"]) == (202, 234, 20)
    assert facts["title_column"] == "movie_title"
    assert facts["attributes"] == ["decade", "class"]
    assert facts["item_columns"] == ["item_id", "movie_title", "release_year", "class"]
    assert facts["items_from"] in facts["data_files"]
    assert opened("LightSANs").describe()["sites"][0]["every_position"] is False


def test_describe_what_is_lacking(tmp_path):
    path = small_checkpoint(tmp_path / "x.pth", "TransRec")
    facts = open_checkpoint(path, trust=True).describe()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["head"] is None
    path = small_checkpoint(tmp_path / "x.pth", "NeuMF")
    facts = open_checkpoint(path, trust=True).describe()
    assert facts["scores_by"] == "pairs (predict)"
    assert facts["sites"][0]["per_user"]


def test_fingerprint_is_of_what_makes_the_scores(tmp_path):
    def changed(name, **options):
        return open_checkpoint(small_checkpoint(tmp_path / name, **options), trust=True)

    same = [changed("a.pth"), changed("b.pth", epochs=7, topk=[5])]
    assert same[0].fingerprint() == same[1].fingerprint()
    others = [
        changed("c.pth", seed=5),
        changed("d.pth", n_heads=4),  # same weights, other scores
        changed("e.pth", MAX_ITEM_LIST_LENGTH=5),
        changed("f.pth", change=lambda c: c["state_dict"]["LayerNorm.bias"].add_(1e-3)),
    ]
    prints = {r.fingerprint() for r in (*same, *others)}
    assert len(prints) == 5
    lengths = [changed("g.pth", model="GRU4Rec", MAX_ITEM_LIST_LENGTH=n) for n in (5, 6)]
    assert lengths[0].fingerprint() != lengths[1].fingerprint()  # with the same weights


def test_the_plugin():
    assert plugin.versions() == {"recbole": "1.2.1"}
    recommender = plugin.open(tiny(), trust=True)
    assert (recommender.name, recommender.dataset) == ("SASRec", "ml-100k")
    assert recommender.sources()[0] == str(tiny())
    assert recommender.fingerprint() == opened().fingerprint()


def test_demo_checkpoint(tmp_path, monkeypatch):
    import recsae_recbole.demo.train as pretrain

    seen = []
    monkeypatch.setattr(pretrain, "train_sasrec", lambda *a, **o: seen.append((a, o)))
    path = plugin.demo_checkpoint(tmp_path / "demo.pth", seed=3)
    assert path == tmp_path / "demo.pth"
    assert seen == [((path,), {"seed": 3, "progress": None})]
    assert TINY["MAX_ITEM_LIST_LENGTH"] == opened().max_length
