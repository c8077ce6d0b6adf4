"""A folder to share has no id of a user in any file, and stays so."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from helpers import runs
from helpers.runs import copy_of
from recsae.core import layout
from recsae.pipeline.plan import run_pipeline
from recsae.report import read_report, write_report
from recsae.report.sharing import Hidden, remembered
from recsae.sae.editing import Intervention
from recsae.steering.files import Steering, save_steering
from recsae.testing.planted import PlantedRecommender

PERSON = re.compile(rb"person-[0-9]+-end")


class People(PlantedRecommender):
    """The planted recommender with users whose ids are like nothing else."""

    def sequences(self):
        found = super().sequences()
        names = [f"person-{number}-end" for number in range(len(found))]
        return replace(found, users=np.array(names, dtype=object))


def make(folder):
    people = People(
        n_users=160, n_items=100, n_concepts=4, width=8, length=16, max_length=8, noise=0.1, seed=1
    )
    with runs.in_brief():
        run_pipeline(people, folder, runs.FEWER)
    steering = Steering([Intervention((0,), "set", 0.0)], ("person-3-end",), "a list of users")
    save_steering(steering, folder, folder / "steering" / "some.json")
    save_steering(
        steering._replace(users=None, cohort=None), folder, folder / "steering" / "all.json"
    )


@pytest.fixture
def run(tmp_path):
    return copy_of(runs.made_once("people", make), tmp_path / "run")


def files(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def with_ids(folder):
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and PERSON.search(path.read_bytes())
    )


def test_a_folder_to_share_has_no_id_in_any_file(says, run, tmp_path):
    before, share = files(run), tmp_path / "share"
    said = says("report", run, "--redact-users", "--out", share)
    assert set(files(share)) == set(layout.SHARED)
    assert with_ids(share) == []
    assert {s.user for c in read_report(share).concepts.list for s in c.examples} >= {"user 1"}
    assert files(run) == before
    assert said == (
        f"Report: {share}/report.html\n"
        f"To share: {share}. No file of it has an id of a user.\n"
        f"Ids of users are still in {run}: report.json, turn.json, examples.parquet, "
        "counterexamples.parquet, active_cases.parquet, recommender/ids.parquet, "
        "steering/some.json; and the hidden states of single users, by their numbers, in "
        "activations and heldout.\n"
        "Long histories can tell who somebody is: --max-history N cuts them.\n"
    )


def test_what_the_run_holds_is_all_named(run):
    """The list that the command prints is what a search of every file finds."""
    from recsae.report.sharing import files_with_ids

    assert with_ids(run) == sorted([*files_with_ids(run), "report.html"])


def test_a_folder_that_was_shared_stays_without_ids(says, refuses, run, tmp_path):
    share = tmp_path / "share"
    says("report", run, "--redact-users", "--out", share)
    before = files(share)
    (share / "report.html").write_text("spoiled")
    said = says("report", share)
    assert files(share) == before
    assert "still in" not in said
    assert "made to be shared" in refuses("report", share, "--show-users", code=2)
    says("report", run, "--redact-users", "--out", share)  # made anew in its place
    assert files(share) == before
    says("report", run, "--redact-users", "--max-history", 2, "--out", share)
    shorter = files(share)
    assert shorter != before
    says("report", run, "--redact-users", "--out", share)
    assert files(share) == shorter


def test_the_choice_for_a_run_is_remembered(says, run):
    says("report", run, "--redact-users", "--max-history", 2)
    chosen = files(run)
    for name in ("report.html", "card.md", "concepts.csv"):
        assert not PERSON.search(chosen[name])
    said = says("report", run)
    assert files(run) == chosen
    assert "A folder without ids: recsae report" in said
    write_report(read_report(run), run)  # as the pipeline does where a stage is done again
    assert files(run) == chosen
    says("report", run, "--show-users")
    assert PERSON.search(files(run)["report.html"])
    assert not (run / layout.HIDDEN).exists()


def test_long_histories_are_cut_to_their_end(says, run, tmp_path):
    share = tmp_path / "share"
    whole = read_report(run)
    assert max(len(s.items) for c in whole.concepts.list for s in c.examples) > 3
    said = says("report", run, "--redact-users", "--max-history", 3, "--out", share)
    assert "Long histories" not in said
    for old, new in zip(whole.concepts.list, read_report(share).concepts.list, strict=True):
        for kind in ("examples", "counterexamples"):
            histories = [one.items for one in getattr(old, kind)]
            assert [one.items for one in getattr(new, kind)] == [h[-3:] for h in histories]
    says("report", share, "--max-history", 1)
    shown = [s.items for c in read_report(share).concepts.list for s in c.examples]
    assert {len(items) for items in shown} == {1}


def test_names_that_people_gave_are_in_the_folder_to_share(says, run, tmp_path):
    (run / "corrections.toml").write_text('[rename]\n0 = "Seen by a person"\n')
    says("report", run, "--redact-users", "--out", tmp_path / "share")
    says("report", tmp_path / "share")
    concepts = read_report(tmp_path / "share").concepts.list
    assert [c.latent for c in concepts if c.name == "Seen by a person"] == [0]
    assert "Seen by a person" in (tmp_path / "share" / "concepts.csv").read_text()


def test_what_cannot_be_shared_is_refused_and_nothing_is_left(refuses, run, tmp_path):
    share = tmp_path / "share"
    assert "give --redact-users with --out" in refuses("report", run, "--out", share, code=2)
    assert not share.exists()
    where = ("--redact-users", "--out")
    assert "the run's own folder" in refuses("report", run, *where, run, code=2)
    share.mkdir()
    (share / "notes.txt").write_text("mine")
    assert "other files in it, such as 'notes.txt'" in refuses("report", run, *where, share, code=2)
    assert "is a file" in refuses("report", run, *where, share / "notes.txt", code=2)
    assert list(files(share)) == ["notes.txt"]


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"users": 1}', '{"max_history": -1}', '{"max_history": true}', '{"x": 1}']
)
def test_a_choice_that_cannot_be_read_is_not_taken_for_none(says, refuses, run, text):
    before = (run / "report.html").read_bytes()
    (run / layout.HIDDEN).write_text(text)
    assert "hidden.json is damaged" in refuses("report", run, code=3)
    assert (run / "report.html").read_bytes() == before
    says("report", run, "--redact-users")
    assert remembered(run) == Hidden(users=True)


def test_the_choice_is_read_as_it_was_written(run):
    assert remembered(run) == Hidden()
    (run / layout.HIDDEN).write_text(json.dumps(Hidden(True, 3, False)._asdict()))
    assert remembered(run) == Hidden(True, 3, False)
