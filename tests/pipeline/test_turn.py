"""What the page turns concepts with: the states, the items and the directions of the model."""

import base64

import numpy as np
import pytest
import torch

from helpers import runs
from recsae.core import columns as C
from recsae.pipeline import turn as module
from recsae.pipeline import turned_lists
from recsae.pipeline.turn import turn_data
from recsae.recommender.lists import top_of_scores
from recsae.report.schema.rounded import Rounded
from recsae.report.schema.turn import TurnData
from recsae.report.write import read_turn
from recsae.run.open import list_request
from recsae.sae.editing import Intervention, make_edit


@pytest.fixture(scope="module")
def opened():
    return runs.planted_open()


@pytest.fixture(scope="module")
def made(opened):
    return turn_data(opened)


def states_of(made):
    floats = np.frombuffer(base64.b64decode(made.states), "<f4")
    return torch.from_numpy(floats.reshape(len(made.samples), -1).copy())


@pytest.mark.parametrize(("kind", "error"), [("int8", 4e-3), ("int16", 2e-5), ("int24", 1e-7)])
def test_rounding_is_within_half_a_step(kind, error):
    matrix = np.random.default_rng(0).normal(size=(40, 7)) * 10.0 ** np.arange(-20, 20)[:, None]
    found = Rounded.of(matrix, kind).matrix()
    assert (np.abs(found - matrix) / np.abs(matrix).max(1, keepdims=True)).max() < error


def test_ends_of_the_range_and_zeros_survive_rounding():
    for kind in ("int8", "int16", "int24"):
        found = Rounded.of(np.array([[1.0, -1.0], [0.0, 0.0]]), kind).matrix()
        np.testing.assert_allclose(found, [[1, -1], [0, 0]], atol=1e-6)


@pytest.mark.parametrize(
    "change",
    [{"values": "AAAA"}, {"scales": "not base64!"}, {"n": 3}],
)
def test_arrays_of_another_size_are_refused(change):
    plain = Rounded.of(np.eye(2), "int16").model_dump()
    with pytest.raises(ValueError, match=r"an array (has|is not)"):
        Rounded.model_validate(plain | change)


def test_samples_are_held_out_users_as_steer_reads_them(opened, made):
    recommender, states = opened.recommender, states_of(made)
    rows = [recommender.sequences().row_of(one.user) for one in made.samples]
    assert opened.heldout_users[rows].all()
    assert len(set(rows)) == len(rows) == module.N_SAMPLES
    for state, one in zip(states, made.samples, strict=True):
        request = list_request(recommender, one.user, None, mask_seen=False)
        ids = recommender.catalog.external_ids
        assert one.items == [ids[i] for i in request.history]
        assert torch.equal(state[None], recommender.represent(request.batch))
        z = opened.sae.encode(state[None])[0]
        assert [j for j, _ in one.active] == torch.nonzero(z)[:, 0].tolist()
        assert [v for _, v in one.active] == pytest.approx(z[z != 0].tolist(), abs=1e-5)


def test_concepts_come_by_status_and_usefulness_without_the_dead(opened, made):
    scores = opened.label_scores.set_index(C.LATENT)
    assert set(made.latents) == set(scores.index[scores[C.STATUS] != "dead"])
    verified = scores.index[scores[C.STATUS] == "verified"]
    assert set(made.latents[: len(verified)]) == set(verified)
    worth = (scores[C.EXPLAINS] * scores[C.PRECISION].fillna(0))[made.latents[: len(verified)]]
    assert worth.is_monotonic_decreasing
    for latent, most in zip(made.latents, made.most, strict=True):
        assert most == pytest.approx(opened.statistics.quantile(latent, 1.0))


def lists_from(made, sample, latent, value):
    """The list that the page makes of its data, and the one of the model, as ids."""
    work = runs.planted_open()
    z = dict(made.samples[sample].active).get(latent, 0.0)
    direction = made.directions.matrix()[made.latents.index(latent)]
    state = states_of(made)[sample].double().numpy() + (value - z) * direction
    scores = made.vectors.matrix() @ state
    mine = [made.items[i] for i in np.argsort(-scores, kind="stable")[: made.list_length]]
    request = list_request(work.recommender, made.samples[sample].user, None, mask_seen=False)
    edit = make_edit(work.sae, [Intervention((latent,), "set", value)])
    with work.recommender.edit(edit):
        top = top_of_scores(work.recommender.score(request.batch), work.recommender.catalog, 10,
                            np.zeros(0, dtype=np.int64))  # fmt: skip
    return mine, [work.recommender.catalog.external_ids[i] for i in top]


def test_its_lists_are_those_of_the_steered_model(made):
    same = [
        mine == top
        for sample in range(0, len(made.samples), 5)
        for latent in made.latents[:4]
        for value in (0.0, 2.5, -1.5)
        for mine, top in [lists_from(made, sample, latent, value)]
    ]
    assert sum(same) >= 0.97 * len(same)
    agreement = made.agreement
    assert agreement.n_lists == module.N_TRIED * module.N_SAMPLES
    assert 0.99 * agreement.n_lists <= agreement.n_same <= agreement.n_same_items


def test_too_few_bits_are_noticed_and_more_are_taken(opened, monkeypatch):
    monkeypatch.setattr(turned_lists, "SAME", 2.0)  # nothing agrees that well
    assert turn_data(opened).vectors.kind == "int24"
    monkeypatch.setattr(turned_lists, "SAME", 0.0)
    short = turn_data(opened)
    assert short.vectors.kind == "int8"
    assert short.agreement.n_same < short.agreement.n_lists


def test_of_a_large_catalogue_what_comes_up_is_kept(opened, made, monkeypatch):
    monkeypatch.setattr(module, "MAX_ITEMS", 120)
    few = turn_data(opened)
    assert len(few.items) == 120
    assert set(few.items) < set(made.items)
    assert few.n_items == made.n_items == len(made.items)
    monkeypatch.setattr(module, "_items", lambda *_: np.arange(1, 121))
    assert few.agreement.n_same_items > 3 * turn_data(opened).agreement.n_same_items
    assert few.vectors.kind == made.vectors.kind
    shown = {item for one in few.samples for item in one.items}
    assert set(few.titles) == {*few.items, *shown}


def test_as_many_directions_as_there_is_room_for(opened, made, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 3 * 3 * opened.sae.width * 5)
    monkeypatch.setattr(module, "_items", lambda *_: np.arange(1, 40))
    assert turn_data(opened).latents == made.latents[:5]


def test_without_a_linear_head_there_is_nothing(opened):
    assert turn_data(runs.with_pieces(opened, head=None)) is None


def test_the_run_keeps_it(planted_run, made):
    kept = read_turn(planted_run)
    assert kept == made
    assert TurnData.model_validate_json(made.to_json()) == made
