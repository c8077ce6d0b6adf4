"""A run opened again and its concepts turned: lists and metrics before and after."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch

from helpers.runs import (
    checkpoint,
    copy_of,
    planted,
    planted_open,
    planted_top,
    relabelled,
)
from helpers.toy import UserTable, catalog, sequences
from recsae.concepts.attributes.names import HALF, UPPER
from recsae.concepts.attributes.table import ItemAttributes
from recsae.concepts.dictionary import ConceptDictionary
from recsae.core import columns as C
from recsae.core.errors import ArtifactMismatch, InvalidInput
from recsae.core.files import read_json, write_json
from recsae.recommender.sequences import pad, split_users
from recsae.run.open import open_workspace
from recsae.run.record import Run
from recsae.sae.config import make_config
from recsae.sae.editing import Intervention, make_edit
from recsae.sae.model import SAE
from recsae.sae.statistics import Statistics
from recsae.steering.effects import metrics_before_after
from recsae.steering.files import Steering
from recsae.steering.lists import lists_before_after
from recsae.steering.parse import read_interventions, targets_of

pytestmark = [pytest.mark.end_to_end, pytest.mark.recbole]


GENRE = "Comedy"


@pytest.fixture
def opened():
    return planted_open()


def shown(items):
    catalog = planted().catalog
    return [f"{catalog.titles[i]} ({catalog.external_ids[i]})" for i in items]


# -- one list --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [False, True])
def test_a_users_list_before_and_after(opened, mask):
    steps = read_interventions(opened, (f"{GENRE}=4",))
    record = lists_before_after(opened, Steering(steps), "u17", None, mask_seen=mask).to_dict()
    history = planted().sequences()[17][:-1].tolist()
    seen = history if mask else []
    before, after = (
        planted_top(history, None, seen),
        planted_top(history, make_edit(opened.sae, steps), seen),
    )
    assert [row["before"] for row in record["table"]] == shown(before)
    assert [row["after"] for row in record["table"]] == shown(after)
    assert [row["place"] for row in record["table"]] == list(range(1, 11))
    expected = [before.index(i) + 1 if i in before else None for i in after]
    assert [row["was"] for row in record["table"]] == expected
    assert record["history"] == [planted().catalog.titles[i] for i in history[-9:]]
    assert record["changed"] == [f"{GENRE}: set to 4 for everybody"]
    assert before != after
    assert bool(set(before) & set(history)) is not mask


def test_a_sequence_typed_in(opened):
    catalog = planted().catalog
    text = f"i5, {catalog.titles[9]}, i230"
    record = lists_before_after(
        opened, Steering(read_interventions(opened, ("3=off",))), None, text, mask_seen=True
    ).to_dict()
    assert record["history"] == [catalog.titles[i] for i in (5, 9, 230)]
    assert [row["before"] for row in record["table"]] == shown(
        planted_top([5, 9, 230], None, (5, 9, 230))
    )


def test_the_same_for_a_user_and_for_what_the_user_saw(opened):
    """The user's last item is what the model's own test asks for, so it is left out."""
    steps = read_interventions(opened, (f"{GENRE}=0",))
    ids = ",".join(f"i{i}" for i in planted().sequences()[3][:-1])
    by_user = lists_before_after(opened, Steering(steps), "u3", None, mask_seen=False)
    assert by_user == lists_before_after(opened, Steering(steps), None, ids, mask_seen=False)


def test_afterwards_the_model_is_as_before(opened):
    batch = pad([[1, 2, 3]], 10)
    before = planted().score(batch)
    lists_before_after(
        opened, Steering(read_interventions(opened, ("2=9",))), "u1", None, mask_seen=False
    )
    metrics_before_after(opened, Steering(read_interventions(opened, ("2=9",))))
    assert torch.equal(planted().score(batch), before)


def test_unknown_users_items_and_concepts(opened):
    with pytest.raises(InvalidInput, match=r"No user has the id 'u4oo'\. Did you mean"):
        lists_before_after(opened, Steering([]), "u4oo", None, mask_seen=False)
    with pytest.raises(InvalidInput, match="No item has the id or title 'i999'"):
        lists_before_after(opened, Steering([]), None, "i1,i999", mask_seen=False)
    with pytest.raises(InvalidInput, match=f"named 'Comdy'. Did you mean '{GENRE}'"):
        read_interventions(opened, ("Comdy=0",))


# -- a model that keeps a state per user -----------------------------------------------------------


@pytest.fixture
def of_users():
    """Two users who like high numbers and low numbers, and two latents, one of each kind."""
    table = [[9, 9], *([i, -i] for i in range(1, 9))]
    histories = sequences([8, 7, 3, 6, 1], [2, 1, 2, 4])
    model = UserTable(histories, [3, 2], [[0, 0], [1, 0], [0, 1]], table)
    sae = SAE(make_config(n_latents=2, k=2), 2)
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(2))
        sae.W_dec.copy_(torch.eye(2))
    names = ConceptDictionary(pd.DataFrame({C.LATENT: [0, 1], C.NAME: ["high", "low"]}), None)
    return SimpleNamespace(
        recommender=model,
        sae=sae,
        dictionary=names,
        attributes=ItemAttributes(scipy.sparse.csr_matrix((9, 0)), ()),
        statistics=Statistics(np.ones(2), np.ones((2, 41))),
        site=None,
        head=model.linear_head(),
    )


@pytest.mark.parametrize("mask", [False, True])
def test_a_users_list_is_made_of_what_was_learned_and_leaves_it_out(of_users, mask):
    swap = [Intervention((0,), "set", 0.0), Intervention((1,), "set", 1.0)]
    record = lists_before_after(of_users, Steering(swap), "u0", None, mask_seen=mask).to_dict()
    assert record["history"] == [catalog().titles[i] for i in (8, 7, 3)]
    ids = [f"({catalog().external_ids[i]})" for i in (6, 5, 4, 2, 1)]
    assert [row["before"].split()[-1] for row in record["table"]] == ids
    assert [row["after"].split()[-1] for row in record["table"]] == ids[::-1]


def test_a_model_of_users_reads_no_sequence(of_users):
    with pytest.raises(InvalidInput, match="UserTable keeps one state for each user and reads no"):
        lists_before_after(of_users, Steering([]), None, "m1,m2", mask_seen=False)


def test_nothing_known_of_a_user_is_no_crash(of_users):
    of_users.recommender._sequences = dataclasses.replace(
        of_users.recommender.sequences(), learned=np.array([0, 2])
    )
    record = lists_before_after(of_users, Steering([]), "u0", None, mask_seen=False).to_dict()
    assert record["history"] == [catalog().titles[8]]


# -- what a concept is about -----------------------------------------------------------------------


def test_both_parts_of_a_pair_are_targets(opened):
    popular = {C.SECOND_ATTRIBUTE: HALF, C.SECOND_VALUE: UPPER}
    other = relabelled(opened, **{C.ATTRIBUTE: "genre", C.VALUE: GENRE}, **popular)
    targets = targets_of(other, Intervention((1,), "set", 0.0))
    assert list(targets) == [GENRE, "more popular half"]
    cells = planted().catalog.frame["genre"]
    assert targets[GENRE].tolist() == [GENRE in values for values in cells]


def test_a_name_stands_for_its_verified_latents(opened):
    (step,) = read_interventions(opened, (f"{GENRE}=0",))
    table = opened.dictionary.table
    named = set(table.loc[table[C.NAME] == GENRE, C.LATENT])
    assert set(step.latents) == named & set(opened.verified.tolist())


# -- opening a run again ---------------------------------------------------------------------------


def test_opened_again_it_is_the_model_of_the_run(recbole_run):
    pytest.importorskip("recbole")
    run = open_workspace(recbole_run)
    assert run.recommender.fingerprint() == Run(recbole_run).record["model"]
    assert run.sae.n_latents == run.sae.n_gates + 128
    assert len(run.dictionary.table) == run.sae.n_latents
    assert set(run.verified) <= set(range(run.sae.n_latents))


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        ("unfinished", "is not finished: run the same command again"),
        ("source changed", "is gone or has changed since the run"),
        ("source gone", "is gone or has changed since the run"),
        ("model", "is not the one of the run"),
        ("sae", r"sae\.safetensors is not as the run left it"),
        ("flipped bit", r"sae\.safetensors is not as the run left it"),
        ("scores", r"scores\.parquet is not as the run left it"),
        ("concepts", r"concepts\.parquet is not as the run left it"),
    ],
)
def test_a_run_that_cannot_be_opened_again(spoil, match, tmp_path, recbole_run):
    pytest.importorskip("recbole")
    folder = copy_of(recbole_run, tmp_path / "run")
    record = read_json(folder / "run.json")
    if spoil == "unfinished":
        del record["stages"]["scoring"]
    elif spoil == "source changed":
        record["sources"][str(checkpoint())] = "0" * 64
    elif spoil == "source gone":
        record["sources"][str(tmp_path / "gone.csv")] = "0" * 64
    elif spoil == "model":
        record["model"] = "0" * 64
    elif spoil == "sae":
        (folder / "sae/sae.safetensors").write_bytes(b"")
    elif spoil == "flipped bit":
        weights = bytearray((folder / "sae/sae.safetensors").read_bytes())
        weights[-1] ^= 64
        (folder / "sae/sae.safetensors").write_bytes(weights)
    else:
        (folder / f"{spoil}.parquet").write_bytes(b"PAR1")
    write_json(folder / "run.json", record)
    with pytest.raises(ArtifactMismatch, match=match):
        open_workspace(folder)


def test_a_run_made_from_a_model_in_memory_cannot_be_opened_from_its_folder(planted_run):
    with pytest.raises(InvalidInput, match=r"a model in memory.* in Python, use recsae\.steer"):
        open_workspace(planted_run)


# -- for some users --------------------------------------------------------------------------------


def test_only_the_cohort_is_steered_and_measured(opened):
    steps = read_interventions(opened, ("3=9",))
    sequences = opened.recommender.sequences()
    held = [str(u) for u in sequences.users[split_users(sequences)]]
    cohort = Steering(steps, tuple(held[:7]))
    inside = lists_before_after(opened, cohort, held[0], None, mask_seen=False)
    assert inside == lists_before_after(opened, Steering(steps), held[0], None, mask_seen=False)
    outside = lists_before_after(opened, cohort, held[8], None, mask_seen=False).to_dict()
    assert outside["changed"] == []
    assert next(iter(outside.items())) == (
        "nothing changes",
        f"the steering is for other users: {held[8]} is not among them",
    )
    assert "nothing changes" not in inside.to_dict()
    assert [row["before"] for row in outside["table"]] == [r["after"] for r in outside["table"]]


# -- what moved an item ----------------------------------------------------------------------------


def test_which_latent_moved_an_item(of_users):
    """u0 has z = (1, 0) and item i scores i in "high", -i in "low"; the mean over items is 4.5.
    Without "high" item 6 loses 6 - 4.5, and "low" at 1 takes as much again."""
    both = Steering([Intervention((0,), "set", 0.0), Intervention((1,), "set", 1.0)])
    record = lists_before_after(of_users, both, "u0", None, mask_seen=False).to_dict()
    by = {row["after"].split("(m")[1]: row["by"] for row in record["table"]}
    assert by["1)"] == "high (0) +3.50, low (1) +3.50"
    assert by["6)"] == "high (0) -1.50, low (1) -1.50"


def test_items_that_left_a_list_are_named_with_what_lowered_them(opened):
    steering = Steering(read_interventions(opened, ("3=9",)))
    record = lists_before_after(opened, steering, "u17", None, mask_seen=False).to_dict()
    after = {row["after"] for row in record["table"]}
    before = [row["before"] for row in record["table"]]
    left = [text.rsplit(" (", 1)[0] for text in before if text not in after]
    assert left == [row["item"] for row in record["left the list"]]
    assert left
    assert all("(3) -" in row["by"] or not row["by"] for row in record["left the list"])


def test_without_a_head_nothing_is_said_of_what_moved_an_item(opened, monkeypatch):
    monkeypatch.setattr(opened.recommender, "linear_head", lambda: None, raising=False)
    record = lists_before_after(
        opened, Steering(read_interventions(opened, ("3=9",))), "u17", None, mask_seen=False
    ).to_dict()
    assert all("by" not in row for row in record["table"] + record["left the list"])
