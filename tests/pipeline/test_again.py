"""A run made again: what is done again, what a changed setting or a full disk leaves."""

import copy
import errno
import os
import re
from pathlib import Path

import pandas as pd
import pytest

from helpers.run_files import contents
from helpers.runs import CONFIG, FEWER, copy_of, planted, run_in_brief
from recsae.core.errors import ArtifactMismatch, InvalidInput, RecSAEError
from recsae.core.files import read_json, write_json
from recsae.core.llm.settings import LanguageSettings
from recsae.finished.loaded import load_run
from recsae.pipeline.plan import STAGES, run_pipeline
from recsae.run.record import Run
from recsae.testing.planted import PlantedRecommender

pytestmark = pytest.mark.end_to_end


class Redone:
    """Notes which stages would be done, and does none of them."""

    def __init__(self, patched):
        self.names = []
        real = Run.stage

        def stage(run, name, made_from, outputs, work):
            done = real(run, name, made_from, outputs, lambda: None)
            self.names += [name] if done else []
            return done

        patched.setattr(Run, "stage", stage)


@pytest.fixture
def redone(monkeypatch):
    return Redone(monkeypatch)


@pytest.fixture
def folder(tmp_path, planted_run):
    return copy_of(planted_run, tmp_path / "run")


@pytest.fixture
def small(tmp_path, small_run):
    return copy_of(small_run, tmp_path / "run")


CHANGED = FEWER.model_copy(update={"samples": 10_000})


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """Folder of a run that had these settings from the start."""
    folder = tmp_path_factory.mktemp("changed") / "run"
    run_in_brief(folder, CHANGED)
    return folder


LATER = [stage for stage in list(STAGES)[3:] if stage != "accuracy"]


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        ({}, []),
        ({"title_column": "title"}, LATER),
        ({"attribute_columns": ["genre"]}, LATER),
        ({"k": 4}, list(STAGES)[2:]),
        ({"activation": "jumprelu"}, list(STAGES)[2:]),
        ({"latents": 17}, list(STAGES)[2:]),
        ({"samples": 160_000}, list(STAGES)[2:]),
        ({"core": "statements"}, list(STAGES)[1:]),
        ({"seed": 1}, list(STAGES)),
        ({"construction_positions": 5000}, list(STAGES)),
        ({"heldout_positions": 500}, list(STAGES)),
    ],
)
def test_what_a_changed_setting_makes_again(change, stages, redone, folder):
    config = CONFIG.model_copy(update=change)
    run_pipeline(planted(), folder, config, replace=True)
    assert redone.names == stages
    assert Run(folder, config).is_finished(STAGES)


def knowing(recommender, path, jobs):
    """The recommender with what a file says of its users."""
    path.write_text(" ".join(jobs))
    users = recommender.sequences().users
    found = copy.copy(recommender)
    cells = [(jobs[i % len(jobs)],) for i in range(len(users))]
    found.user_table = lambda: pd.DataFrame({"job": cells}, index=list(users))
    return found


def test_labels_are_made_again_when_other_things_are_known_of_users(redone, folder, tmp_path):
    path = tmp_path / "users"
    for jobs, stages in ((["nurse"], LATER), (["nurse"], []), (["nurse", "cook"], LATER)):
        redone.names.clear()
        run_pipeline(knowing(planted(), path, jobs), folder, CONFIG)
        assert redone.names == stages


def test_all_is_made_again_when_a_file_among_the_sources_changes(redone, folder, tmp_path):
    path = tmp_path / "users"
    for jobs, stages in ((["nurse"], list(STAGES)), (["nurse"], []), (["cook"], list(STAGES))):
        redone.names.clear()
        recommender = knowing(planted(), path, jobs)
        recommender.sources = lambda: [str(path)]
        run_pipeline(recommender, folder, CONFIG)
        assert redone.names == stages


def test_an_unknown_activation_is_refused_before_anything_is_done(tmp_path):
    config = CONFIG.model_copy(update={"activation": "gelu"})
    with pytest.raises(InvalidInput, match=r"SAE activation: .*'gelu'"):
        run_pipeline(planted(), tmp_path / "run", config)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_second_run_touches_nothing_but_the_record(folder):
    def state():
        return {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in folder.rglob("*")}

    def no_work(*_):
        raise AssertionError("something was done")

    before = state()
    run_pipeline(planted(), folder, CONFIG, progress=no_work)
    changed = {p.name for p, s in state().items() if before[p] != s}
    assert changed == {"run.json", "run"} or changed == {"run.json"}


STAYS = re.compile(r"^(plain/|activations/.*\.safetensors$|heldout/.*\.safetensors$)")
"""Shards and SAEs that a stage finds whole."""


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("sae/cfg.json", ["train"]),
        ("sae/sae.safetensors", ["train"]),
        ("scores.parquet", ["scoring"]),
        ("activations/manifest.json", ["capture"]),
        ("report.html", ["report"]),
    ],
)
def test_a_damaged_file_is_made_anew(name, stages, small):
    """And only its stage is done again, because the result is the same."""
    good = (small / name).read_bytes()
    (small / name).write_bytes(good[: len(good) // 2])
    assert not Run(small, FEWER).is_finished(STAGES)
    mended = [p for p in small.rglob("*") if p.is_file()]
    before = {p: p.stat().st_mtime_ns for p in mended}
    run_in_brief(small, FEWER)
    assert Run(small, FEWER).is_finished(STAGES)
    record = read_json(small / "run.json")["stages"]
    written = {str(p.relative_to(small)) for p in mended if p.stat().st_mtime_ns != before[p]}
    outputs = {o for stage in stages for o in record[stage]["outputs"]}
    outputs -= {o for o in outputs if STAYS.search(o)}
    assert written - {"run.json"} == outputs
    if not name.endswith((".html", "cfg.json")):  # these tell the time
        assert (small / name).read_bytes() == good


def test_a_changed_setting_is_carried_through(small, changed):
    """To the very bits of a run that had it from the start."""
    before = read_json(small / "report.json")["sae"]["n_activations_seen"]
    run_in_brief(small, CHANGED, replace=True)
    assert contents(small) == contents(changed)
    assert read_json(small / "report.json")["sae"]["n_activations_seen"] < 0.75 * before


def test_a_run_of_other_settings_is_left_as_it_is_unless_it_is_to_be_replaced(small):
    before = {path: path.read_bytes() for path in small.rglob("*") if path.is_file()}
    said = r"other settings \(samples 20000 there, 10000 here\)"
    with pytest.raises(InvalidInput, match=said):
        run_in_brief(small, CHANGED)
    assert {path: path.read_bytes() for path in small.rglob("*") if path.is_file()} == before


LLM = LanguageSettings(base_url="http://127.0.0.1:9", model="some")


@pytest.mark.parametrize(
    ("added", "stages"),
    [
        ({"stability": 1}, ["stability", "report"]),
        ({"language": LLM}, ["language", "report"]),
        ({"stability": 2, "language": LLM}, ["stability", "language", "report"]),
    ],
)
def test_what_is_only_added_replaces_nothing(added, stages, redone, folder):
    config = CONFIG.model_copy(update=added)
    run_pipeline(planted(), folder, config)
    assert redone.names == stages
    less = CONFIG.model_copy(update={"stability": 3})
    with pytest.raises(InvalidInput, match="other settings"):  # what was added is now there
        run_pipeline(planted(), folder, less)


def test_what_could_not_be_added_can_be_left_out_again(redone, folder):
    """As where the address of a language model was mistyped: nothing of it is there."""
    config = CONFIG.model_copy(update={"language": LLM})
    run = Run(folder, config)
    run.start([], run.record["model"], {})
    del run.record["stages"]["language"]
    write_json(folder / "run.json", run.record)
    other = CONFIG.model_copy(update={"language": LLM.model_copy(update={"model": "another"})})
    for again in (other, CONFIG):
        Run(folder, again).refuse_other_settings()
    with pytest.raises(InvalidInput, match="seed 0 there, 1 here"):
        Run(folder, CONFIG.model_copy(update={"seed": 1})).refuse_other_settings()
    run_pipeline(planted(), folder, CONFIG)
    assert "scoring" not in redone.names
    assert Run(folder, CONFIG).is_finished(STAGES)


def test_who_reads_while_a_run_is_made_over_sees_no_mixture(small, changed, monkeypatch):
    """After every file that is put in place: the old run, the new one, or a refusal."""

    def facts(run):
        return run.report["sae"]["fvu"], run.concepts.to_json(), run.examples.to_json()

    replace, opened, seen = Path.replace, load_run(small), []
    old, new = facts(opened), facts(load_run(changed))
    assert all(a != b for a, b in zip(old, new, strict=True))

    def watched(self, target):
        replace(self, target)
        for who, reader in (("first", lambda: opened), ("then", lambda: load_run(small))):
            try:
                seen.append((who, facts(reader())))
            except ArtifactMismatch as error:
                seen.append((who, type(error)))

    monkeypatch.setattr(Path, "replace", watched)
    run_in_brief(small, CHANGED, replace=True)
    assert {found for who, found in seen if who == "first"} <= {old, ArtifactMismatch}
    assert {found for who, found in seen if who == "then"} <= {old, new, ArtifactMismatch}
    assert seen[-1] == ("then", new)
    assert len(seen) > 40


def test_another_model_is_refused(folder):
    other = PlantedRecommender(n_users=60, n_items=40, n_concepts=4, width=8, seed=9)
    with pytest.raises(ArtifactMismatch, match="another model or data set"):
        run_pipeline(other, folder, CONFIG)
    assert Run(folder, CONFIG).is_finished(STAGES)


def test_a_full_disk(small, changed, monkeypatch):
    real = os.fsync

    def full(file):
        if Path(f"/proc/self/fd/{file}").resolve().parent.name == "sae":
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file)

    monkeypatch.setattr(os, "fsync", full)
    said = "disk is full: .*sae/.* finished stages are kept"
    with pytest.raises(RecSAEError, match=said) as caught:
        run_in_brief(small, CHANGED, replace=True)
    assert "\n" not in str(caught.value)
    assert not list(small.rglob(".*.part"))
    monkeypatch.undo()
    run_in_brief(small, CHANGED, replace=True)
    assert Run(small).is_finished(STAGES)
    assert contents(small) == contents(changed)
