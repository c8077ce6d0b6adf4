"""What ``inspect``, ``concepts`` and ``doctor`` show."""

import json
import shutil

import pytest

from helpers.runs import copy_of, planted
from helpers.toy import user_table
from recsae.cli import doctor
from recsae.cli.concepts import latent_dict
from recsae.cli.doctor import checks
from recsae.cli.shared.console import records
from recsae.concepts.status import STATUSES
from recsae.core import topk
from recsae.core.errors import ArtifactMismatch, InvalidInput
from recsae.core.files import read_json
from recsae.evaluation.evidence import TABLES
from recsae.explore import concept_facts
from recsae.explore.concept_facts import nearest_names
from recsae.pipeline.stages.evidence import evidence_stage
from recsae.recommender.plugins import PluginState
from recsae.recommender.sequences import split_users
from recsae.report.schema.report import Report
from recsae.run.preview import inspection
from recsae.run.record import Run
from recsae.run.workspace import Workspace

pytestmark = pytest.mark.end_to_end


def concept_rows(*arguments):
    return records(concept_facts.concept_rows(*arguments))


def latent_facts(*arguments):
    return latent_dict(concept_facts.latent_facts(*arguments))


@pytest.fixture(scope="module")
def report(planted_run):
    return read_json(planted_run / "report.json")


# -- a recommender ---------------------------------------------------------------------------------


def test_a_recommender_and_what_would_be_done():
    facts = inspection(planted())
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["plugin"], facts["model"]) == ("testing", "Planted")
    assert (facts["users"], facts["items"], facts["max_length"]) == (400, 240, 10)
    assert facts["linear head"] == "verified"
    assert facts["attributes"] == ["genre"]
    assert [site["name"] for site in facts["sites"]] == ["sequence"]
    held, lengths = split_users(planted().sequences()), planted().sequences().lengths
    for users, plan in zip((~held, held), facts["would capture"], strict=True):
        assert f"{(lengths[users] - 1).sum():,} positions of {users.sum()} users" in plan
    assert "192 latents" in facts["would train"]
    assert "k = 4 or more" in facts["would train"]


def test_the_plan_is_what_a_run_captures(report):
    facts = inspection(planted())
    captured = report["data"]["n_construction_positions"], report["data"]["n_heldout_positions"]
    for plan, n in zip(facts["would capture"], captured, strict=True):
        assert f" {n:,} positions" in plan


def test_a_state_per_user_is_one_position():
    facts = inspection(user_table(30))
    n = [plan.split(": ")[1] for plan in facts["would capture"]]
    held = int(split_users(user_table(30).sequences()).sum())
    assert n == [f"{k} positions of {k} users in {k} forwards" for k in (30 - held, held)]


# -- the dictionary --------------------------------------------------------------------------------


def test_the_dictionary_best_first(report, planted_run):
    rows = concept_rows(planted_run, None, None)
    assert len(rows) == 16
    useful = [row["explains"] * (row["precision"] or 0) for row in rows]
    order = [(STATUSES.index(row["status"]), -u) for row, u in zip(rows, useful, strict=True)]
    assert max(useful) > 0.05
    assert order == sorted(order)
    assert order[0][0] == 0
    assert order[-1][0] > 0
    known = {c["latent"]: c for c in report["concepts"]["list"]}
    for row in rows:
        assert {k: pytest.approx(v) for k, v in row.items()} == {
            k: known[row["latent"]][k] for k in row
        }
    json.dumps(rows, allow_nan=False)


def test_the_statuses_are_those_of_the_report():
    concept = Report.model_json_schema()["$defs"]["Concept"]
    assert list(STATUSES) == concept["properties"]["status"]["enum"]


@pytest.mark.parametrize("search", ["comedy", "COMEDY", "are comed"])
def test_search_in_names_and_labels(search, planted_run):
    rows = concept_rows(planted_run, search, None)
    assert rows
    assert "Comedy" in {row["name"] for row in rows}
    assert all(search.lower() in f"{row['name']}\n{row['label']}".lower() for row in rows)
    assert concept_rows(planted_run, "c(", None) == []  # text, no pattern


def test_by_status(planted_run):
    verified = concept_rows(planted_run, None, "verified")
    assert {row["status"] for row in verified} == {"verified"}
    both = concept_rows(planted_run, "drama", "verified")
    assert 0 < len(both) < len(verified)
    with pytest.raises(InvalidInput, match="no status 'good': it is one of verified, supported"):
        concept_rows(planted_run, None, "good")


def test_one_latent(report, planted_run):
    best = concept_rows(planted_run, None, None)[0]
    facts = latent_facts(planted_run, best["latent"])
    concept = next(c for c in report["concepts"]["list"] if c["latent"] == best["latent"])
    assert facts["label"] == concept["label"]
    assert facts["n_pos"] == concept["n_pos"]
    titles = dict(zip(planted().catalog.external_ids, planted().catalog.titles, strict=True))
    assert facts["promotes"] == [titles[w["item"]] for w in concept["promotes"]]
    assert facts["demotes"] == [titles[w["item"]] for w in concept["demotes"]]
    for shown, example in zip(facts["examples"], concept["examples"], strict=True):
        assert shown["items"] == " | ".join(titles[i] for i in example["items"])
        assert shown["then"] == titles[example["top_recommendation"]]
        assert shown["user"] == example["user"]


def test_what_a_direction_promotes_has_the_genre(planted_run):
    best = concept_rows(planted_run, None, "verified")[0]
    genre = dict(zip(planted().catalog.titles, planted().catalog.frame["genre"], strict=True))
    facts = latent_facts(planted_run, best["latent"])
    assert all(best["name"] in genre[title] for title in facts["promotes"])
    assert not any(best["name"] in genre[title] for title in facts["demotes"])


def test_the_nearest_names(planted_run):
    assert nearest_names(planted_run, "comdy") == " Did you mean 'Comedy'?"
    assert nearest_names(planted_run, "zzz") == ""


def test_corrections_are_shown(tmp_path, planted_run):
    folder = copy_of(planted_run, tmp_path / "run")
    best = [row["latent"] for row in concept_rows(folder, None, "verified")][:2]
    assert "tested_as" not in concept_rows(folder, None, None)[0]
    (folder / "corrections.toml").write_text(
        f'rename.{best[0]} = "Mine"\nreject.{best[1]} = "no"', encoding="utf-8"
    )
    rows = {row["latent"]: row for row in concept_rows(folder, None, None)}
    old = {row["latent"]: row for row in concept_rows(planted_run, None, None)}
    assert (rows[best[0]]["name"], rows[best[0]]["tested_as"]) == ("Mine", old[best[0]]["name"])
    measured = ("status", "precision", "precision_low", "recall", "recall_low", "f1")
    assert [rows[best[0]][key] for key in measured] == [old[best[0]][key] for key in measured]
    assert rows[best[0]]["status"] == "verified"
    assert rows[best[1]]["status"] == "rejected"
    assert list(rows)[-1] == best[1]
    assert [row["latent"] for row in concept_rows(folder, None, "rejected")] == [best[1]]
    assert [row["latent"] for row in concept_rows(folder, "mine", None)] == [best[0]]
    facts = latent_facts(folder, best[0])
    assert (facts["name"], facts["correction"]) == ("Mine", "renamed")
    assert facts["tested_as"] == old[best[0]]["name"]
    assert facts["label"] == old[best[0]]["label"]
    assert "correction" not in latent_facts(folder, list(rows)[1])


@pytest.mark.parametrize("lacking", [*TABLES, "report.json"])
def test_what_is_known_of_a_latent_is_all_there_or_refused(tmp_path, planted_run, lacking):
    folder = copy_of(planted_run, tmp_path / "run")
    (folder / lacking).unlink()
    with pytest.raises(ArtifactMismatch, match=f"{lacking} is missing: run the same"):
        latent_facts(folder, 0)


def test_evidence_is_shown(planted_run):
    evidence = evidence_stage(Workspace(Run(planted_run), planted(), None))
    every = {
        row["latent"]: latent_facts(planted_run, row["latent"])
        for row in concept_rows(planted_run, None, None)
    }
    json.dumps(every, allow_nan=False, default=str)
    names = {latent: facts["name"] for latent, facts in every.items()}
    mine = evidence.by_latent()
    for latent, facts in every.items():
        assert facts["firing"]["n_active"] == facts["n_pos"]
        assert [x["latent"] for x in facts["fires_with"]] == [
            x["other"] for x in mine[latent]["with"]
        ]
        for kind in ("fires_with", "fires_instead"):
            assert all(x["name"] == names[x["latent"]] for x in facts[kind])
        for kind in ("missed", "unexpected"):
            assert [x["user"] for x in facts[kind]] == [x["user"] for x in mine[latent][kind]]
    titles = set(planted().catalog.titles) | set(planted().catalog.external_ids)
    case = next(x for facts in every.values() for x in facts["unexpected"])
    assert set(case["items"].split(" | ")) <= titles
    assert "match" in case["why"] or "hold" in case["why"]


@pytest.mark.parametrize("latent", [-1, 16])
def test_no_such_latent(latent, planted_run):
    with pytest.raises(InvalidInput, match=f"no latent {latent}: latents are numbered 0 to 15"):
        latent_facts(planted_run, latent)


def test_no_run(tmp_path, planted_run):
    for show in (concept_rows, latent_facts):
        with pytest.raises(ArtifactMismatch, match="holds no run"):
            show(tmp_path, *([None] * (2 if show is concept_rows else 1)))
    shutil.copy(planted_run / "run.json", tmp_path)
    with pytest.raises(ArtifactMismatch, match=r"concepts\.parquet is missing"):
        concept_rows(tmp_path, None, None)
    with pytest.raises(ArtifactMismatch, match=r"report\.json is missing"):
        latent_facts(tmp_path, 0)


# -- doctor ----------------------------------------------------------------------------------------


def test_a_healthy_installation(monkeypatch):
    ready = PluginState("shop", "shop-recs", "1.0", "ready (shop 1)", None)
    monkeypatch.setattr("recsae.recommender.plugins.installed", lambda thorough: [ready])
    rows = {row["check"]: row for row in checks()}
    assert {"python", "torch", "numpy", "pyarrow", "parquet", "disk", "cuda"} <= set(rows)
    assert all(set(row) == {"check", "state", "seen"} for row in rows.values())
    assert {row["state"] for row in rows.values()} <= {"works", "missing"}
    assert rows["plug-in shop"] == {
        "check": "plug-in shop",
        "state": "works",
        "seen": "shop-recs 1.0: ready (shop 1)",
    }
    assert int(rows["threads"]["seen"]) >= 1


def test_what_does_not_work_is_told(monkeypatch):
    def broken():
        raise RuntimeError("numpy 1 expected\nlong story")

    gone = PluginState("shop", "shop-recs", "1.0", "broken: ImportError: no shop", None)
    monkeypatch.setattr("recsae.recommender.plugins.installed", lambda thorough: [gone])
    monkeypatch.setattr(doctor, "_parquet_works", broken)
    monkeypatch.setattr(topk, "kernels", broken)
    rows = {row["check"]: (row["state"], row["seen"]) for row in checks()}
    assert rows["parquet"] == ("fails", "numpy 1 expected")
    assert rows["plug-in shop"] == ("fails", "shop-recs 1.0: broken: ImportError: no shop")
    assert rows["compiled loops"] == ("fails", "numba fails: numpy 1 expected")


def test_without_numba(monkeypatch):
    monkeypatch.setattr(topk, "kernels", lambda: None)
    rows = {row["check"]: row for row in checks()}
    assert rows["compiled loops"]["state"] == "fails"
    assert "not installed" in rows["compiled loops"]["seen"]
