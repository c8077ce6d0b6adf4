"""Effects by group as they are kept, and groups in words."""

import json

import pytest

from recsae.steering.fairness.results import GroupEffect, GroupEffects, users_words

WOMEN = GroupEffect("gender", "F", 40, 0.25, (0.9, 0.85, 0.95), 0.1, 0.2, (2.0, 1.9, 2.1))
MEN = GroupEffect("gender", "M", 60, 0.2, (0.99, 0.98, 1.0), 0.0, 0.1)
EFFECTS = GroupEffects(
    quantity="share of the top 10",
    rows=(WOMEN, MEN),
    warnings=("Uneven.",),
    n_compared=1,
    margin=0.01,
    left_out={"zip": "900 different values"},
)


@pytest.mark.parametrize("effects", [EFFECTS, GroupEffects(None, ())])
def test_they_read_back_as_they_were_written(effects):
    assert GroupEffects.from_dict(json.loads(json.dumps(effects.to_dict()))) == effects


def test_what_is_written():
    first, second = EFFECTS.to_dict()["rows"]
    assert first == {
        "by": "gender",
        "value": "F",
        "users": "women",
        "held-out users": 40,
        "NDCG@10 before": 0.25,
        "NDCG@10 kept": [0.9, 0.85, 0.95],
        "before": 0.1,
        "after": 0.2,
        "times": [2.0, 1.9, 2.1],
    }
    assert "times" not in second  # nothing is a multiple of 0


def test_a_table_for_notebooks():
    table = EFFECTS.table()
    assert table.title == "Groups of users, share of the top 10"
    assert table.rows[0][3] == "0.900 (0.850 to 0.950)"
    assert table.rows[1][-1] is None
    alone = GroupEffects(None, (GroupEffect("gender", "F", 40, 0.25, (0.9, 0.85, 0.95)),)).table()
    assert alone.columns == ("users", "number", "NDCG@10", "kept")
    assert [len(row) for row in alone.rows] == [4]


def test_names_fit_a_line():
    assert users_words("motto", "a\x1b[31m\nb") == "users with motto a [31m b"
    assert len(users_words("motto", "long " * 40)) == 48
