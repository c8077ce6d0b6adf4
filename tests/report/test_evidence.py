"""What a report says of the evidence: it is what the stages left, and a run without it is shown."""

import csv
import io
import json
import math
import re

import jsonschema
import pandas as pd
import pytest

from helpers import runs
from helpers.report_kit import N_EXPLAINED, full_report
from helpers.reports import make_plain, make_report
from recsae.concepts.wording import reason_of
from recsae.core import columns as C
from recsae.core.files import read_json
from recsae.evaluation.evidence import Evidence
from recsae.report import read_report, write_report
from recsae.report.page import page
from recsae.report.page_data import page_data
from recsae.report.schema.report import SCHEMA_FILE, Report
from recsae.report.tables import card, concepts_csv
from recsae.report.words.concepts import best_distinct
from recsae.report.words.findings import corrections, cost, judged_rows, stability_section
from recsae.report.words.formats import floor_percent, percent

pytestmark = pytest.mark.end_to_end


def label(**given):
    blank = {C.SECOND_ATTRIBUTE: None, C.JOINT: None, C.NEGATED: False, C.ATTRIBUTE: "genre"}
    return {**blank, **given}


@pytest.mark.parametrize(
    ("given", "step", "said"),
    [
        ({"predicate_site": "last", "threshold": 1}, 1, "matches"),
        ({"predicate_site": "top1", "threshold": 1}, 0, "does not match"),
        ({"predicate_site": "last", "threshold": 1, "negated": True}, 1, "does not match"),
        ({"predicate_site": "last", "threshold": 1, "negated": True}, 0, "matches"),
        ({"predicate_site": "last5", "threshold": 3}, 2, "2 of the last 5 items match, 3 needed"),
        ({"predicate_site": "last20", "threshold": 3}, 10,
         "15 to 20 of the last 20 items match, 3 needed"),
        ({"predicate_site": "last5", "threshold": 3, "negated": True}, 5,
         "0 of the last 5 items match, fewer than 3 needed"),
        ({"second_attribute": "decade", "joint": "and"}, 2, "both parts hold"),
        ({"second_attribute": "decade", "joint": "and"}, 1,
         "its first part holds, its second does not"),
        ({"second_attribute": "decade", "third_attribute": "genre", "joint": "and"}, 3,
         "all three parts hold"),
        ({"second_attribute": "decade", "third_attribute": "genre", "joint": "and"}, 2,
         "its third part does not hold"),
        ({"second_attribute": "decade", "joint": "or"}, 1, "one of its two parts holds"),
        ({"second_attribute": "decade", "joint": "or"}, 0, "neither part holds"),
        ({"attribute": None}, 1, "says active everywhere"),
    ],
)  # fmt: skip
def test_why_a_label_is_wrong(given, step, said):
    assert reason_of(label(**given), step) == said


def test_it_follows_the_schema():
    plain = json.loads(full_report().to_json())
    jsonschema.validate(plain, json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
    assert Report.model_validate(plain) == full_report()


def test_evidence_is_what_the_stage_left(full_run):
    left = Evidence.load(full_run).by_latent()
    seen = 0
    for concept in full_report().concepts.list:
        mine = left[concept.latent]
        assert concept.heldout_fire_rate == mine["firing"]["fire_rate"]
        told = [(x.view, x.item, x.n_active, x.n_cases) for x in concept.active_on]
        keys = ("view", C.ITEM, "n_active", "n_cases")
        assert told == [tuple(x[key] for key in keys) for x in mine["active_on"]]
        for kind in ("missed", "unexpected"):
            found = [e for e in concept.counterexamples if e.kind == kind]
            assert [e.user for e in found] == [str(e["user"]) for e in mine[kind]]
            assert [e.items for e in found] == [list(e["items"]) for e in mine[kind]]
            assert all((e.level >= e.threshold) == (kind == "missed") for e in found)
            assert all((e.activation == 0) == (kind == "missed") for e in found)
            seen += len(found)
        for kind in ("with", "instead"):
            others = [t.latent for t in concept.together if t.kind == kind]
            assert others == [t["other"] for t in mine[kind]]
    assert seen > 20


def test_predicates_are_those_of_the_labels(full_run):
    table = pd.read_parquet(full_run / "concepts.parquet").set_index(C.LATENT)
    for concept in full_report().concepts.list:
        row = table.loc[concept.latent]
        assert concept.attribute == row[C.ATTRIBUTE]
        assert (concept.second_attribute is None) == pd.isna(row[C.SECOND_ATTRIBUTE])
        if concept.second_attribute is None:
            assert concept.second_threshold is concept.second_site is concept.joint is None
        said_nothing = concept.attribute is None  # active nearly everywhere
        assert concept.negated is None if said_nothing else concept.negated == row[C.NEGATED]


def test_items_say_which_label_values_they_have():
    report = full_report()
    genre = {n: v.value for n, v in enumerate(report.label_values) if v.attribute == "genre"}
    assert genre
    for item in report.items.values():
        said = {genre[n] for n in item.values if n in genre}
        assert said == set(item.attributes.get("genre", [])) & set(genre.values())


def test_stability_language_and_yardstick_are_what_the_stages_left(full_run):
    report, folder = full_report(), full_run
    stability, language = (read_json(folder / f"{n}.json") for n in ("stability", "language"))
    by_latent = {c.latent: c for c in report.concepts.list}
    for row in stability["latents"]:
        assert by_latent[row["latent"]].stable == row["stable"]
        assert by_latent[row["latent"]].back == row["back"]
    assert [row.chance for row in report.stability.summary] == [
        row["chance"] for row in stability["summary"]
    ]
    assert (report.language.n_explained, report.language.n_failed) == (N_EXPLAINED - 1, 1)
    explained = [c.latent for c in report.concepts.list if c.language]
    assert explained == sorted(row["latent"] for row in language["concepts"])
    first = read_json(folder / "supervised.json")["rows"][0]
    row = report.supervised.rows[0]
    assert row.auc == {m: first[f"auc_{m}"] for m in ("sae", "class_mean", "probe")}
    assert row.lift["probe"] == first["lift_probe"]
    assert row.auc_of_latents[8] == first["auc_latents_8"]


def test_values_that_no_column_holds_are_not_said_to_be_rare():
    assert not [n for n in full_report().skipped_attributes if n.startswith(("fans of", "length"))]


def test_redaction_reaches_counterexamples(tmp_path):
    plain = json.loads(full_report().to_json())
    for concept in plain["concepts"]["list"]:
        for sequence in concept["examples"] + concept["counterexamples"]:
            sequence["user"] = f"secret-{sequence['user']}"
    write_report(Report.model_validate(plain), tmp_path, redact_users=True)
    for name in ("report.html", "card.md", "concepts.csv"):
        assert "secret-" not in (tmp_path / name).read_text()
    shown = {
        s["user"] for c in plain["concepts"]["list"] for s in c["examples"] + c["counterexamples"]
    }
    html = (tmp_path / "report.html").read_text()
    data = json.loads(html.split('id="data">')[1].split("</script>")[0])
    assert data["users"] == [f"user {n + 1}" for n in range(len(shown))]


def test_the_page_gets_every_sequence_once_and_small():
    report = full_report()
    data = page_data(report)
    items, users = list(report.items), data["users"]
    made = {shown["latent"]: shown for shown in data["concepts"]}
    assert len(made) == len(report.concepts.list)
    for concept in report.concepts.list:
        shown = made[concept.latent]
        assert len(shown["against"]) == len(concept.counterexamples)
        for whole, (kind, said, user, n, last, top, _) in zip(
            concept.counterexamples, shown["against"], strict=True
        ):
            assert (kind, said, users[user], n) == (
                whole.kind,
                whole.why,
                whole.user,
                len(whole.items),
            )
            assert [items[i] for i in last] == whole.items[-6:]
            assert items[top] == whole.top_recommendation


def corrections_in(folder, text):
    (folder / "corrections.toml").write_text(text)


def test_corrections_are_shown_and_figures_stay(tmp_path, full_run):
    folder = runs.copy_of(full_run, tmp_path / "run")
    best, second, third, fourth = [
        c for c in full_report().concepts.list if c.status == "verified"
    ][:4]
    corrections_in(
        folder,
        f'[rename]\n{best.latent} = "My name"\n[reject]\n{second.latent} = "says nothing"\n'
        f'[merge]\n"Both" = [{third.latent}, {fourth.latent}]\n',
    )
    before = (folder / "report.json").read_bytes()
    html = write_report(None, folder).read_text()
    assert (folder / "report.json").read_bytes() == before
    assert b'"correction"' not in before
    assert "Corrected by people: 1 renamed, 2 merged, 1 rejected." in html
    rows = {
        int(r["latent"]): r
        for r in csv.DictReader((folder / "concepts.csv").read_text().splitlines())
    }
    renamed, rejected = rows[best.latent], rows[second.latent]
    assert (renamed["name"], renamed["correction"]) == ("My name", "renamed")
    assert renamed["tested_as"] == best.name
    assert float(renamed["precision_low"]) == best.precision_low
    assert float(renamed["recall_low"]) == best.recall_low
    assert rejected["name"] == f"latent {second.latent} (rejected)"
    assert (rejected["rejected_because"], rejected["status"]) == ("says nothing", "verified")
    assert [rows[c.latent]["name"] for c in (third, fourth)] == ["Both", "Both"]
    assert f"latent {second.latent} (rejected)" not in (folder / "card.md").read_text()
    corrections_in(folder, "")
    assert "Corrected by people" not in write_report(None, folder).read_text()


def test_the_card_says_what_a_name_was_tested_as():
    plain = make_plain()
    plain["concepts"]["list"][0] |= {"name": "Mine", "correction": "renamed", "tested_as": "Horror"}
    report = Report.model_validate(plain)
    assert "Mine (tested as Horror)" in card(report)
    plain["concepts"]["list"][0]["correction"] = "rejected"
    assert 0 not in [c.latent for c in best_distinct(Report.model_validate(plain))]


def test_the_card_says_what_comes_back_and_what_the_language_model_found():
    text = card(full_report())
    row = next(
        r for r in full_report().stability.summary if (r.among, r.level) == ("verified", "label")
    )
    assert f"{round(100 * row.every)}% of the verified concepts" in text
    assert "judge-7b explained 2 latents and failed on 1 latent." in text
    names = full_report().language.summary.names
    assert f"verifies {names.verified} of 2 of its sentences" in text
    assert f"(precision {percent(names.precision)}, recall {percent(names.recall)})" in text
    assert f"enough to verify {names.decidable} of the sentences" in text
    older = card(make_report())
    assert "made again" not in older
    assert "language model" not in older


def test_names_stand_beside_labels_with_their_bounds():
    """On the card of a concept, and summed up on the page."""
    report = full_report()
    explained = next(c.language for c in report.concepts.list if c.language)
    rows = {name: cells for name, *cells in judged_rows(explained)}
    ours, theirs = explained.detection, explained.attribute.detection
    assert rows["verdict"] == [ours.status, theirs.status]
    for name, value, low in (
        ("precision: of what it matches, active", "precision", "precision_low"),
        ("recall: of where it is active, matched", "recall", "recall_low"),
    ):
        assert rows[name] == [
            f"{percent(getattr(d, value))}, at least {floor_percent(getattr(d, low))}"
            for d in (ours, theirs)
        ]
    unknown = ours.model_copy(update={"recall_low": None, "recall": None})
    without = {"detection": unknown, "paper": None}
    rows = {name: cells for name, *cells in judged_rows(explained.model_copy(update=without))}
    assert rows["recall: of where it is active, matched"][0] == "–"
    assert rows["the paper’s confidence"] == ["–", "–"]
    html = page(report)
    summary = report.language.summary
    for says, key in (("verified, of 2", "verified"), ("concepts on which it is", "better")):
        cells = html[html.index(says) :].split("</tr>")[0]
        both = (getattr(part, key) for part in (summary.names, summary.attribute_labels))
        assert re.findall(r"<td>(\d+)</td>", cells) == [str(n) for n in both]


def test_csv_has_the_new_fields_and_nothing_nested():
    rows = list(csv.DictReader(io.StringIO(concepts_csv(full_report()))))
    for name in ("negated", "joint", "second_value", "embedding_auc", "stable", "tested_as"):
        assert name in rows[0]
    for name in ("back", "language", "together", "counterexamples"):
        assert name not in rows[0]
    assert {row["stable"] for row in rows} <= {"True", "False"}


def test_a_report_from_before_these_parts_is_read_and_shown(tmp_path):
    plain = json.loads(make_report().to_json())
    for name in ("label_values", "left_out", "supervised", "stability", "language", "goals"):
        del plain[name]
    newer = ("negated", "joint", "embedding_auc", "counterexamples", "together", "back", "language")
    for concept in plain["concepts"]["list"]:
        for name in newer:
            del concept[name]
    for item in plain["items"].values():
        del item["values"]
    (tmp_path / "report.json").write_text(json.dumps(plain))
    html = write_report(None, tmp_path).read_text()
    assert read_report(tmp_path) == make_report()
    for absent in (
        'id="stability"',
        'id="language"',
        'id="goals"',
        "no label speaks of",
        "fitted to the answers<",
    ):
        assert absent not in html
    data = page_data(read_report(tmp_path))
    horror = data["values"].index(["genre", "Horror", "genre = Horror"])
    (first,) = (shown for shown in data["concepts"] if shown["latent"] == 0)
    assert first["says"][0] == horror
    assert horror in data["items"][0][2]


def test_attributes_left_out_are_listed_with_their_evidence():
    plain = make_plain()
    plain["left_out"] = [
        {"attribute": "studio: Acme", "site": "last", "auc": 0.5312, "low": 0.4987}
    ]
    for attributes in (plain["attributes"], []):
        html = page(Report.model_validate(plain | {"attributes": attributes}))
        assert "1 attribute that no label speaks of: no probe can learn it" in html
        assert 'Acme <span class="small">studio</span>' in html
        assert "<td>0.53</td><td>0.50</td>" in html


def test_sentences_of_stability_and_cost():
    report = full_report()
    said = stability_section(report)
    assert said.sentence == (
        "The dictionary was made again on each half of the users and with 1 other seed."
    )
    assert [caption.split(" (")[0] for caption, _ in said.rows] == [
        "Verified concepts",
        "All latents",
    ]
    tokens = report.language.tokens
    assert math.isclose(report.language.cost, (tokens["prompt"] + tokens["completion"]) / 1e6)
    assert cost(report).startswith(f"{tokens['answers']:,} answers, {tokens['prompt']:,} tokens")
    unpriced = report.language.model_copy(update={"cost": None})
    assert cost(report.model_copy(update={"language": unpriced})).endswith("prices were not given.")
    assert cost(make_report()) == corrections(make_report()) == ""
    assert stability_section(make_report()) is None


def test_stability_where_nothing_could_be_trained_again():
    plain = json.loads(full_report().to_json())
    plain["stability"] = {
        "thresholds": {"cosine": 0.9, "correlation": 0.7},
        "dictionaries": [],
        "skipped": {"half-1": "too few states"},
        "summary": [],
    }
    for concept in plain["concepts"]["list"]:
        concept["back"] = concept["stable"] = None
    html = page(Report.model_validate(plain))
    assert "<b>half-1 was not trained.</b> too few states" in html
    assert "could not be" in html
