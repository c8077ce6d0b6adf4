"""Which concepts come back: halves of the users, and concepts that were planted."""

import json

import numpy as np
import pytest

from helpers import toy
from helpers.runs import copy_of, planted
from recsae.capture.store import SEQUENCE, STATES
from recsae.core import columns as C
from recsae.core.errors import NotEnoughData
from recsae.pipeline.stages import stability
from recsae.pipeline.stages.stability import half_of, stability_stage
from recsae.run.record import Run
from recsae.run.workspace import Workspace

pytestmark = pytest.mark.end_to_end


# -- halves of the users ---------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    rng = np.random.default_rng(0)
    sequence = np.sort(rng.integers(0, 60, 500))
    return toy.store(tmp_path, rng.normal(size=(500, 3)), shard=130, sequence=sequence)


def test_halves_are_whole_users_and_together_everybody(store):
    users = np.array([f"u{i}" for i in range(60)], dtype=object)
    halves = [half_of(store, users, half) for half in (0, 1)]
    sequences = [set(half.column(SEQUENCE).tolist()) for half in halves]
    assert not sequences[0] & sequences[1]
    assert sequences[0] | sequences[1] == set(store.column(SEQUENCE).tolist())
    assert 20 < len(sequences[0]) < 40
    assert sum(map(len, halves)) == len(store)
    for half, rows in zip(halves, sequences, strict=True):
        mine = np.isin(store.column(SEQUENCE), sorted(rows))
        np.testing.assert_array_equal(half.column(STATES), store.column(STATES)[mine])
        np.testing.assert_allclose(
            half.moments().mean, store.column(STATES)[mine].mean(0), rtol=1e-5
        )
    assert len({store.fingerprint, *(half.fingerprint for half in halves)}) == 3


def test_halves_follow_users_not_rows(store):
    users = np.array([f"u{i}" for i in range(60)], dtype=object)
    one = set(users[np.unique(half_of(store, users, 0).column(SEQUENCE))])
    back = set(users[::-1][np.unique(half_of(store, users[::-1], 0).column(SEQUENCE))])
    assert one == back


# -- concepts that were planted --------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory, planted_run):
    return copy_of(planted_run, tmp_path_factory.mktemp("stability") / "run")


@pytest.fixture(scope="module")
def said():
    return []


@pytest.fixture(scope="module")
def work(folder, said):
    return Workspace(Run(folder), planted(), lambda *told: said.append(told))


@pytest.fixture(scope="module")
def found(work):
    return stability_stage(work, 4).to_dict()


def of(found, among, level):
    (row,) = (r for r in found["summary"] if (r["among"], r["level"]) == (among, level))
    return row


def test_planted_concepts_come_back_in_every_seed_and_half(found, work):
    table = work.tested_dictionary.table
    back = {row["latent"]: row["back"] for row in found["latents"]}
    for genre in planted().concepts:
        latents = table[C.LATENT][table[C.ABOUT] == genre]
        assert max(back[latent]["activity"] for latent in latents) == 1
        assert max(back[latent]["label"] for latent in latents) >= 0.75
    assert of(found, "verified", "label")["every"] > 0.25  # also of those of a few items


def test_chance_has_no_direction_of_the_dictionary(found):
    assert of(found, "verified", "direction")["chance"] == 0
    by_label = of(found, "verified", "label")
    assert by_label["chance"] < by_label["halves"]
    medians = {d["name"]: d["median_cosine"] for d in found["dictionaries"]}
    assert max(medians, key=medians.get) != "chance"
    assert 0 < medians["chance"] < 0.9


def test_every_dictionary_is_there_and_json_can_hold_all(found, work):
    kinds = [(d["name"], d["kind"]) for d in found["dictionaries"]]
    assert kinds == [
        ("half-1", "halves"),
        ("half-2", "halves"),
        ("seed-1", "seeds"),
        ("seed-2", "seeds"),
        ("chance", "chance"),
    ]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert [row["latent"] for row in found["latents"]] == list(range(work.sae.n_latents))
    assert [row["name"] for row in found["latents"]] == work.dictionary.table[C.NAME].tolist()


def test_a_label_that_comes_back_is_active_alike(found):
    for row in found["latents"]:
        assert row["back"]["label"] <= row["back"]["activity"]
        near = [c > found["thresholds"]["cosine"] for c in row["cosine"].values()]
        assert row["back"]["direction"] == np.mean(near)


def test_progress_names_the_dictionary(found, said):
    told = {what.split(":")[0] for _, _, what in said}
    assert {"seed-1", "seed-2", "half-1", "half-2"} <= told


def test_a_second_call_trains_nothing_and_says_the_same(found, folder, monkeypatch):
    def refuse(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr("recsae.sae.train._train", refuse)
    assert stability_stage(Workspace(Run(folder), planted(), None), 4).to_dict() == found


def test_what_cannot_be_trained_is_left_out_with_the_reason(found, work, monkeypatch):
    train = stability.train_sae

    def fail(store, config, folder, **options):
        if folder.name == "half-2":
            raise NotEnoughData("3 hidden states are too few.")
        return train(store, config, folder, **options)

    monkeypatch.setattr(stability, "train_sae", fail)
    again = stability_stage(work, 3).to_dict()
    assert again["skipped"] == {"half-2": "3 hidden states are too few."}
    assert [d["name"] for d in again["dictionaries"]] == ["half-1", "seed-1", "chance"]
    assert of(again, "latents", "direction")["halves"] == pytest.approx(
        np.mean([row["cosine"]["half-1"] > 0.9 for row in found["latents"]])
    )
