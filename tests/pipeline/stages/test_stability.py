"""Which concepts come back: shares by hand, halves of the users, and concepts that were planted."""

import json

import numpy as np
import pytest

from helpers import toy
from helpers.runs import copy_of, planted, planted_run
from recsae.capture.store import SEQUENCE, STATES
from recsae.core import columns as C
from recsae.core.errors import NotEnoughData
from recsae.pipeline.stages import stability
from recsae.pipeline.stages.stability import (
    LEVELS,
    Beside,
    half_of,
    of_latents,
    of_names,
    shares,
    stability_stage,
)
from recsae.run.record import Run
from recsae.run.workspace import Workspace

# -- shares by hand --------------------------------------------------------------------------------

NAMES = np.array(["Horror", "Horror", "Drama", "1990s"], dtype=object)
VERIFIED = np.array([0, 1, 2])
KINDS = {"seed-1": "seeds", "seed-2": "seeds", "half-1": "halves", "chance": "chance"}


def beside(*back):
    """A dictionary in which these latents come back, at every level."""
    found = np.isin(np.arange(4), back)
    return Beside(
        np.where(found, 0.95, 0.5), np.where(found, 0.8, 0.1), dict.fromkeys(LEVELS, found)
    )


OTHERS = {
    "seed-1": beside(0, 2),
    "seed-2": beside(1),
    "half-1": beside(0, 1, 2),
    "chance": beside(),
}
AGAIN = {name: other for name, other in OTHERS.items() if name != "chance"}


@pytest.mark.parametrize(
    ("among", "n", "seeds", "halves", "every"),
    [
        ("latents", 4, (2 + 1) / 8, 3 / 4, 0),
        ("verified", 3, (2 + 1) / 6, 1, 0),
        ("names", 2, (2 + 1) / 4, 1, 1 / 2),  # Horror comes back in both seeds, on other latents
    ],
)
def test_shares_by_hand(among, n, seeds, halves, every):
    rows = [row for row in shares(NAMES, VERIFIED, OTHERS, KINDS) if row["among"] == among]
    assert [row["level"] for row in rows] == list(LEVELS)
    for row in rows:
        assert row["n"] == n
        assert [row[key] for key in ("seeds", "halves", "every")] == pytest.approx(
            [seeds, halves, every]
        )
        assert row["chance"] == 0


def test_what_was_not_compared_has_no_share():
    rows = shares(NAMES, VERIFIED, {"chance": beside(0)}, KINDS)
    assert all(row["seeds"] is None and row["halves"] is None for row in rows)
    assert all(row["every"] is None for row in rows)
    none_verified = shares(NAMES, np.zeros(0, dtype=np.int64), OTHERS, KINDS)
    assert {row["seeds"] for row in none_verified if row["among"] != "latents"} == {None}


def test_latents_by_hand():
    first, _, third, last = of_latents(NAMES, AGAIN)
    assert (first["latent"], first["name"]) == (0, "Horror")
    assert first["back"]["label"] == pytest.approx(2 / 3)
    assert first["cosine"] == {"seed-1": 0.95, "seed-2": 0.5, "half-1": 0.95}
    assert not first["stable"]
    assert third["correlation"] == {"seed-1": 0.8, "seed-2": 0.1, "half-1": 0.8}
    assert last["back"] == dict.fromkeys(LEVELS, 0)


def test_a_latent_is_stable_if_its_label_comes_back_everywhere():
    again = {"seed-1": beside(0, 1), "half-1": beside(1, 2)}
    assert [row["stable"] for row in of_latents(NAMES, again)] == [False, True, False, False]
    everything_but_the_label = dict.fromkeys(LEVELS, np.ones(4, dtype=bool))
    everything_but_the_label["label"] = np.zeros(4, dtype=bool)
    again["half-1"] = Beside(np.ones(4), np.ones(4), everything_but_the_label)
    assert not any(row["stable"] for row in of_latents(NAMES, again))
    assert of_latents(NAMES, {}) == []


def test_names_by_hand():
    rows = of_names(NAMES, VERIFIED, AGAIN)
    assert [(row["name"], row["n_latents"]) for row in rows] == [("Horror", 2), ("Drama", 1)]
    assert [row["back"]["name"] for row in rows] == pytest.approx([1, 2 / 3])


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
        np.testing.assert_allclose(half.mean(), store.column(STATES)[mine].mean(0), rtol=1e-5)
    assert len({store.fingerprint, *(half.fingerprint for half in halves)}) == 3


def test_halves_follow_users_not_rows(store):
    users = np.array([f"u{i}" for i in range(60)], dtype=object)
    one = set(users[np.unique(half_of(store, users, 0).column(SEQUENCE))])
    back = set(users[::-1][np.unique(half_of(store, users[::-1], 0).column(SEQUENCE))])
    assert one == back


# -- concepts that were planted --------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return copy_of(planted_run(), tmp_path_factory.mktemp("stability") / "run")


@pytest.fixture(scope="module")
def said():
    return []


@pytest.fixture(scope="module")
def work(folder, said):
    return Workspace(Run(folder), planted(), lambda *told: said.append(told))


@pytest.fixture(scope="module")
def found(work):
    return stability_stage(work, n_seeds=2)


def of(found, among, level):
    (row,) = (r for r in found["summary"] if (r["among"], r["level"]) == (among, level))
    return row


def test_planted_names_come_back_in_every_seed_and_half(found):
    back = {row["name"]: row["back"] for row in found["names"]}
    for genre in planted().concepts:  # one of the four may call it "Action or ..."
        assert back[genre]["activity"] == 1, genre
        assert back[genre]["name"] >= 0.75, genre
    assert of(found, "names", "direction")["every"] > 0.3


def test_chance_has_no_direction_of_the_dictionary(found):
    assert of(found, "verified", "direction")["chance"] == 0
    assert of(found, "verified", "label")["chance"] == 0
    medians = {d["name"]: d["median_cosine"] for d in found["dictionaries"]}
    assert max(medians, key=medians.get) != "chance"
    assert 0 < medians["chance"] < 0.9


def test_every_dictionary_is_there_and_json_can_hold_all(found, work):
    kinds = [(d["name"], d["kind"]) for d in found["dictionaries"]]
    assert kinds == [
        ("seed-1", "seeds"),
        ("seed-2", "seeds"),
        ("half-1", "halves"),
        ("half-2", "halves"),
        ("chance", "chance"),
    ]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert [row["latent"] for row in found["latents"]] == list(range(work.sae.n_latents))
    assert [row["name"] for row in found["latents"]] == work.dictionary.table[C.NAME].tolist()


def test_a_label_that_comes_back_has_its_direction_and_name(found):
    for row in found["latents"]:
        assert row["back"]["label"] <= min(row["back"]["direction"], row["back"]["name"])
        near = [c > found["thresholds"]["cosine"] for c in row["cosine"].values()]
        assert row["back"]["direction"] == np.mean(near)


def test_progress_names_the_dictionary(found, said):
    told = {what.split(":")[0] for _, _, what in said}
    assert {"seed-1", "seed-2", "half-1", "half-2"} <= told


def test_a_second_call_trains_nothing_and_says_the_same(found, folder, monkeypatch):
    def refuse(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr("recsae.sae.train._train", refuse)
    assert stability_stage(Workspace(Run(folder), planted(), None), n_seeds=2) == found


def test_what_cannot_be_trained_is_left_out_with_the_reason(found, work, monkeypatch):
    train = stability.train_sae

    def fail(store, config, folder, progress):
        if folder.name == "half-2":
            raise NotEnoughData("3 hidden states are too few.")
        return train(store, config, folder, progress=progress)

    monkeypatch.setattr(stability, "train_sae", fail)
    again = stability_stage(work, n_seeds=1)
    assert again["skipped"] == {"half-2": "3 hidden states are too few."}
    assert [d["name"] for d in again["dictionaries"]] == ["seed-1", "half-1", "chance"]
    assert of(again, "latents", "direction")["halves"] == pytest.approx(
        np.mean([row["cosine"]["half-1"] > 0.9 for row in found["latents"]])
    )
