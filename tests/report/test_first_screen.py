"""The first screen: counts by hand, which concepts are chosen, and what is not said."""

from typing import Any

import pytest

from helpers.goal_reports import raw
from helpers.reports import HOSTILE, make_plain
from recsae.pipeline.report_goals import goals_block
from recsae.report.page import page
from recsae.report.schema.report import Report
from recsae.report.words.concepts import usefulness
from recsae.report.words.first_screen import (
    attention,
    cards,
    headline,
    kinds,
    steps,
    trust,
)


def report_of(*concepts: dict[str, Any], **others: Any) -> Report:
    """A report of verified concepts that differ from the helper's in what is given."""
    plain = make_plain(12)
    known = plain["concepts"]["list"][0]
    plain["concepts"]["list"] = [
        {**known, "latent": n, "status": "verified", "precision": 0.8, "f1": 0.8, "recall": 0.8,
         "fire_rate": 0.1, "explains": 0.1, "kind": "theme", "value": f"v{n}", **concept}
        for n, concept in enumerate(concepts)
    ]  # fmt: skip
    return Report.model_validate(plain | others)


MIXED = report_of(
    {"attribute": "genre", "explains": 0.5, "predicate_site": "last"},
    {"attribute": "genre", "explains": 0.4, "predicate_site": "top10"},
    {"attribute": "decade", "explains": 0.3, "predicate_site": "last20"},
    {"attribute": "before decade", "explains": 0.2, "predicate_site": "last5"},
    {"attribute": "genre", "explains": 0.1, "predicate_site": "top1"},
    {"attribute": "item", "kind": "item", "explains": 0.01, "predicate_site": "last"},
    {"attribute": "popularity", "kind": "situation", "status": "supported"},
)


def test_what_the_concepts_are_about_is_counted():
    assert headline(MIXED) == "SASRec looks first at genre and how old items are"
    assert attention(MIXED) == (
        "Of the 6 verified concepts that explain most of its scores 3 are about genre, 2 about "
        "how old items are and 1 about single items."
    )
    assert kinds(MIXED) == (
        "Of 6 verified concepts 1 follow a few items and 5 follow a theme. 4 read the "
        "history, 3 of them no further back than its last five items; the others say what is "
        "recommended."
    )


def test_without_a_verified_concept_nothing_is_said():
    none = report_of({"status": "supported"})
    assert (headline(none), attention(none), kinds(none), cards(none)) == ("", "", "", [])
    assert "What this recommender pays attention to" in page(none)
    assert [step.command for step in steps(none, [])] == [
        "recsae tune RUN --more CONCEPT",
        "recsae explain RUN --user USER",
        "recsae compare RUN OTHER --html both.html",
    ]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"precision": 0.5, "explains": 0.2}, 0.1),
        ({"precision": 0.5, "explains": 0.2, "back": {"activity": 1.0, "label": 0.5}}, 0.05),
        ({"precision": 0.5, "explains": 0.2, "back": {"activity": 1.0, "label": 0.0}}, 0.0),
        ({"precision": None, "explains": 0.2}, 0.0),
    ],
)
def test_usefulness_by_hand(fields, expected):
    (concept,) = report_of(fields).concepts.list
    assert usefulness(concept) == pytest.approx(expected)


def test_cards_are_useful_common_and_different():
    beside = [{"kind": "with", "latent": 0, "n_together": 9, "lift": 2.0, "phi": 0.9}]
    report = report_of(
        {"attribute": "genre", "explains": 0.9},
        {"attribute": "genre", "explains": 0.8, "together": beside},  # active with the first
        {"attribute": "genre", "explains": 0.7, "fire_rate": 0.6},  # nearly everywhere
        {"attribute": "genre", "explains": 0.6},
        {"attribute": "genre", "explains": 0.5},  # the third of its kind: after the others
        {"attribute": "decade", "explains": 0.4, "back": {"activity": 0.0, "label": 0.0}},
        {"attribute": "mpaa", "explains": 0.1},
        {"attribute": "mpaa", "explains": 0.2, "negated": True},  # what is not there
        {"attribute": "mpaa", "explains": 0.3, "correction": "rejected"},
    )
    chosen = [card.latent for card in cards(report)]
    assert chosen == [0, 3, 6, 7, 5, 4]
    assert [card.latent for card in cards(report, 2)] == [0, 3]


def test_a_card_holds_a_real_history_and_its_list():
    concept = {"recommended": ["i0", "i7", "i8"], "precision_low": 0.769, "recall_low": 0.7}
    (card,) = cards(report_of(concept))
    assert list(card.recommended) == [HOSTILE[0], "Movie 1 (1941)", "Movie 2 (1942)"]
    assert len(card.history) == 5
    assert card.sure == "at least 76% and 70%, 95% sure of each"
    shown = page(report_of(concept))
    assert "<li>&lt;script&gt;window.hacked = 1&lt;/script&gt;</li>" in shown


def test_titles_are_shown_as_people_say_them():
    plain = make_plain(12)
    plain["items"]["i7"]["title"] = "Silence of the Lambs, The (1991)"
    concepts = [{"recommended": ["i7"]}]
    (card,) = cards(report_of(*concepts, items=plain["items"]))
    assert list(card.recommended) == ["The Silence of the Lambs (1991)"]
    assert '"The Silence of the Lambs (1991)"' in page(report_of(*concepts, items=plain["items"]))


def test_trust_has_intervals_and_leaves_out_what_was_not_measured():
    facts = {fact.name: fact.figure for fact in trust(MIXED)}
    assert facts["Together"] == "71% (70 to 72)"
    assert "Again" not in facts
    assert "One by one" in facts


def test_what_follows_one_card_is_not_told_of_another():
    told = [{"view": "last", "item": f"i{n}", "n_active": 90 - n, "n_cases": 100} for n in range(4)]
    made = cards(report_of({"active_on": told}, {"active_on": told, "attribute": "decade"}))
    assert [list(card.follows) for card in made] == [HOSTILE[:2], HOSTILE[2:4]]


def test_the_command_is_that_of_the_goal_that_is_told():
    goals = goals_block(raw()).model_dump(mode="json", by_alias=True)
    report = report_of({}, goals=goals)
    assert report.goals.rows[0].goal == "more genre: Horror"
    assert steps(report, cards(report))[0].command == "recsae tune RUN --more Horror"


def test_commands_are_quoted():
    report = report_of({"attribute": "genre", "value": "Film-Noir & more"})
    assert steps(report, cards(report))[0].command == "recsae tune RUN --more 'Film-Noir & more'"


def test_how_common_a_concept_is_counts_on_held_out_users():
    rare = {"fire_rate": 0.9, "heldout_fire_rate": 0.1}
    common = {"fire_rate": 0.1, "heldout_fire_rate": 0.9, "attribute": "decade"}
    assert [card.latent for card in cards(report_of(rare, common))] == [0]


def test_every_step_leads_into_the_page():
    assert [s.href for s in steps(MIXED, cards(MIXED))] == ["#steering", "#concepts", "#run"]
    bare = report_of({"status": "supported"}, steering=[])
    assert [s.href for s in steps(bare, [])] == ["#concepts", "#concepts", "#run"]


def test_ndcg_is_explained_where_it_is_first_met():
    report = MIXED.model_copy(update={"goals": goals_block(raw())})
    text = page(report)
    body = text[text.index("<body") :]
    first = body.index("NDCG@10<")
    assert body[:first].endswith(
        '<abbr title="How high the item that a user went on to stands in the list of ten: 1 if it '
        'is always first, 0 if it is never there.">'
    )
    assert body.count("<abbr") == 1


def test_what_is_explained_is_still_text():
    goal = {**raw(), "goals": [{**raw()["goals"][0], "goal": f"more genre: {HOSTILE[1]}"}]}
    text = page(MIXED.model_copy(update={"goals": goals_block(goal)}))
    assert "<abbr" in text
    assert HOSTILE[1] not in text
