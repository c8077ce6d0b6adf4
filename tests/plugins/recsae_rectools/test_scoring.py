"""How a model reads histories, and what an edit does to its own recommendations."""

import numpy as np
import pytest
import torch

pytest.importorskip("rectools")

from helpers.rectools_kit import MODELS, attached, dataset, fitted, recommended
from recsae.core.errors import CannotOpenModel
from recsae.recommender.sequences import pad
from recsae_rectools.scoring import Layout

pytestmark = pytest.mark.rectools


@pytest.mark.parametrize(
    ("name", "layout"),
    [("SASRec", Layout(6, 0)), ("BERT4Rec", Layout(5, 1)), ("HSTU", Layout(6, 0))],
)
def test_where_items_are(name, layout):
    """On the right, behind padding; BERT4Rec's mask, number 1, takes the place of an item."""
    caller = attached(name)._scorer
    assert caller.layout == layout
    tokens = caller.inputs(pad([[3, 1], [9, 8, 7, 6, 5, 4]], 6))["x"].tolist()
    if name == "BERT4Rec":
        assert tokens == [[0, 0, 0, 4, 2, 1], [9, 8, 7, 6, 5, 1]]
    else:
        assert tokens == [[0, 0, 0, 0, 3, 1], [9, 8, 7, 6, 5, 4]]


def test_a_model_that_puts_items_elsewhere_is_refused(monkeypatch):
    caller, own = attached()._scorer, fitted().data_preparator._collate_fn_recommend
    monkeypatch.setattr(
        caller.preparator, "_collate_fn_recommend", lambda batch: {"x": own(batch)["x"].flip(1)}
    )
    with pytest.raises(
        CannotOpenModel, match=r"makes \[1, 1, 0, 0, 0, 0\] of the history \[1, 1\]"
    ):
        caller._find_layout()


def test_times_are_those_of_the_history():
    """Seconds of the items that are read and of the next interaction, padded with the first."""
    recommender = attached("HSTU")
    sequences, times = recommender.sequences(), recommender.data.times // 10**9
    row = sequences.row_of("u0")  # three interactions
    first = sequences.offsets[row]
    batch = sequences.batch(np.array([row]), np.array([0]), np.array([2]), 6)
    seen = recommender._scorer.inputs(batch)["unix_ts"].tolist()
    a, b, c = times[first : first + 3].tolist()
    assert seen == [[a, a, a, a, a, b, c]]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("distance", ["dot", "cosine"])
def test_an_edit_reaches_recommend_and_leaves_with_its_context(name, distance):
    model, recommender = fitted(name, distance), attached(name, distance)
    users = ["u5", "u14", "u39"]
    at = recommender.data.times.max().astype("datetime64[ns]")

    def lists():
        table = recommended(model, users, dataset(), at=at)
        return table["item_id"].tolist()

    before = lists()
    for site in recommender.sites():
        direction = torch.linspace(-3, 3, site.width)
        with recommender.edit(lambda h, d=direction: h + d, site.name):
            assert lists() != before, site.name
        assert lists() == before, site.name
        with recommender.edit(lambda h: h, site.name):
            assert lists() == before


@pytest.mark.parametrize("distance", ["dot", "cosine"])
def test_edited_lists_are_alike_here_and_there(distance):
    """What recsae scores under an edit is what RecTools recommends under it, in two nested ones."""
    model, recommender = fitted("SASRec", distance), attached("SASRec", distance)
    sequences = recommender.sequences()
    rows = np.arange(len(sequences))
    starts = np.maximum(0, sequences.lengths - 6)
    batch = sequences.batch(rows, starts, sequences.lengths, 6)
    turn = torch.linspace(-0.5, 0.5, 8)
    block = "transformer_layers.transformer_blocks.0"
    with recommender.edit(lambda h: h + turn), recommender.edit(lambda h: 2 * h, block):
        theirs = recommended(model, list(sequences.users), dataset())
        scores = recommender.score(batch)
    best = (-scores[:, 1:]).argsort(dim=1, stable=True)[:, :10] + 1
    for user, items in zip(sequences.users, best.tolist(), strict=True):
        mine = [recommender.catalog.external_ids[i] for i in items]
        assert mine == theirs.loc[theirs["user_id"] == user, "item_id"].astype(str).tolist()


def test_padding_is_not_edited():
    recommender = attached()
    seen = []
    batch = pad([[3, 1], [9, 8, 7, 6, 5, 4]], 6)

    def edit(states):
        seen.append(len(states))
        return states

    with recommender.edit(edit, "transformer_layers.transformer_blocks.1.feed_forward"):
        recommender.score(batch)
    with recommender.edit(edit):
        recommender.score(batch)
    assert seen == [8, 2]


def test_states_of_the_last_position_do_not_keep_the_others_in_memory():
    recommender = attached()
    states = recommender.represent(pad([[3, 1], [9, 8, 7, 6, 5, 4]], 6))
    assert states.untyped_storage().nbytes() == states.numel() * 4
