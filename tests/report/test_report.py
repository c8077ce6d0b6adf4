"""The report: its schema, its files, its sentences, and hostile titles in each of them."""

import csv
import io
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.reports import GENRES, HOSTILE, around, make_plain, make_report, named_share
from recsae.concepts.attributes.names import FANS
from recsae.core.errors import ArtifactMismatch, RecSAEError
from recsae.report import read_report, write_report
from recsae.report.escape import cell, markdown, script_json
from recsae.report.figures import charted, figures
from recsae.report.page import page
from recsae.report.schema.report import SCHEMA_FILE, Accuracy, Report, schema_text
from recsae.report.tables import COLUMNS, card, concepts_csv
from recsae.report.words.concepts import best_distinct, usefulness
from recsae.report.words.headlines import (
    accuracy_headline,
    headlines,
    share_outcomes,
    verdict,
)
from recsae.report.write import follows_schema

pytestmark = pytest.mark.processes


def test_importing_the_report_is_cheap() -> None:
    heavy = ["pydantic", "jinja2", "matplotlib", "pandas", "numpy", "torch"]
    code = f"import sys, recsae.report; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_saved_schema_is_current_and_accepts_a_report() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text()
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(make_report().to_json()), schema)


def test_json_round_trips_with_the_contract_keys() -> None:
    report = make_report()
    plain = json.loads(report.to_json())
    assert Report.model_validate(plain) == report
    figures = {"8", "16", "32", "ndcg_kept_32"}
    assert set(plain["named_share"]["sae"]) == figures | {"intervals", "n_verified", "sae_ahead"}
    assert set(plain["named_share"]["sae"]["intervals"]) == figures
    assert set(plain["named_share"]["pca"]["sae_ahead"]) == {"8", "16", "32"}
    assert set(plain["label_quality"]["pca"]) == {"value", "sae_ahead"}
    newer = {"label_values", "left_out", "supervised", "stability", "language", "goals"}
    assert set(plain) - set(make_plain()) == newer


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), np.float32("nan"), np.nan])
def test_nan_becomes_null(bad: float) -> None:
    plain = make_plain()
    plain["sae"]["fvu"] = bad
    plain["timings"]["train"] = bad
    plain["accuracy"]["heldout"]["ndcg_kept_ci"] = [bad, 1.0]
    written = Report.model_validate(plain).to_json()
    assert "NaN" not in written
    assert "Infinity" not in written
    again = json.loads(written)
    assert again["sae"]["fvu"] is again["timings"]["train"] is None
    assert again["accuracy"]["heldout"]["ndcg_kept_ci"] == [None, 1.0]


def test_numpy_scalars_are_accepted() -> None:
    plain = make_plain()
    plain["sae"]["n_latents"] = np.int64(5)
    plain["sae"]["fvu"] = np.float32(0.25)
    report = Report.model_validate(plain)
    assert (report.sae.n_latents, report.sae.fvu) == (5, 0.25)


@pytest.mark.parametrize("damage", ["unknown", "missing", "version", "twice"])
def test_what_does_not_belong_is_refused(damage: str, tmp_path: Path) -> None:
    plain = make_plain()
    if damage == "unknown":
        plain["sae"]["k_activ"] = 3
    elif damage == "missing":
        del plain["accuracy"]
    elif damage == "version":
        plain["schema_version"] = "9.0"
    else:
        plain["concepts"]["list"][1]["latent"] = plain["concepts"]["list"][0]["latent"]
    (tmp_path / "report.json").write_text(json.dumps(plain))
    with pytest.raises(
        ArtifactMismatch, match=r"report\.json does not follow schema 1\.1: at Report"
    ):
        write_report(None, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


def test_figures_that_do_not_belong_are_refused_in_a_sentence() -> None:
    figures = make_plain()["accuracy"]
    del figures["heldout"]["rbo"]
    said = (
        r"The report does not follow schema 1\.1: at Accuracy\.heldout\.rbo, Field required\. Run"
    )
    with pytest.raises(ArtifactMismatch, match=said), follows_schema("The report"):
        Accuracy.model_validate(figures)


def test_each_concept_and_item_of_report_json_has_a_line() -> None:
    report = make_report()
    lines = [line.strip(",") for line in report.to_json().split("\n")]
    dumped = report.model_dump(mode="json", by_alias=True)
    tested = dumped["concepts"]["list"]
    assert tested
    assert all(json.dumps(concept, ensure_ascii=False) in lines for concept in tested)
    for key, item in dumped["items"].items():
        assert f"{json.dumps(key)}: {json.dumps(item, ensure_ascii=False)}" in lines


def test_missing_or_cut_report_json(tmp_path: Path) -> None:
    with pytest.raises(ArtifactMismatch, match=r"There is no report\.json"):
        write_report(None, tmp_path)
    text = make_report().to_json()
    for content in (text[:1000].encode(), b"\xff\xfe", b"[1]", b""):
        (tmp_path / "report.json").write_bytes(content)
        with pytest.raises(ArtifactMismatch, match=r"report\.json"):
            write_report(None, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


def test_writes_every_file_and_the_same_bytes_again(drawn_anew: None, tmp_path: Path) -> None:
    html = write_report(make_report(), tmp_path / "run")
    first = {p.name: p.read_bytes() for p in html.parent.iterdir()}
    assert set(first) == {
        *("report.json", "report.html", "card.md", "concepts.csv", "figures.json")
    }
    (html.parent / "report.html").unlink()
    write_report(None, html.parent)
    assert {p.name: p.read_bytes() for p in html.parent.iterdir()} == first
    assert read_report(html.parent) == make_report()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: Any) -> None:
    write_report(make_report(), tmp_path)
    before = (tmp_path / "report.json").read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RecSAEError, match=r"The disk is full: .*report\.json could not be"):
        write_report(make_report(5), tmp_path)
    assert (tmp_path / "report.json").read_bytes() == before
    assert not [p for p in tmp_path.iterdir() if p.name.endswith(".part")]


def test_figures_are_deterministic_and_ask_for_nothing(drawn_anew: None) -> None:
    drawn = figures(charted(make_report(40)))
    assert list(drawn) == ["verified", "share", "scatter", "firing"]
    assert drawn == figures(charted(make_report(40)))
    for svg in drawn.values():
        assert svg.startswith('<svg role="img" aria-label=')
        assert svg.endswith("</svg>")
        assert "http" not in svg
        assert "metadata" not in svg
        assert "#0" not in svg.replace("#0000", "").replace("url(#", "").replace('href="#', "")


def test_redacted_users_are_consistent(tmp_path: Path) -> None:
    plain = make_plain()
    for one in plain["concepts"]["list"]:
        for example in one["examples"]:
            example["user"] = f"secret-{example['user']}"
    write_report(Report.model_validate(plain), tmp_path, redact_users=True)
    for name in ("report.html", "card.md", "concepts.csv"):
        assert "secret-" not in (tmp_path / name).read_text()
    shown = (tmp_path / "report.html").read_text()
    users = {e["user"] for c in plain["concepts"]["list"] for e in c["examples"]}
    data = json.loads(shown.split('id="data">')[1].split("</script>")[0])
    assert data["users"] == [f"user {n + 1}" for n in range(len(users))]
    assert "secret-" in (tmp_path / "report.json").read_text()


def test_hostile_titles_stay_inside_the_data() -> None:
    plain = make_plain()
    for part, key in (("model", "name"), ("data", "name"), ("accuracy", "metric_note")):
        plain[part][key] = HOSTILE[1]
    plain["steering"][0]["target"] = plain["attributes"][0]["attribute"] = HOSTILE[2]
    text = page(Report.model_validate(plain))
    assert text.count("<script") == 2
    assert text.count("</script>") == 2
    assert "<img" not in text
    assert "{{" not in text.replace("{{ 7 * 7 }} {% raw %}", "")
    data = text.split('id="data">')[1].split("</script>")[0]
    assert json.loads(data)["items"][1][0] == HOSTILE[1]


@settings(max_examples=60, deadline=None)
@given(st.text())
def test_script_json_is_exact_and_has_no_markup(text: str) -> None:
    written = script_json([text])
    assert not set("<>&\u2028\u2029") & set(written)
    assert json.loads(written) == [text]


@settings(max_examples=60, deadline=None)
@given(st.text())
def test_markdown_stays_on_one_line_without_markup(text: str) -> None:
    written = markdown(text)
    assert "\n" not in written
    assert "<" not in written
    assert ">" not in written
    for sign in "|`*_[":
        assert written.count("\\" + sign) == written.count(sign) == text.count(sign)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", " =1", "\t=1", "\r1"])
def test_cells_are_no_formulas(text: str) -> None:
    assert cell(text) == "'" + text


def test_csv_has_every_plain_field() -> None:
    plain = make_plain()
    plain["concepts"]["list"][0]["name"] = HOSTILE[4]
    plain["concepts"]["list"][1]["label"] = "two\nlines, and a comma"
    rows = list(csv.DictReader(io.StringIO(concepts_csv(Report.model_validate(plain)))))
    assert list(rows[0]) == COLUMNS
    assert len(rows) == 12
    assert rows[0]["name"] == "'" + HOSTILE[4]
    assert rows[1]["label"] == "two\nlines, and a comma"
    assert rows[4]["precision"] == ""
    assert COLUMNS[COLUMNS.index("precision") :][:4] == [
        *("precision", "precision_low", "recall", "recall_low")
    ]
    for name in ("precision_low", "recall_low"):
        assert float(rows[0][name]) == plain["concepts"]["list"][0][name]


def test_what_never_comes_back_is_not_among_the_first() -> None:
    report = make_report(300)
    first, second = best_distinct(report)[:2]
    gone = {"activity": 0.0}
    changed = [
        c.model_copy(
            update={"back": gone if c.value == first.value else {"activity": 0.5, "label": 0.5}}
        )
        for c in report.concepts.list
    ]
    concepts = report.concepts.model_copy(update={"list": changed})
    best = best_distinct(report.model_copy(update={"concepts": concepts}))
    assert best[0].latent == second.latent
    assert best[-1].value == first.value


def test_what_names_single_items_comes_after_what_says_what_they_are() -> None:
    report = make_report(300)
    first, second, third = best_distinct(report)[:3]
    instead = {
        first.value: {"attribute": FANS},
        second.value: {"kind": "item"},
        third.value: {"negated": True},
    }
    changed = [c.model_copy(update=instead.get(c.value, {})) for c in report.concepts.list]
    concepts = report.concepts.model_copy(update={"list": changed})
    best = best_distinct(report.model_copy(update={"concepts": concepts}))
    assert [c.latent for c in best[-3:]] == [first.latent, second.latent, third.latent]


def test_card_lists_distinct_verified_concepts_once() -> None:
    report = make_report(300)
    best = best_distinct(report)
    assert len(best) == len({c.value for c in best}) == len(GENRES)
    useful = [usefulness(c) for c in best]
    assert useful == sorted(useful, reverse=True)
    verified = [c for c in report.concepts.list if c.status == "verified"]
    assert useful[0] == max(c.explains * c.precision for c in verified)
    text = card(report)
    assert "**71%** (95% interval 70% to 72%) of what the model’s scores depend on" in text
    first = best[0]
    bounds = [math.floor(100 * low) for low in (first.precision_low, first.recall_low)]
    assert (
        f"| {first.precision:.0%} | {bounds[0]}% | {first.recall:.0%} | {bounds[1]}% |"
        f" {first.f1:.2f} | {first.n_pos} |"
    ) in text
    assert "precision and recall above 50%, each with 95% confidence" in text
    assert "| raw neurons | 19% (18 to 20) | 26% (25 to 27) | 31% (30 to 32) |" in text
    assert "| 55% (54 to 56) |" in text
    assert text.count("| Active when most of the last 5 items are") == len(GENRES)


def test_card_escapes() -> None:
    plain = make_plain()
    plain["concepts"]["list"][0]["name"] = "a|b <script>x</script>"
    text = card(Report.model_validate(plain))
    assert "a\\|b &lt;script&gt;x&lt;/script&gt;" in text
    assert "<script" not in text


def test_verdict_when_the_concepts_win() -> None:
    said = verdict(make_report())
    assert (said.tone, said.title) == ("good", "The concepts beat every baseline")
    assert (
        "these concepts 71% (70 to 72), random directions 52% (51 to 53), raw neurons 31%"
        in said.detail
    )
    assert "labels are, over all activations: these concepts 62% (61 to 63), random" in said.detail


def test_verdict_when_they_lose_or_tie() -> None:
    lost = verdict(make_report(shares=(0.40, 0.52)))
    assert lost.tone == "bad"
    assert lost.title == "The concepts lose to random directions: do not trust this dictionary"
    for near in (0.515, 0.525):
        tied = verdict(make_report(shares=(0.52, near)))
        assert tied.tone == "bad"
        assert "no better than random directions" in tied.title
        assert tied.detail.endswith("A difference whose 95% interval holds 0 is called a tie.")


def test_verdict_when_a_plain_sae_explains_more_or_has_better_labels() -> None:
    """That one of its kind does better is no reason to distrust a dictionary, but is said first."""
    plain = make_plain()
    plain["named_share"]["plain"] = named_share(0.8, 0.71)
    said = verdict(Report.model_validate(plain))
    assert said.tone == "mixed"
    assert said.title.endswith("every baseline, but less than the plain SAE")
    assert "plain SAE 80% (79 to 81)" in said.detail
    assert "--core none" in said.detail
    plain["named_share"]["plain"] = named_share(0.71, 0.71)
    plain["label_quality"]["plain"] = {"value": around(0.7), "sae_ahead": around(-0.08)}
    said = verdict(Report.model_validate(plain))
    assert said.tone == "mixed"
    assert said.title.endswith("their labels are less right than those of plain SAE")


def test_a_core_at_random_whose_labels_are_given_is_named_where_they_are_more_right() -> None:
    plain = make_plain()
    plain["label_quality"]["gates"] = {"value": around(0.8), "sae_ahead": around(-0.18)}
    said = verdict(Report.model_validate(plain))
    assert (said.tone, said.title) == ("good", "The concepts explain more than every baseline")
    assert "Beside these, core drawn at random 80% (79 to 81)" in said.detail


def test_the_interval_of_the_difference_decides_not_the_difference() -> None:
    plain = make_plain(shares=(0.52, 0.515))
    plain["named_share"]["random"]["sae_ahead"]["32"] = [0.005, 0.001, 0.009]
    assert verdict(Report.model_validate(plain)).tone == "good"
    plain["named_share"]["random"]["sae_ahead"]["32"] = [-0.005, -0.009, -0.001]
    assert "lose to random" in verdict(Report.model_validate(plain)).title
    plain["named_share"]["random"]["sae_ahead"]["32"] = [0.2, -0.01, 0.41]
    assert "no better than random" in verdict(Report.model_validate(plain)).title
    assert share_outcomes(Report.model_validate(plain)) == {
        "random": "tied",
        "neurons": "ahead",
        "pca": "ahead",
    }


def test_verdict_on_few_users_says_so() -> None:
    plain = make_plain()
    plain["data"]["n_heldout_users"] = 79
    assert "With only 79" not in verdict(Report.model_validate(plain)).detail
    plain["model"]["one_state_per_user"] = True
    assert "With only 79 held-out users, a" in verdict(Report.model_validate(plain)).detail


def test_verdict_when_labels_are_less_right() -> None:
    plain = make_plain()
    plain["label_quality"]["pca"] = {"value": around(0.7), "sae_ahead": around(-0.08)}
    said = verdict(Report.model_validate(plain))
    assert said.tone == "mixed"
    assert said.title.endswith("their labels are less right than those of principal components")
    plain["label_quality"]["pca"]["sae_ahead"] = around(0.005)
    said = verdict(Report.model_validate(plain))
    assert said.tone == "mixed"
    assert said.title.endswith("are no more right than those of principal components")
    plain["label_quality"] = {}
    said = verdict(Report.model_validate(plain))
    assert (said.tone, said.title) == ("good", "The concepts explain more than every baseline")


def test_the_tiles_say_what_is_sure_and_what_the_named_ones_keep() -> None:
    plain = make_plain()
    plain["named_share"]["sae"]["ndcg_kept_32"] = 0.84
    plain["named_share"]["sae"]["intervals"]["ndcg_kept_32"] = [0.83, 0.85]
    share, labels, kept, count = headlines(Report.model_validate(plain))
    assert (share.figure, share.interval) == ("71%", "95% interval 70% to 72%")
    assert (labels.figure, labels.interval) == ("62%", "95% interval 61% to 63%")
    assert "(principal components, the best whose labels are found, reach 55%)" in labels.says
    assert labels.how.endswith(
        "The concepts are ahead of random directions, raw neurons and principal components."
    )
    assert [(bar.code, bar.value) for bar in labels.bars] == [
        *(("sae", 0.62), ("random", 0.41), ("neurons", 0.38), ("pca", 0.55))
    ]
    assert kept.figure == "97% and 84%"
    assert "with all concepts, named or not, and with the 32 named, verified" in kept.says
    assert "(95% interval 97% to 98%), or by what the named" in kept.how
    assert "(95% interval 83% to 85%); 198,000 positions" in kept.how
    assert count.figure == str(plain["concepts"]["distinct_verified"])
    plain["named_share"]["sae"]["ndcg_kept_32"] = None
    kept = accuracy_headline(Report.model_validate(plain))
    assert kept.figure == "97%"
    assert kept.says.endswith("with the named concepts alone it could not be computed")


def test_verdict_without_verified_concepts_or_baselines() -> None:
    assert "lose to random" in verdict(make_report(shares=(0.0, 0.52))).title
    assert verdict(make_report(shares=(None, 0.52))).tone == "unknown"
    plain = make_plain()
    plain["named_share"] = {"sae": plain["named_share"]["sae"]}
    assert verdict(Report.model_validate(plain)).tone == "unknown"


def test_a_report_of_unknowns_still_renders(tmp_path: Path) -> None:
    plain = make_plain(0)
    held = plain["accuracy"]["heldout"]
    held["base"] = held["reconstructed"] = {}
    held["ndcg_kept"] = held["rbo"] = held["kendall"] = None
    held["ndcg_kept_ci"] = held["last_item_ndcg_kept_ci"] = [None, None]
    plain["accuracy"]["all_users"]["base"] = {"ndcg@10": None}
    plain["accuracy"]["all_users"]["reconstructed"] = {}
    plain.update(named_share={}, recsae_protocol={}, baselines={}, attributes=[], steering=[])
    plain.update(label_quality={})
    plain.update(items={}, timings={}, memory={"all": None}, versions={}, skipped_attributes=[])
    plain["protocol"].update(threshold=None, one_sided_level=None)
    plain["data"].update(notes=["no titles or attributes were found"], title_column=None)
    html = write_report(Report.model_validate(plain), tmp_path).read_text()
    assert "no titles or attributes were found" in html
    assert "Not compared with baselines" in html
    assert [h.figure for h in headlines(read_report(tmp_path))] == ["–", "–", "–", "0"]
    assert "None" not in html
    assert "nan" not in html.split('id="data">')[0].split("<main>")[1]


if __name__ == "__main__":  # python tests/test_report.py DIR [N]: a report to look at
    write_report(make_report(int(sys.argv[2]) if len(sys.argv) > 2 else 12), sys.argv[1])


def test_what_training_states_lack_is_said_where_they_lack_it(tmp_path: Path) -> None:
    plain = make_plain()
    html = write_report(Report.model_validate(plain), tmp_path).read_text()
    assert (
        "41% have up to a fifth less context: of 1,000 of them 87% of the recommendations and 74% "
        "of the active concepts are the same with all of it." in html
    )
    plain["accuracy"]["short_states"] = None
    assert "less context" not in write_report(Report.model_validate(plain), tmp_path).read_text()


def test_a_model_of_users_is_not_said_to_have_positions(tmp_path: Path) -> None:
    plain = make_plain()
    held = plain["accuracy"]["heldout"]
    said = f"{held['n_positions']:,} positions of {held['n_users']:,} held-out users."
    assert accuracy_headline(Report.model_validate(plain)).how.endswith(said)
    plain["model"]["one_state_per_user"] = True
    report = Report.model_validate(plain)
    assert accuracy_headline(report).how.endswith(f" {held['n_users']:,} held-out users.")
    write_report(report, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "every position" not in page
