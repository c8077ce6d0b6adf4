"""Readable and obeyed in the report: the two-by-two, and the answer on each concept's row."""

import csv
import io
import json

import jsonschema
import pytest

from helpers.browser import CHROMIUM
from helpers.goal_reports import raw
from helpers.report_page import play
from helpers.reports import HOSTILE, make_plain
from recsae.finished.loaded import load_run
from recsae.pipeline.report_goals import goals_block
from recsae.report import read_report, write_report
from recsae.report.page import page
from recsae.report.schema.obeyed import Obeyed
from recsae.report.schema.report import SCHEMA_FILE, Report
from recsae.report.tables import card, concepts_csv
from recsae.report.words.obeyed import HEADS, finding, not_turned, table, without_items


def two_by_two(code="sae", **counts):
    """90 verified units, of which 53 are obeyed, and 10 others, of which 4 are."""
    usual = {
        "n_readable": 95, "n_readable_turned": 90, "n_unreadable": 40, "n_unreadable_turned": 10,
        "n_without_items": 2, "both": 53, "readable_only": 37, "opposite": 4, "obeyed_only": 4,
        "neither": 6, "by_chance": 0.214,
    }  # fmt: skip
    return {"code": code, **usual, **counts}


BASELINE = {"both": 45, "readable_only": 45, "n_readable": 90, "opposite": 0}


def summary(**changes):
    """As the stage leaves it."""
    return {
        "n_cases": 1000,
        "n_users": 321,
        "codes": [two_by_two(), two_by_two("random", **BASELINE)],
        "not_turned": {"pca": "no time", "neurons": "no time"},
        **changes,
    }


TURNED = {
    "predicted": "more", "step": 1.89, "share": 0.0665, "share_up": 0.123, "share_down": 0.04,
    "low": 0.07, "high": 0.09,
}  # fmt: skip


def made(*answers, value=None, **left):
    """A report of which the first concepts have these answers."""
    plain = make_plain()
    for concept, answer in zip(plain["concepts"]["list"], answers, strict=False):
        concept |= {"obeyed": answer, "turned": TURNED}
        if value is not None:
            concept |= {"attribute": "genre", "value": value}
    return Report.model_validate(
        plain | {"goals": goals_block(raw() | {"obeyed": summary(), **left})}
    )


def block(**changes):
    return Obeyed.model_validate(summary(**changes))


def test_the_finding_in_words():
    assert finding(block()) == (
        "53 of 90 verified concepts do what they say when turned; 37 are only readable (for 4 the "
        "opposite happens, for 33 no change can be told). With the labels of other concepts, 21% "
        "would. Of 10 concepts whose label is not verified, 4 do what the label says. Of the "
        "verified units of baselines do so: random directions 50%."
    )
    one = {"n_readable_turned": 1, "both": 1, "readable_only": 0, "by_chance": None}
    alone = [two_by_two(**one, n_unreadable_turned=0)]
    assert finding(block(codes=alone)) == "1 of 1 verified concept does what it says when turned."
    none = [two_by_two(n_readable_turned=0, n_unreadable_turned=0)]
    assert finding(block(codes=none)) == ""
    assert finding(None) == ""


def test_the_table():
    first, random = table(block())
    assert first[1:5] == ["90 of 95", "53 (59%)", "37 (41%)", "10 of 40"]
    assert first[5:] == ["4 (40%)", "6 (60%)", "21%"]
    assert (random[0], random[1]) == ("random directions", "90")
    assert len(first) == len(HEADS)
    assert without_items(block()).startswith("2 more concepts speak of no items")
    assert not_turned(block()) == ["Not turned: principal components and raw neurons; no time."]


def test_it_follows_the_schema_and_round_trips():
    report = made("yes", "no")
    plain = json.loads(report.to_json())
    jsonschema.validate(plain, json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
    assert Report.model_validate(plain) == report
    assert plain["goals"]["obeyed"]["codes"][0]["readable_only"] == 37
    assert plain["concepts"]["list"][1]["turned"]["share_up"] == 0.123


def test_the_page_the_card_and_the_table_of_concepts():
    report = made("yes", "no")
    text = page(report)
    assert "53 of 90 verified concepts do what they say when turned" in text
    assert "<caption>Readable and obeyed</caption>" in text
    assert "<td>random directions</td><td>90</td><td>45 (50%)</td>" in text
    assert "Not turned: principal components and raw neurons; no time." in text
    assert "- Readable and obeyed. 53 of 90 verified" in card(report)
    rows = list(csv.DictReader(io.StringIO(concepts_csv(report))))
    assert [row["obeyed"] for row in rows[:3]] == ["yes", "no", ""]


def test_why_it_was_not_measured():
    text = page(made(obeyed=None, obeyed_skipped="It ranks <slowly>."))
    assert "<b>This was not measured.</b> It ranks &lt;slowly&gt;." in text


def test_reports_of_earlier_versions_say_nothing_of_it():
    report = Report.model_validate(make_plain() | {"goals": goals_block(raw())})
    assert report.goals is not None
    assert report.goals.obeyed is None
    text = page(report)
    assert "Which concepts do what they say?" not in text
    assert "This was not measured" not in text
    assert "Readable and obeyed" not in card(report)


@pytest.mark.end_to_end
def test_a_run_has_it_in_its_report_and_in_tables(planted_run):
    report, run = read_report(planted_run), load_run(planted_run)
    turned = run.obeyed[run.obeyed["code"] == "sae"].set_index("latent")
    concepts = run.concepts.set_index("latent")
    assert report.goals is not None
    assert report.goals.obeyed is not None
    for concept in report.concepts.list:
        if concept.turned is None:
            assert concept.obeyed is None
            assert concept.latent not in turned.index
            continue
        row = turned.loc[concept.latent]
        assert concept.obeyed == row["obeyed"] == concepts.loc[concept.latent, "obeyed"]
        assert concept.turned.share_up == pytest.approx(row["share_up"])
    assert {concept.obeyed for concept in report.concepts.list} >= {"yes", None}


@pytest.mark.end_to_end
def test_a_run_of_an_earlier_version_has_the_other_tables(planted_run, tmp_path):
    from helpers.runs import copy_of
    from recsae.core.errors import ArtifactMismatch

    folder = copy_of(planted_run, tmp_path / "run")
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    del record["stages"]["goals"]["outputs"]["obeyed.parquet"]
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    (folder / "obeyed.parquet").unlink()
    run = load_run(folder)
    assert "obeyed" not in run.concepts
    with pytest.raises(ArtifactMismatch, match="does not say which concepts do what they say"):
        _ = run.obeyed


in_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install chromium")


def row_of(report, folder, latent, **how):
    """What the opened row of a concept says of it; None where it says nothing."""
    script = f"""const said = document.querySelector("#evidence-{latent} .obeyed");
        out.said = said && said.textContent;"""
    return play(write_report(report, folder), script, f"#latent-{latent}", **how)["said"]


@pytest.mark.browser
@in_browser
def test_the_row_of_a_concept_says_it(tmp_path):
    report = made("yes", "no", "cannot be told")
    yes, no, untold = (row_of(report, tmp_path, latent) for latent in range(3))
    assert yes.startswith("Turned up, do lists hold more items that are ")
    assert "? Yes. Their share of the top 10 is 12% with 1.89 more of the concept" in yes
    assert "4.0% with as much less, and 6.7% as it is." in yes
    assert "? No, the opposite." in no
    assert "? That cannot be told." in untold
    assert "a difference that chance can make" in untold
    assert row_of(report, tmp_path, 5) is None


@pytest.mark.browser
@in_browser
def test_a_verified_concept_that_does_not_is_only_readable(tmp_path):
    only = "Only readable: turning it was not seen to do what its label says."
    report = made("no", "no")
    status = [concept.status for concept in report.concepts.list]
    assert status[:2] == ["verified", "supported"]
    assert only in row_of(report, tmp_path, 0)
    assert only not in row_of(report, tmp_path, 1)
    assert only not in row_of(made("yes"), tmp_path, 0)


@pytest.mark.browser
@in_browser
def test_concepts_are_sorted_by_it(tmp_path):
    script = """
        const head = all("#table thead th[data-sort=obeyed] button")[0];
        out.head = head.textContent;
        head.click();
        out.first = all("#table tr.row").slice(0, 4).map((r) => r.lastElementChild.textContent);
        """
    out = play(write_report(made("no", "cannot be told", "yes"), tmp_path), script)
    assert out["head"] == "obeyed"
    assert out["first"] == ["yes", "unsure", "no", "–"]
    old = play(write_report(made(), tmp_path), 'out.n = all("[data-sort=obeyed]").length;')
    assert old["n"] == 0


@pytest.mark.browser
@in_browser
def test_hostile_values_stay_text(tmp_path):
    said = row_of(made("yes", value=HOSTILE[0]), tmp_path, 0, policy=True)
    assert HOSTILE[0][:20] in said
