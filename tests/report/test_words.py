"""What the report says of a concept in words: which items it follows, how right its label is."""

import pytest

from helpers.reports import make_plain
from recsae.report.schema.parts import ActiveOn, Concept
from recsae.report.words.concepts import follows, right_words


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
