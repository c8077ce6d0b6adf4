"""What separates values is decided by the cells of a column, and no other column matters."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsae.recommender.catalog import build_catalog
from recsae.recommender.item_values import FOREMOST, by_weight, values_of

AB, A = ("Action", "Sci Fi & Fantasy"), ("Action",)
SHAPES = {  # how two cells with these values are written
    "commas": ["Action, Sci Fi & Fantasy", "Action"],
    "commas without blanks": ["Action,Sci Fi & Fantasy", "Action"],
    "bars": ["Action|Sci Fi & Fantasy", "Action"],
    "semicolons": ["Action; Sci Fi &amp; Fantasy", "Action"],
    "slashes": ["Action / Sci Fi & Fantasy", "Action"],
    "a path": ["Action > Sci Fi & Fantasy", "Action"],
    "quotes": ["'Action', 'Sci Fi & Fantasy'", "'Action'"],
    "Python": [str(list(AB)), str(list(A))],
    "tuples": [str(AB), str(A)],
    "sets": ["{'Action', 'Sci Fi & Fantasy'}", "{'Action'}"],
    "NumPy": [str(np.array(AB)), str(np.array(A))],
    "JSON": ['["Action", "Sci Fi & Fantasy", null]', '["Action"]'],
    "dicts": ["[{'id': 1, 'name': 'Action'}, {'id': 2, 'name': 'Sci Fi & Fantasy'}]", "Action"],
    "paths": ["[['Action', 'Sci Fi & Fantasy'], ['Action']]", "[['Action']]"],
    "PostgreSQL": ['{Action,"Sci Fi & Fantasy"}', "{Action}"],
    "line breaks": ["Action\nSci Fi & Fantasy", "Action"],
    "double colons": ["Action::Sci Fi & Fantasy", "Action"],
    "dots": ["Action • Sci Fi & Fantasy", "Action"],
    "bare": ["[Action, Sci Fi & Fantasy]", "[Action]"],
}


@pytest.mark.parametrize("kind", ["", "token_seq"])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_as_files_write_them(shape, kind):
    cells = SHAPES[shape] * 5 + [""]
    found = values_of(cells, kind=kind, name="genres")
    assert found.values == [AB, A] * 5 + [()]
    assert not found.expected
    one = values_of(cells, kind=kind, name="genres", separator="none").values
    assert all(len(values) == 1 for values in one[:-1])


def test_apostrophes_and_commas_inside_quotes():
    cells = ["'Movies, TV & More', \"Children's\"", '"Children\'s"', "'Movies, TV & More'"]
    assert values_of(cells).values[0] == ("Movies, TV & More", "Children's")
    assert values_of([f"[{cell}]" for cell in cells]).values[0] == (
        "Movies, TV & More",
        "Children's",
    )


def test_blanks_separate_unless_the_words_say_otherwise():
    assert values_of(["Action Drama", "Action"] * 9).values[0] == ("Action", "Drama")
    assert values_of(["Action Sci-Fi_&_Fantasy"]).values[0] == ("Action", "Sci-Fi & Fantasy")
    assert values_of(["Coffee & Tea", "Food", "Home Services"]).values[2] == ("Home Services",)
    strangers = ["Science Fiction", "Film Noir", "Stand Up", "Drama"]
    assert values_of(strangers).values[:2] == [("Science Fiction",), ("Film Noir",)]
    assert values_of(["John Ford", "John Huston"], name="director").values[0] == ("John Ford",)
    assert values_of(["John_Ford John_Huston"], name="director", kind="token_seq").values == [
        ("John Ford", "John Huston")
    ]


def test_commas_of_values():
    """A comma before ``_`` is inside a value, and so is one in a column of single values."""
    cells = ["Clothing,_Shoes Hats", "Clothing,_Shoes", "Hats"]
    assert values_of(cells, kind="token_seq").values[0] == ("Clothing, Shoes", "Hats")
    assert values_of(["Clothing, Shoes"] * 3, kind="token").values[0] == ("Clothing, Shoes",)


@pytest.mark.parametrize("mark", ["/", "#", " - ", "+", "~"])
def test_marks_that_values_have_too(mark):
    """They separate where their parts are in other cells, beside something else."""
    rows = [("Action", "Drama"), ("Drama",), ("Sci Fi", "Action"), ("Sci Fi", "Drama")] * 2
    assert values_of([mark.join(row) for row in rows]).values == rows
    cells = [f"Action{mark}Adventure", "Drama", f"Soul{mark}Funk", "Comedy"] * 2
    assert values_of(cells).values[0] == (f"Action{mark}Adventure",)


def test_cells_without_a_value():
    cells = ["Action|Drama", "nan", "None", "NULL", "N/A", "<NA>", "\\N", "Action|nan", "unknown"]
    expected = [("Action", "Drama"), *[()] * 6, ("Action",), ("unknown",)]
    assert values_of(cells).values == expected
    assert values_of(["[nan]", "['Action', None]"] * 3).values[:2] == [(), ("Action",)]
    table = pd.DataFrame({"id": list("abc"), "title": ["nan", "nan", "Null"]})
    assert build_catalog(["", *"abc"], table).titles[1:] == ["a", "b", "Null"]


def test_one_odd_cell_does_not_change_the_others():
    cells = ["Action Drama", "Drama", "Action Comedy"] * 20
    for odd in ("Steins;Gate", "a|b", "Hello, World"):
        found = values_of([*cells, odd])
        assert found.values[0] == ("Action", "Drama"), odd
        assert found.values[-1] == (odd,)
    rare = ["Comedy", "Drama"] * 50 + ["Comedy|Drama"]
    assert values_of(rare).values[-1] == ("Comedy", "Drama")


def test_what_the_settings_and_what_people_say_comes_first():
    assert values_of(["a b/c", "c"], expected="/").values[0] == ("a b", "c")
    assert values_of(["a b/c|d"], expected="/", separator="|").values[0] == ("a b/c", "d")
    assert values_of(["a, b"] * 4, expected="/").values[0] == ("a", "b")


WORD = st.sampled_from(["Action", "Science Fiction", "Coffee & Tea", "Film-Noir", "It's", "R&B"])


@given(st.lists(st.lists(WORD, max_size=4, unique=True), min_size=5), st.sampled_from("|;,"))
def test_lists_come_back(rows, mark):
    several = sum(len(row) > 1 for row in rows)
    joined = [f"{mark} ".join(row) for row in rows]
    if several * 5 >= sum(map(bool, rows)) > 0 and several:
        assert values_of(joined).values == [tuple(row) for row in rows]
    if sum(map(bool, rows)):
        assert values_of([str(row) for row in rows]).values == [tuple(row) for row in rows]


@given(st.lists(st.text(max_size=30), max_size=12))
def test_any_cells_give_values(cells):
    for kind in ("", "token", "token_seq"):
        found = values_of(cells, kind=kind)
        assert len(found.values) == len(cells)
        assert all(value.strip() == value != "" for cell in found.values for value in cell)


def test_catalog_says_what_was_decided():
    table = pd.DataFrame(
        {
            "id": ["a", "b", "c"],
            "title": ["Steins;Gate", "X|Y", "Z, the"],
            "genres": ["Action Drama", "Drama", "Action"],
            "tags": ["one, two", "two", "one"],
        }
    )
    items = build_catalog(["", "a", "b", "c"], table)
    assert items.frame["genres"][1] == ("Action", "Drama")
    assert items.frame["tags"][1] == ("one", "two")
    assert items.separated_by == {"genres": "blanks", "tags": "commas"}
    note = "By the look of the cells, values are separated by commas in tags; --separator says"
    assert items.notes == (f"{note} otherwise.",)
    assert items.frequent_values(1) == {"genres": {"Action": 2}, "tags": {"one": 2}}
    told = build_catalog(["", "a", "b", "c"], table, separator=", ")
    assert told.notes == ()
    assert told.frame["genres"][1] == ("Action Drama",)


def _tags(order, n_cells=2_000):
    """Cells of up to ten of 30 tags, in an order; tag 0 is the most frequent."""
    rng = np.random.default_rng(0)
    weight = 1 / np.arange(1, 31)
    cells = []
    for _ in range(n_cells):
        tags = rng.choice(30, rng.integers(2, 11), replace=False, p=weight / weight.sum())
        given = rng.poisson(20 * weight[tags])
        known = np.argsort(np.argsort(tags))
        by = {
            "weight": -given,
            "alphabet": tags,
            "none": rng.random(len(tags)),
            "the main one, then the alphabet": np.where(rng.permutation(len(tags)) == 0, -1, known),
            "the alphabet, then what came later": known + 99 * (rng.random(len(tags)) < 0.3),
        }[order]
        cells.append(tuple(f"tag {tag}" for tag in tags[np.argsort(by, kind="stable")]))
    return cells


@pytest.mark.parametrize(
    ("order", "weight"),
    [
        ("weight", True),
        ("alphabet", False),
        ("none", False),
        ("the main one, then the alphabet", False),
        ("the alphabet, then what came later", False),
    ],
)
def test_an_order_of_weight_is_told_from_others(order, weight):
    cells = _tags(order)
    assert by_weight(cells) is weight
    assert not by_weight([cell[:FOREMOST] for cell in cells])
    assert not by_weight(cells[:90])  # fewer than 50 of these are long
    assert not by_weight(cells[:200] * 10)  # the same items again are no evidence
    assert not by_weight([*cells, *[("tag 1",)] * 20_000])  # most have a few


def test_of_tags_in_the_order_of_their_weight_the_foremost_count():
    tags = _tags("weight")
    ids = [f"i{row}" for row in range(len(tags))]
    rest = {"title": ids, "genres": [", ".join(sorted(cell)) for cell in tags]}
    table = pd.DataFrame({"id": ids, "tags": [", ".join(cell) for cell in tags], **rest})
    items = build_catalog(["", *ids], table)
    assert list(items.frame["tags"][1:]) == [cell[:FOREMOST] for cell in tags]
    assert list(items.frame["genres"][1:]) == [tuple(sorted(cell)) for cell in tags]
    long = sum(len(cell) > FOREMOST for cell in tags)
    assert any(
        note.startswith(f"{long:,} items have more than 5 values of tags.") for note in items.notes
    )
    named = build_catalog(["", *ids], table, attribute_columns=["tags"])
    assert list(named.frame["tags"][1:]) == tags
