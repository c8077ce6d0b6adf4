"""Sites inside models: held against runs of the models' own modules, one after another."""

import functools

import numpy as np
import pytest
import torch

pytest.importorskip("recbole")

from helpers.recbole_kit import FOLDER, other_weights, small_checkpoint
from recsae.capture.fill import capture
from recsae.recommender.sequences import pad
from recsae_recbole.open import open_checkpoint

pytestmark = pytest.mark.recbole


@functools.cache
def attached(model):
    path = small_checkpoint(FOLDER / f"inner-{model}.pth", model, change=other_weights)
    return open_checkpoint(path, trust=True)


def some_batch(recommender):
    """Sequences of one to six items, six being all that these models read."""
    sequences = recommender.sequences()
    rows = np.arange(12)
    return sequences.batch(rows, 0 * rows, 1 + rows % 5 + (rows == 4), recommender.max_length)


def inner(model):
    """Names of the sites inside."""
    return [site.name for site in attached(model).sites()[1:]]


def two_and_one(states):
    return 2 * states + 1


# -- which there are -----------------------------------------------------------------------------


def names_of(encoder, attention):
    parts = ("", f".{attention}.dense", ".feed_forward.dense_2")
    return [f"{encoder}.layer.{block}{part}" for block in (0, 1) for part in parts]


def meanings_of(encoder):
    parts = ("output of {}", "what attention of {} adds", "what the feed-forward layer of {} adds")
    return [part.format(f"block {block} of {encoder}") for block in (0, 1) for part in parts]


@pytest.mark.parametrize(
    ("model", "names", "meanings"),
    [
        ("SASRec", names_of("trm_encoder", "multi_head_attention"), meanings_of("trm_encoder")),
        ("GRU4Rec", ["gru_layers"], ["output of the GRU gru_layers"]),
        ("LightSANs", names_of("trm_encoder", "multi_head_attention"), meanings_of("trm_encoder")),
        ("FEARec", names_of("item_encoder", "hybrid_attention"), meanings_of("item_encoder")),
        (
            "FDSA",
            names_of("item_trm_encoder", "multi_head_attention")
            + names_of("feature_trm_encoder", "multi_head_attention"),
            meanings_of("item_trm_encoder") + meanings_of("feature_trm_encoder"),
        ),
        ("STAMP", [], []),
        ("BPR", [], []),
    ],
)
def test_names_and_order(model, names, meanings):
    sites = attached(model).sites()[1:]
    assert [site.name for site in sites] == names
    assert [site.meaning for site in sites] == meanings
    causal = model in ("SASRec", "GRU4Rec", "FDSA")
    assert all(site.every_position == causal for site in sites)
    assert not any(site.per_user for site in sites)
    assert {site.width for site in sites} <= {8, 128}  # GRU4Rec's hidden size is 128 by default


def test_shares():
    """What a block gives is all that is behind it; of two encoders' blocks each is a part."""
    shares = {site.name: site.share for site in attached("SASRec").sites()}
    assert [shares[f"trm_encoder.layer.{block}"] for block in (0, 1)] == [1, 1]
    of_parts = [share for name, share in shares.items() if name.count(".") > 2]
    assert len(of_parts) == 4
    assert all(0 <= share < 0.9 for share in of_parts)
    two = {site.name: site.share for site in attached("FDSA").sites()}
    assert two["sequence"] == 1
    assert max(two[f"{encoder}_trm_encoder.layer.1"] for encoder in ("item", "feature")) < 0.9


# -- states by hand ------------------------------------------------------------------------------


def embedded(model, items):
    """What SASRec's first block is given."""
    position = model.position_embedding(torch.arange(items.shape[1]))
    return model.LayerNorm(model.item_embedding(items) + position)


@torch.no_grad()
def test_states_of_sasrec_are_those_of_its_own_modules():
    recommender = attached("SASRec")
    model, batch = recommender.model, some_batch(recommender)
    last = (torch.arange(12), batch.lengths - 1)
    states = recommender.represent_sites(batch, inner("SASRec"), positions=True)
    mask, given = model.get_attention_mask(batch.items), embedded(model, batch.items)
    for block in (0, 1):
        name, layer = f"trm_encoder.layer.{block}", model.trm_encoder.layer[block]
        attention, forward = layer.multi_head_attention, layer.feed_forward
        between, after = attention(given, mask), layer(given, mask)
        assert torch.equal(states[name], after)
        added = states[f"{name}.multi_head_attention.dense"]
        torch.testing.assert_close(attention.LayerNorm(given + added), between)
        added = states[f"{name}.feed_forward.dense_2"]
        torch.testing.assert_close(forward.LayerNorm(between + added), after)
        given = after
    for name in inner("SASRec"):
        assert torch.equal(recommender.represent(batch, name), states[name][last])


@torch.no_grad()
def test_states_of_gru4rec_are_those_of_its_own_modules():
    recommender = attached("GRU4Rec")
    model, batch = recommender.model, some_batch(recommender)
    outputs, _ = model.gru_layers(model.item_embedding(batch.items))
    assert torch.equal(recommender.represent(batch, "gru_layers", positions=True), outputs)
    last = outputs[torch.arange(12), batch.lengths - 1]
    assert torch.equal(recommender.represent(batch, "gru_layers"), last)
    with recommender.edit(two_and_one, "gru_layers"):
        torch.testing.assert_close(recommender.represent(batch), model.dense(two_and_one(last)))


# -- edits by hand -------------------------------------------------------------------------------


@torch.no_grad()
def test_an_edit_of_the_first_block_goes_through_the_second():
    recommender = attached("SASRec")
    model, batch = recommender.model, some_batch(recommender)
    first, second = model.trm_encoder.layer
    mask = model.get_attention_mask(batch.items)
    states = first(embedded(model, batch.items), mask)
    real = (batch.items > 0)[..., None]
    changed = torch.where(real, two_and_one(states), states)
    last = second(changed, mask)[torch.arange(12), batch.lengths - 1]
    before = recommender.score(batch)
    with recommender.edit(two_and_one, "trm_encoder.layer.0"):
        after = recommender.score(batch)
        seen = recommender.represent(batch, "trm_encoder.layer.0", positions=True)
        torch.testing.assert_close(recommender.represent(batch), last)
    torch.testing.assert_close(after, last @ model.item_embedding.weight.T)
    assert (after - before).abs().max() > 1e-3
    assert torch.equal(seen, changed)
    assert torch.equal(recommender.score(batch), before)


def test_an_edit_of_the_last_block_is_one_of_the_representation():
    recommender = attached("SASRec")
    batch = some_batch(recommender)
    with recommender.edit(two_and_one, "trm_encoder.layer.1"):
        inside = recommender.score(batch)
    with recommender.edit(two_and_one):
        assert torch.equal(recommender.score(batch), inside)


def test_edits_of_several_sites_and_of_one_twice():
    """Each site has the edits of those before it in what it gives."""
    recommender = attached("SASRec")
    batch = some_batch(recommender)
    first, last = "trm_encoder.layer.0", "sequence"
    with recommender.edit(two_and_one, first):
        once = recommender.represent(batch)
    with recommender.edit(two_and_one, last), recommender.edit(two_and_one, first):
        torch.testing.assert_close(recommender.represent(batch, last), two_and_one(once))
    with recommender.edit(lambda h: 2 * h, first), recommender.edit(lambda h: h + 1, first):
        assert torch.equal(recommender.represent(batch), once)


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "LightSANs", "FEARec", "FDSA"])
def test_an_edit_that_changes_nothing(model):
    recommender = attached(model)
    batch = some_batch(recommender)
    before = recommender.score(batch)
    for name in inner(model):
        with recommender.edit(lambda h: h, name):
            assert torch.equal(recommender.score(batch), before)
        with recommender.edit(two_and_one, name):
            assert not torch.equal(recommender.score(batch), before)
        assert torch.equal(recommender.score(batch), before)


# -- capture -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "site"),
    [
        ("SASRec", "trm_encoder.layer.0"),
        ("SASRec", "trm_encoder.layer.0.multi_head_attention.dense"),
        ("GRU4Rec", "gru_layers"),
        ("LightSANs", "trm_encoder.layer.0"),
    ],
)
def test_captured_states_are_those_of_single_forwards(model, site, tmp_path):
    recommender = attached(model)
    sequences, length = recommender.sequences(), recommender.max_length
    short = np.flatnonzero(sequences.lengths <= length + 1)  # each fits into one window
    store = capture(recommender, short, tmp_path, site=site)
    assert len(store) == (sequences.lengths[short] - 1).sum()
    for row, position, state in zip(
        store.column("sequence"), store.column("position"), store.column("states"), strict=True
    ):
        alone = pad([sequences[row][: position + 1].tolist()], length)
        np.testing.assert_allclose(state, recommender.represent(alone, site)[0], atol=1e-5)
