"""What the page of two runs is made of: a planted run beside itself, relabelled and unlabelled."""

from pathlib import Path

import pytest

from helpers.runs import copy_of, taken_as_it_is
from recsae.concepts.corrections import REJECTED
from recsae.core.errors import InvalidInput
from recsae.core.files import read_json, write_json
from recsae.explore import compare_page
from recsae.explore.compare import compare_runs
from recsae.explore.compare_page import comparison_content, write_comparison
from recsae.report import read_report
from recsae.report.words.concepts import follows, right_words

pytestmark = pytest.mark.end_to_end


def another_model(folder):
    """The same run, said to be of another model."""
    manifest = read_json(folder / "heldout/manifest.json")
    write_json(folder / "heldout/manifest.json", {**manifest, "model": "another"})
    return taken_as_it_is(folder)


def test_cards_say_what_the_report_says(planted_run):
    content = comparison_content(compare_runs(planted_run, planted_run))
    report = read_report(planted_run)
    assert [card.latent for card in content.before] == [card.latent for card in content.after]
    assert {card.latent for card in content.before} == {c.latent for c in report.concepts.list}
    concept = max(report.concepts.list, key=lambda c: len(follows(c)))
    (card,) = (card for card in content.before if card.latent == concept.latent)
    assert card.status == concept.status
    assert card.right == right_words(concept.status, concept.precision, concept.recall)
    assert card.promotes == tuple(report.title(w.item) for w in concept.promotes[:2])
    assert card.follows == tuple(report.title(item) for item in follows(concept)[:2])
    assert card.follows


def test_pairs_counts_and_figures_are_those_of_the_comparison(planted_run):
    compared = compare_runs(planted_run, planted_run)
    content = comparison_content(compared)
    assert content.verdict[:2] == ("same", "The same dictionary")
    assert content.counts["same name"] == (compared.n_verified.same_name, compared.n_all.same_name)
    assert {(pair.before, pair.change) for pair in content.pairs} == {
        (latent, "same name") for latent in range(compared.before.n_latents)
    }
    figures = {name: (before, after) for name, before, after in content.figures}
    assert figures["latents"] == (compared.before.n_latents,) * 2
    assert "run" not in figures
    assert content.runs[0].startswith(f"{planted_run}: ")
    assert content.lists == "Both runs are of the same model, so its lists are the same."


def test_what_people_rejected_is_called_that(tmp_path, planted_run):
    other = copy_of(planted_run, tmp_path / "other")
    (other / "corrections.toml").write_text('[reject]\n0 = "says nothing"\n')
    content = comparison_content(compare_runs(planted_run, other))
    assert {card.latent: card.status for card in content.after}[0] == REJECTED
    assert {card.latent: card.status for card in content.before}[0] != REJECTED


def test_two_models_that_cannot_be_opened_leave_names_and_no_lists(tmp_path, planted_run):
    other = another_model(copy_of(planted_run, tmp_path / "other"))
    compared = compare_runs(planted_run, other)
    content = comparison_content(compared)
    assert content.by_name
    assert content.verdict[0] == "unknown"
    assert content.verdict[2].startswith("A model in memory cannot be asked again")
    n = len(compared.names.both)
    assert n > 0
    assert content.verdict[2].endswith(
        f"{n} names are verified in both runs, 0 only in the first and 0 only in the second."
    )
    assert "was made from a model in memory" in content.lists
    assert all(pair.similarity is None for pair in content.pairs)


def test_lists_of_two_models_are_asked_for_with_trust(tmp_path, planted_run, monkeypatch):
    other = another_model(copy_of(planted_run, tmp_path / "other"))
    asked = []
    monkeypatch.setattr(
        compare_page,
        "shared_lists",
        lambda before, after, *, trust: asked.append((before, after, trust)) or "none",
    )
    compared = compare_runs(planted_run, other)
    assert comparison_content(compared, trust=True).lists == "none"
    assert asked == [(planted_run, other, True)]


def test_the_page_is_written_whole(tmp_path, planted_run):
    compared = compare_runs(planted_run, planted_run)
    page = write_comparison(compared, str(tmp_path / "page.html"))
    assert page == tmp_path / "page.html"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "The same dictionary" in page.read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_the_report_of_a_run_is_not_written_over(tmp_path, planted_run):
    compared = compare_runs(planted_run, planted_run)
    before = (Path(planted_run) / "report.html").read_bytes()
    with pytest.raises(InvalidInput, match="report of a run"):
        write_comparison(compared, Path(planted_run) / "report.html")
    with pytest.raises(InvalidInput, match=r"ends in \.html"):
        write_comparison(compared, tmp_path / "page")
    assert (Path(planted_run) / "report.html").read_bytes() == before
