"""Histories out of dicts and tables: order, users that are kept, and what is refused."""

import pandas as pd
import pytest

from recsae.core.errors import InvalidInput
from recsae_torch.dataset import make_catalog
from recsae_torch.histories import make_sequences

CATALOG, _ = make_catalog({"a": 1, "b": 2, "c": 3, 4: 4}, None, None, None)


def lists_of(histories, **options):
    """The items of each user, in order of the users, and notes."""
    found, notes = make_sequences(histories, CATALOG, **options)
    names = CATALOG.external_ids
    return {user: [names[i] for i in found[row]] for row, user in enumerate(found.users)}, notes


def table(*rows, columns=("user", "item", "time")):
    return pd.DataFrame(rows, columns=list(columns)[: len(rows[0])])


def test_a_dict():
    assert lists_of({7: "ab", "x": [4, "c"]}) == ({"7": ["a", "b"], "x": ["4", "c"]}, ())


def test_a_table_in_order_of_time():
    found, (note,) = lists_of(table((1, "a", 7), (2, "b", 7), (1, "c", 7), (1, 4, 6)))
    assert list(found.items()) == [("1", ["4", "a", "c"]), ("2", ["b"])]
    assert note.startswith("1 of 4 interactions have the time of another one of their user")


def test_order_of_rows_is_said():
    found, (note,) = lists_of(table((2, "b"), (1, "a"), (2, "a")))
    assert list(found.items()) == [("2", ["b", "a"]), ("1", ["a"])]
    assert "its rows are taken to be in order" in note


def test_times_under_another_name():
    rows = table((1, "a", 2), (1, "b", 1), columns=("user", "item", "timestamp"))
    assert lists_of(rows) == (
        {"1": ["b", "a"]},
        ("Histories are in order of the column 'timestamp'.",),
    )


def test_some_users_are_kept():
    """As if there had been no others, in a dict and in a table."""
    users = [f"u{i}" for i in range(20)]
    rows = table(*((user, item, i) for i, item in enumerate("ab") for user in users))
    kept, notes = lists_of(rows, max_users=3)
    assert len(kept) == 3
    assert notes[0] == "3 of 20 users were drawn at random (max_users)."
    assert lists_of(rows[rows["user"].isin(list(kept))]) == (kept, ())
    in_dict = lists_of(dict.fromkeys(users, "ab"), max_users=3)
    assert in_dict == (kept, notes)


@pytest.mark.parametrize(
    ("histories", "words"),
    [
        ([["a"]], "or the path of Parquet files, not a list"),
        (table((1, "a"), columns=("user", "thing")), r"\['user', 'thing'\]: it needs 'user', 'it"),
        (table((1, "a", 1)).iloc[:0], "histories has no rows"),
        (table((1, "a", 1), (None, "b", 2)), "1 of 2 rows of histories have no user"),
        (table((1, "a", 1), (1, "bb", 2), (1, "bb", 3)), "2 of 3 inter.*'bb' among them.* Did you"),
        (table((1, "a", 1), (1, "b", None)), "1 of 2 times in the column 'time'"),
        (table((1, "a", [1]), (1, "b", [2])), "cannot be put in order"),
    ],
)
def test_histories_that_cannot_be_read(histories, words):
    with pytest.raises(InvalidInput, match=words):
        make_sequences(histories, CATALOG)
