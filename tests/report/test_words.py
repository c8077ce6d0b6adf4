"""What the report says in words: which items a concept follows, how right its label is, values."""

import pytest

from helpers.reports import make_plain
from recsae.report.page_data import page_data
from recsae.report.schema.parts import ActiveOn, Concept
from recsae.report.schema.report import Report
from recsae.report.words.concepts import follows, right_words
from recsae.report.words.values import brief, intervention_words, place_words, value_words


@pytest.mark.parametrize(
    ("status", "precision", "recall", "said"),
    [
        ("verified", 0.852, 0.876, "Right 9 times of 10 when it speaks, finds 9 of 10"),
        ("verified", 0.97, 0.44, "Right more than 9 times of 10 when it speaks, finds 4 of 10"),
        ("verified", 1.0, 0.5, "Right 10 times of 10 when it speaks, finds 5 of 10"),
        ("supported", 0.5, 0.03, "Right 5 times of 10 when it speaks, finds less than 1 of 10"),
        ("untested", None, 0.5, "Too few cases to test"),
        ("dead", None, None, "Never active on held-out users"),
    ],
)
def test_precision_and_recall_in_tenths(status, precision, recall, said):
    assert right_words(status, precision, recall) == said


def test_the_items_that_a_concept_follows():
    told = [
        ActiveOn(view=view, item=item, n_active=n, n_cases=of)
        for view, item, n, of in (
            ("last", "often", 60, 100),
            ("last", "always", 90, 100),
            ("last", "few", 5, 5),  # too few cases
            ("last", "seldom", 49, 100),  # on less than half of them
            ("last", "surely", 850, 1000),
            ("top1", "other", 99, 100),
        )
    ]
    concept = Concept.model_validate(make_plain(1)["concepts"]["list"][0] | {"active_on": told})
    assert follows(concept) == ["surely", "always", "often"]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("class: Horror", ("Horror", "class")),
        ("before decade: 1990s", ("from before the 1990s", "")),
        ("decade: 1990s", ("from the 1990s", "")),
        ("popularity: most popular", ("among the most popular", "")),
        ("popularity: a band of its own", ("a band of its own", "")),
        ("item: i1 | i2", ("“Alien” or “i2”", "")),
        ("class: a: b", ("a: b", "class")),
        ("no attribute", ("no attribute", "")),
    ],
)
def test_values_of_tables_are_said_as_people_say_them(said, words):
    assert value_words(said, {"i1": "Alien"}) == words


def test_what_is_not_known_is_said_as_it_is():
    assert place_words("somewhere else") == "somewhere else"
    assert intervention_words("something new") == "something new"


def test_a_label_of_many_items_names_two_and_the_page_has_it_whole_besides():
    label = "The last item is “A, b”, “C”, “D” or “E”, and not all of the last 5 items are Drama."
    short = (
        "The last item is “A, b”, “C” or 2 more items, and not all of the last 5 items are Drama."
    )
    assert brief(label) == short
    plain = make_plain(2)
    plain["concepts"]["list"][0]["label"] = label
    made = page_data(Report.model_validate(plain))["concepts"]
    first, second = sorted(made, key=lambda concept: concept["latent"])
    assert (first["label"], first["brief"]) == (label, short)
    assert "brief" not in second
