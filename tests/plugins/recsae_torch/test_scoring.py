"""Forwards end behind what is asked for, and scores come in parts that fit in memory."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

import recsae_torch
from recsae.recommender.sequences import pad
from recsae.testing import PlantedRecommender

DATA = PlantedRecommender(n_users=60, n_items=60, n_concepts=4, width=8)
IDS = {item: i for i, item in enumerate(DATA.catalog.external_ids) if i}
HISTORIES = {
    user: [DATA.catalog.external_ids[i] for i in DATA.sequences()[row]]
    for row, user in enumerate(DATA.sequences().users)
}
LONGEST = 12
BATCH = pad([[5, 9], [7, 3, 4, 8], [1]], LONGEST)


class Counting(nn.Module):
    """Scores after every item; counts how often it makes them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.items = nn.Embedding(1 + len(IDS), 8, padding_idx=0)
        self.gru, self.top = nn.GRU(8, 8, batch_first=True), nn.Linear(8, 8)
        self.scored = 0
        self.largest = 0

    def forward(self, items):
        states = self.top(self.gru(self.items(items))[0])
        self.scored += 1
        self.largest = max(self.largest, len(items))
        return states @ self.items.weight.T


class Guarded(Counting):
    """Catches whatever happens in its own forward."""

    def forward(self, items):
        try:
            return super().forward(items)
        except BaseException:
            return torch.zeros(*items.shape, 1 + len(IDS))


def attach(model, **options):
    return recsae_torch.attach(
        model,
        histories=HISTORIES,
        item_ids=IDS,
        max_length=LONGEST,
        make_batch=lambda lists: pad_sequence([torch.tensor(x) for x in lists], batch_first=True),
        **{"site": "top", **options},
    )


def plain(model):
    scores = model(BATCH.items)
    return scores[torch.arange(len(scores)), BATCH.lengths - 1]


def test_states_are_read_without_scoring():
    recommender = attach(model := Counting())
    before = model.scored
    states = recommender.represent(BATCH, positions=True)
    assert model.scored == before
    by_hand = model.top(model.gru(model.items(BATCH.items))[0])
    assert torch.equal(states[0, :2], by_hand[0, :2])


def test_scores_of_the_last_position_are_the_models_own():
    """Made by the head, edits in place, where nothing else lies between it and the states."""
    recommender = attach(model := Counting())
    before = model.scored
    scores = recommender.score(BATCH)
    with recommender.edit(lambda states: 2 * states):
        edited = recommender.score(BATCH)
    assert model.scored == before
    assert torch.allclose(scores[:, 1:], plain(model)[:, 1:], atol=1e-5)
    assert torch.allclose(edited[:, 1:], 2 * plain(model)[:, 1:], atol=1e-5)


def test_a_site_behind_the_states_is_not_passed_by():
    recommender = attach(model := Counting(), site="top.input", other_sites=("top",))
    assert recommender.linear_head() is not None
    with recommender.edit(lambda states: 0 * states, "top"):
        assert not recommender.score(BATCH)[:, 1:].any()
    before = model.scored
    recommender.score(BATCH)
    assert model.scored == before + 1


def test_a_model_that_cannot_be_left_half_way_is_run_to_its_end():
    recommender = attach(model := Guarded())
    before = model.scored
    states = recommender.represent(BATCH)
    by_hand = model.top(model.gru(model.items(BATCH.items))[0])[:, 1][0]
    assert torch.equal(states[0], by_hand)
    assert model.scored in (before, before + 1)


@pytest.mark.parametrize("site", ["top", "gru"])
def test_scores_in_parts_are_those_at_once(site, monkeypatch):
    recommender = attach(model := Counting(), site=site)
    whole = recommender.scorer.scores(BATCH)
    n = recommender.scorer.n_outputs
    assert n >= LONGEST - 1
    monkeypatch.setattr("recsae_torch.scoring.SCORES_AT_ONCE", n)
    model.largest = 0
    assert torch.allclose(recommender.scorer.scores(BATCH), whole, atol=1e-6)
    assert model.largest == 1


def test_few_histories_are_tried_where_all_would_not_fit(monkeypatch):
    monkeypatch.setattr("recsae_torch.open.SCORES_AT_ONCE", 1)
    attach(model := Counting())
    assert model.largest == 8
