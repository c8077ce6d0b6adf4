"""``recsae concepts`` with evidence, corrections and items, and ``recsae profile``."""

import json
import re
import stat

import numpy as np
import pytest

from helpers.runs import command, copy_of, taken_as_it_is
from recsae.cli.shared.tables import BETWEEN, titles_of
from recsae.core.files import read_parquet, write_arrays, write_parquet
from recsae.core.text import readable
from recsae.explore.cohorts import Profiler
from recsae.finished.loaded import load_run
from recsae.pipeline.stages.evidence import evidence_stage
from recsae.report import read_report
from recsae.report.words.formats import floor_percent, two_digits
from recsae.run.open import open_workspace

pytestmark = [pytest.mark.end_to_end, pytest.mark.recbole]


@pytest.fixture(scope="module")
def run(tmp_path_factory, recbole_run):
    """A copy of the run with its evidence."""
    folder = copy_of(recbole_run, tmp_path_factory.mktemp("run") / "run")
    evidence_stage(open_workspace(folder)).save(folder)
    return folder


@pytest.fixture
def folder(tmp_path, recbole_run):
    """A copy of the run to write into."""
    return copy_of(recbole_run, tmp_path / "run")


@pytest.fixture
def says(capsys):
    def run_it(*arguments, code=0):
        capsys.readouterr()
        done = command(*arguments)
        out, err = capsys.readouterr()
        assert done == code, err
        return err if code else out

    return run_it


def verified(says, folder):
    return json.loads(says("concepts", folder, "--status", "verified", "--json"))


def edits(monkeypatch, tmp_path, text):
    """Let the editor put text at the end of the file."""
    editor = tmp_path / "editor"
    editor.write_text(f"#!/bin/sh\ncat >> \"$1\" <<'END'\n{text}\nEND\n")
    editor.chmod(editor.stat().st_mode | stat.S_IEXEC)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", str(editor))


# -- reading ---------------------------------------------------------------------------------------


def test_everything_about_a_latent(says, run):
    latent = verified(says, run)[0]["latent"]
    facts = json.loads(says("concepts", run, "--latent", latent, "--json"))
    text = says("concepts", run, "--latent", latent)
    assert f"label: {facts['label']}" in text
    first = text.splitlines()[0]
    assert next(iter(facts)) == "active_on"
    assert first.startswith("active on: ")
    for item in facts["active_on"]:
        assert item["n_active"] <= min(item["n_cases"], facts["firing"]["n_active"])
        assert item["rate"] == item["n_active"] / item["n_cases"]
    best = {x["view"]: x for x in reversed(facts["active_on"])}
    for view, words in (("last", "after {}"), ("top1", "first recommendation {}")):
        x = best[view]
        assert f"{words.format(readable(x['title']))} {x['n_active']} of {x['n_cases']}" in first
    share = two_digits(facts["firing"]["fire_rate"])
    assert f"active on held-out users: {share} of positions" in text
    assert f"precision: {two_digits(facts['precision'])} (at least " in text
    for internal in ("labeler", "predicate_site", "threshold", "negated", "n_pos", "∷"):
        assert internal in facts or internal == "∷"
        assert internal not in text
    assert f"promotes: {titles_of(facts['promotes'])}" in text
    for other in facts["fires_with"]:
        assert f"active together with: {other['latent']} {other['name']} (" in text
    for case in facts["unexpected"] + facts["missed"] + facts["examples"]:
        assert f"{titles_of(case['items'].split(BETWEEN))}  ->  {readable(case['then'])}" in text
    assert ("\nIt is active, and the label says no:" in text) == bool(facts["unexpected"])
    assert not re.search(r"\bNone\b(?! of)", text)


def test_twenty_concepts_that_fit_the_terminal_or_all(says, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    known = json.loads(says("concepts", run, "--json"))
    few = says("concepts", run).splitlines()
    assert len(few) == 1 + 20 + 1
    assert few[-1].startswith(f"{len(known) - 20} more: --all shows them. Where there is room")
    assert max(map(len, few[:-1])) <= 80
    every = says("concepts", run, "--all").splitlines()
    latents = [int(line.split()[0]) for line in every[1 : 1 + len(known)]]
    assert latents == [row["latent"] for row in known]
    monkeypatch.setenv("COLUMNS", "400")
    assert all(row["label"] in says("concepts", run, "--all") for row in known[:3])


def test_a_search_without_a_hit_names_the_nearest(says, run):
    name = verified(says, run)[0]["name"]
    assert f"No concept fits. Did you mean {name!r}" in says(
        "concepts", run, "--search", f"{name}x"
    )
    assert says("concepts", run, "--search", "zzzzz") == "No concept fits.\n"


def test_from_an_item_to_its_concepts(says, run):
    opened = open_workspace(run)
    item = opened.recommender.catalog.external_ids[3]
    found = json.loads(says("concepts", run, "--item", item, "--json"))
    assert 0 < len(found["promoted by"]) <= 10
    adds = [row["adds"] for row in found["promoted by"]]
    assert adds == sorted(adds, reverse=True)
    assert all(x > 0 for x in adds)
    labels = opened.dictionary.table.set_index("latent")["label"]
    assert all(row["label"] == labels[row["latent"]] for row in found["promoted by"])
    title = opened.recommender.catalog.titles[3]
    text = says("concepts", run, "--item", title)
    promoted, after = text.split("active after it:")
    for row in found["promoted by"]:
        assert re.search(
            rf"^ *{row['latent']}  .*  {row['status']} .* {row['rank']}$", promoted, re.M
        )
    assert after.count("\n") >= len(found["active after it"])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (("--item", "nothing"), "No item has the id or title 'nothing'"),
        (("--item", "1", "--latent", "1"), "Give one of --latent, --item, --edit"),
        (("--edit", "--search", "x"), "Give one of --latent, --item, --edit"),
        (("--audit", "3", "--latent", "1"), "Give one of --latent, --item, --edit, --audit"),
        (("--audit", "0"), "0 is not in the range"),
        (("--seed", "3"), "--seed goes with --audit"),
    ],
)
def test_what_cannot_be_asked(options, match, says, run):
    assert match in says("concepts", run, *options, code=2)


# -- auditing --------------------------------------------------------------------------------------


def audited(says, folder, *options):
    return json.loads(says("concepts", folder, "--audit", *options, "--json"))


def test_a_sheet_to_judge_labels_by(says, run):
    sheet = audited(says, run, 4, "--seed", 7)
    known = {row["latent"]: row for row in verified(says, run)}
    assert (sheet["n_verified"], sheet["seed"]) == (len(known), 7)
    assert len(sheet["concepts"]) == min(4, len(known))
    text = says("concepts", run, "--audit", 4, "--seed", 7)
    assert f"of {len(known)} verified concepts, drawn with seed 7." in text.splitlines()[0]
    for concept in sheet["concepts"]:
        row = known[concept["latent"]]
        assert concept["label"] == row["label"]
        assert concept["label"] in text
        for rate in ("precision", "recall"):
            assert 0.5 <= concept[f"{rate}_low"] <= concept[rate] == row[rate]
            low = floor_percent(concept[f"{rate}_low"])
            assert f"{rate} {two_digits(concept[rate])} (at least {low})" in text
        assert concept["n_active"] == row["n_pos"]
        for item in concept["active_on"]:
            assert f"{readable(item['title'])} {item['n_active']} of {item['n_cases']}" in text
        examples = concept["examples"]
        assert 3 <= len(examples) <= 5
        assert len({case["user"] for case in examples}) == len(examples)
        assert all(case["activation"] > 0 and len(case["recommended"]) == 3 for case in examples)
        missed, unexpected = concept["missed"], concept["unexpected"]
        assert missed is None or (missed["label_says_active"] and missed["activation"] == 0)
        assert unexpected is None or not unexpected["label_says_active"]
        for case in [*examples, *filter(None, (missed, unexpected))]:
            assert f"{titles_of(case['titles'][-5:])}  ->  " in text
            assert case["why"] in text


def test_the_sample_is_that_of_the_seed(says, run):
    n = len(verified(says, run))
    everyone = audited(says, run, 500)
    assert everyone["seed"] == 0
    assert {c["latent"] for c in everyone["concepts"]} == {
        row["latent"] for row in verified(says, run)
    }
    again = audited(says, run, 500, "--seed", 0)
    assert again == everyone
    assert audited(says, run, 2)["concepts"] == everyone["concepts"][:2]
    others = [
        tuple(c["latent"] for c in audited(says, run, n, "--seed", seed)["concepts"])
        for seed in range(1, 6)
    ]
    assert len(set(others)) > 1


def test_a_sheet_needs_the_files_of_the_run_alone(says, run, monkeypatch):
    def no_model(*_, **__):
        raise AssertionError("the model was opened")

    monkeypatch.setattr("recsae.run.settings.open_recommender", no_model)
    assert audited(says, run, 1)["concepts"]


def test_a_rejected_concept_is_not_judged(says, folder):
    first = verified(says, folder)[0]["latent"]
    before = audited(says, folder, 500)
    (folder / "corrections.toml").write_text(f'reject.{first} = "no"')
    after = audited(says, folder, 500)
    assert after["n_verified"] == before["n_verified"] - 1
    assert first not in {c["latent"] for c in after["concepts"]}


@pytest.mark.parametrize("lacking", ["report.json", "scores.parquet", "active_items.parquet"])
def test_an_unfinished_run_is_not_judged(lacking, says, folder):
    (folder / lacking).unlink()
    assert f"it lacks {lacking}. The command" in says("concepts", folder, "--audit", 3, code=3)


def test_nothing_to_judge(says, folder, tmp_path):
    assert "holds no run" in says("concepts", tmp_path / "none", "--audit", 3, code=3)
    scores = read_parquet(folder / "scores.parquet")
    write_parquet(folder / "scores.parquet", scores.assign(status="unsupported"))
    taken_as_it_is(folder)
    assert "is verified: none can be audited" in says("concepts", folder, "--audit", 3, code=3)


# -- correcting ------------------------------------------------------------------------------------


def test_edit(says, folder, monkeypatch, tmp_path):
    best = verified(says, folder)
    first, name = best[0]["latent"], best[0]["name"]
    edits(monkeypatch, tmp_path, f'{first} = "My own"')
    text = says("concepts", folder, "--edit")
    assert re.search(rf"{first}  renamed +My own  {re.escape(name[:8])}", text)
    assert "recsae report" in text
    assert (
        json.loads(says("concepts", folder, "--search", "my own", "--json"))[0]["latent"] == first
    )
    steered = json.loads(
        says("steer", folder, "--set", "My own=0", "--user", "1", "--json")
        if "1" in open_workspace(folder).recommender.sequences().users
        else says("steer", folder, "--set", "My own=0", "--all", "--json")
    )
    assert steered["changed"] == ["My own: switched off"]
    text = (folder / "corrections.toml").read_text()
    edits(monkeypatch, tmp_path, "")
    rows = json.loads(says("concepts", folder, "--edit", "--json"))
    assert [(row["latent"], row["name"]) for row in rows] == [(first, "My own")]
    assert (folder / "corrections.toml").read_text() == text + "\n"


def test_an_edit_that_changes_nothing(says, folder, monkeypatch, tmp_path):
    edits(monkeypatch, tmp_path, "# nothing")
    assert says("concepts", folder, "--edit").startswith("No corrections. The file is ")


def test_a_wrong_edit_is_told_and_kept(says, folder, monkeypatch, tmp_path):
    edits(monkeypatch, tmp_path, '4000 = "Nowhere"')
    error = says("concepts", folder, "--edit", code=2)
    assert "there is no latent 4000: latents are numbered 0 to " in error
    assert (folder / "corrections.toml").read_text().endswith('4000 = "Nowhere"\n')
    for arguments in (("concepts", folder), ("steer", folder, "--set", "1=0")):
        assert "no latent 4000" in says(*arguments, code=2)


def test_an_editor_that_fails(says, folder, monkeypatch, tmp_path):
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", str(tmp_path / "no-editor"))
    assert "Error: " in says("concepts", folder, "--edit", code=2)


def test_editing_what_is_no_run(says, tmp_path):
    assert "holds no run" in says("concepts", tmp_path, "--edit", code=3)
    assert list(tmp_path.iterdir()) == []


def test_lost_corrections_are_told(says, folder, capsys):
    (folder / "corrections.toml").write_text('rename.3 = "Gone"')
    away = np.zeros((1, 64), dtype=np.float32)
    write_arrays(folder / "corrections.safetensors", {"latents": np.array([3]), "directions": away})
    assert command("concepts", folder) == 0
    assert "No latent has the direction of 3 any more" in capsys.readouterr().err
    assert "Gone" not in says("concepts", folder)


# -- profiles --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sequences(recbole_run):
    return open_workspace(recbole_run).recommender.sequences()


def test_profile_of_users(says, run, sequences, tmp_path):
    users = list(map(str, sequences.users[:60]))
    found = json.loads(says("profile", run, "--users", ",".join(users), "--json"))
    assert found["of"].startswith("60 users of the list beside the 142 others.")
    said = load_run(run).concepts
    about = said[said["status"] == "verified"]["about"].str.casefold()
    assert {row["name"].casefold() for row in found["concepts"]} == set(about)
    for row in found["concepts"]:
        assert row["low"] <= row["difference"] <= row["high"]
        assert row["share"] - row["others"] == pytest.approx(row["difference"])
    (tmp_path / "users.txt").write_text("\n".join(users))
    again = json.loads(says("profile", run, "--users", tmp_path / "users.txt", "--json"))
    assert again == found
    text = says("profile", run, "--users", ",".join(users))
    assert f"{found['n_different']} of {len(found['concepts'])} concepts differ" in text


def test_profile_of_a_user(says, run, sequences):
    user = str(sequences.users[5])
    found = json.loads(says("profile", run, "--user", user, "--json"))
    assert found["own"]
    assert all(0 < row["share"] <= 1 for row in found["own"])
    text = says("profile", run, "--user", user, "--top", 1).splitlines()
    assert text[3].startswith(found["own"][0]["name"][:20])
    assert text[4:] == [f"{len(found['own']) - 1} more: --all shows them."]
    every = says("profile", run, "--user", user, "--all").splitlines()
    assert len(every) == 3 + len(found["own"])


def test_profile_of_an_item(says, run, sequences):
    recommender = open_workspace(run).recommender
    item = int(recommender.sequences().flat[0])
    title = recommender.catalog.titles[item]
    found = json.loads(says("profile", run, "--item", title, "--json"))
    assert readable(title) in found["of"]
    assert 0 < len(found["promoted by"]) <= 10
    text = says("profile", run, "--item", title)
    promoted = text.split("Latents that promote it")[1].splitlines()[2:]
    assert [int(line.split()[0]) for line in promoted[: len(found["promoted by"])]] == [
        row["latent"] for row in found["promoted by"]
    ]


def test_profile_of_a_cohort(says, run):
    profiler = Profiler(open_workspace(run))
    names = list(profiler.concepts["name"])  # those about the same stand together
    name = next(row["name"] for row in verified(says, run) if row["name"] in names)
    column = names.index(name)
    everyone = profiler.activity.shares(np.ones(len(profiler.activity.user), dtype=bool))
    median = np.median(everyone.share[:, [column]].toarray())
    found = json.loads(says("profile", run, "--cohort", f"concept:{name}>{median:.4f}", "--json"))
    assert name not in {row["name"] for row in found["concepts"]}
    assert "Concepts of the latents that chose them are left out." in found["of"]


def test_every_latent_by_itself(says, run, sequences):
    users = ",".join(map(str, sequences.users[:60]))
    found = json.loads(says("profile", run, "--users", users, "--latents", "--json"))
    assert len(found["concepts"]) == read_report(run).sae.n_latents


@pytest.mark.parametrize(
    ("options", "match", "code"),
    [
        ((), "Give one of --item, --user, --users and --cohort.", 2),
        (("--user", "1", "--item", "1"), "Give one of", 2),
        (("--user", "nobody"), "No user has the id 'nobody'", 2),
        (("--users", ","), "no user", 2),
        (("--cohort", "Horror"), "Cannot read the cohort 'Horror'", 2),
        (("--item", "nothing"), "No item has the id or title", 2),
    ],
)
def test_profiles_that_cannot_be(options, match, code, says, run):
    assert match in says("profile", run, *options, code=code)


def test_a_small_group(says, run, sequences):
    users = ",".join(map(str, sequences.users[:4]))
    error = says("profile", run, "--users", users, code=3)
    assert "4 users in the group: a comparison needs 5 at least" in error


def test_no_run(says, tmp_path):
    assert "holds no run" in says("profile", tmp_path, "--user", "1", code=3)
