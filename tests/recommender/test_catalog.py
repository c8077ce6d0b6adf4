"""Items by external id and title, and the tables that titles and attributes come from."""

import contextlib
import csv
import io

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.toy import ITEMS, catalog
from recsae.core.errors import InvalidInput
from recsae.recommender.catalog import build_catalog

IDS = ["[PAD]", *ITEMS["item_id"]]


def test_titles_and_attributes_are_found_by_name():
    items = catalog()
    assert items.n_items == 9
    assert items.recommendable.tolist() == [False] + [True] * 8
    assert items.title_column == "movie_title"
    assert items.titles[:4] == ["[PAD]", "Alien", "Star Wars", "Star Trek"]  # _ shown as a space
    assert sorted(items.attributes) == ["class", "decade"]
    assert items.frame["class"].iloc[1] == ("Horror", "Sci-Fi")
    assert items.frame["class"].iloc[8] == ()
    assert items.frame["decade"].tolist()[1:6] == [("1970s",)] * 3 + [("1980s",), ("1960s",)]
    assert items.notes == ()


def test_rows_follow_internal_ids_whatever_the_order_of_the_table():
    shuffled = ITEMS.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(build_catalog(IDS, shuffled).frame, catalog().frame)


def test_item_without_a_row_or_a_title_is_shown_by_its_id():
    table = ITEMS.replace("Grease", "").drop(index=[1])
    items = build_catalog(IDS, table)
    assert (items.titles[2], items.titles[6]) == ("m2", "m6")
    assert items.frame["class"].iloc[2] == ()
    assert items.notes == ("1 of 8 items are not in the item table.",)


@pytest.mark.parametrize("table", [None, ITEMS[["item_id"]], ITEMS.iloc[:0]])
def test_no_table_means_ids_for_titles_and_a_note(table):
    items = build_catalog(IDS, table)
    assert items.titles == items.external_ids == IDS
    assert (items.title_column, items.attributes) == (None, ())
    assert "No titles or attributes" in items.notes[0]


def test_table_of_other_columns_only():
    items = build_catalog(IDS, ITEMS[["item_id"]].assign(price="3"))
    assert items.titles == IDS
    assert items.attributes == ()
    assert len(items.notes) == 2


def test_columns_that_nothing_was_made_of_are_known():
    assert catalog().unread == ()
    more = ITEMS.assign(price="3", actors="X", decade="1970s")
    assert build_catalog(IDS, more).unread == ("price", "actors")  # the year is in the decade
    assert build_catalog(IDS, more, attribute_columns=["actors"]).unread == (
        *("release_year", "class", "price", "decade"),
    )


def test_columns_can_be_named():
    table = ITEMS.assign(price="low", title="other")
    items = build_catalog(IDS, table, title_column="movie_title", attribute_columns=["price"])
    assert items.titles[1] == "Alien"
    assert items.attributes == ("price",)
    assert items.frame["price"].iloc[1] == ("low",)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"title_column": "nmae"}, "no title column 'nmae'"),
        ({"attribute_columns": ["mood"]}, "no attribute column 'mood'"),
        ({"attribute_columns": ["item_id"]}, "no attribute column 'item_id'"),
    ],
)
def test_missing_column_is_named(options, words):
    with pytest.raises(InvalidInput, match=words) as caught:
        build_catalog(IDS, ITEMS, **options)
    assert "movie_title" in str(caught.value)  # what there is


def test_attribute_called_title_does_not_replace_the_titles():
    table = ITEMS.assign(title=["x y"] * 8)
    items = build_catalog(IDS, table, title_column="movie_title", attribute_columns=["title"])
    assert items.titles[1] == "Alien"
    assert items.frame[items.attributes[0]].iloc[1] == ("x", "y")


def test_repeated_ids_are_refused():
    with pytest.raises(InvalidInput, match="1 repeated ids, 'm2'"):
        build_catalog(IDS, pd.concat([ITEMS, ITEMS.iloc[[1]]]))


def test_table_of_other_items_is_refused():
    with pytest.raises(InvalidInput, match=r"No id in column 'item_id'.*'x1' against 'm1'"):
        build_catalog(IDS, ITEMS.assign(item_id=[f"x{i}" for i in range(1, 9)]))


@pytest.mark.parametrize(
    ("year", "decade"),
    [
        ("1995", ("1990s",)),
        ("1995.0", ("1990s",)),
        (" 2001", ("2000s",)),
        ("", ()),
        ("unknown", ()),
    ],
)
def test_decades(year, decade):
    table = pd.DataFrame({"item_id": ["a"], "year": [year]})
    assert build_catalog(["[PAD]", "a"], table).frame["decade"].iloc[1] == decade


def test_two_year_columns_make_one_decade():
    table = ITEMS.assign(year="1900")
    assert build_catalog(IDS, table).attributes.count("decade") == 1


def test_ids_and_titles_are_looked_up():
    items = catalog()
    assert items.internal("m3") == 3
    assert items.internal(" star trek ") == 3
    with pytest.raises(InvalidInput, match=r"'Sta Trek'\. Did you mean 'Star Trek'"):
        items.internal("Sta Trek")
    with pytest.raises(InvalidInput, match="Did you mean 'm1'"):
        items.internal("mm1")
    with pytest.raises(InvalidInput):
        items.internal("[PAD]")


def test_a_title_must_be_of_one_item():
    items = catalog()
    with pytest.raises(InvalidInput, match=r"2 items have the title 'Alien'.*: give .* m1, m8\."):
        items.internal("Alien")
    table = pd.DataFrame({"item_id": ["1", "2"], "title": ["It", "IT"]})
    both = build_catalog(["[PAD]", "1", "2"], table)
    assert (both.internal("It"), both.internal("IT")) == (1, 2)  # as it is written
    with pytest.raises(InvalidInput, match="2 items have the title 'it'"):
        both.internal("it")


def titled(*titles):
    ids = [str(n + 1) for n in range(len(titles))]
    return build_catalog(["[PAD]", *ids], pd.DataFrame({"item_id": ids, "title": titles}))


def test_titles_are_found_as_a_person_says_them():
    items = titled("Shadow, The (1994)", "Alien (1979)", "Good, the Bad, The", "Big (1988)", "Big")
    for text in ("Shadow, The (1994)", "The Shadow (1994)", "the shadow", "shadow, the"):
        assert items.internal(text) == 1, text
    assert items.internal("Alien") == 2
    assert items.internal("The Good, the Bad") == 3
    assert (items.internal("Big"), items.internal("big (1988)")) == (5, 4)  # the whole title first
    with pytest.raises(InvalidInput, match=r"'The Shado'\. Did you mean 'The Shadow \(1994\)'\?"):
        items.internal("The Shado")
    assert items.parse_sequence('The Shadow, Alien, "The Good, the Bad"') == [1, 2, 3]


def test_what_a_person_says_must_be_of_one_item():
    items = titled("Shadow, The", "The Shadow", "Omen, The (1976)", "The Omen (2006)")
    assert items.internal("Shadow, The") == 1
    with pytest.raises(InvalidInput, match=r"2 items have the title 'The Shadow'.* ids, 1, 2\."):
        items.internal("The Shadow")
    with pytest.raises(InvalidInput, match=r"2 items have the title 'The Omen'.* ids, 3, 4\."):
        items.internal("The Omen")
    assert items.internal("The Omen (1976)") == 3
    assert items.internal("Omen, The (1976)") == 3


def test_id_wins_over_a_title_of_the_same_text():
    table = pd.DataFrame({"item_id": ["1", "2"], "title": ["2", "1"]})
    assert build_catalog(["[PAD]", "1", "2"], table).internal("1") == 1


def test_sequences_are_parsed():
    items = catalog()
    assert items.parse_sequence("m1, star trek,m6") == [1, 3, 6]
    assert items.parse_sequence('m1, "Good, the Bad, The"') == [1, 5]
    assert items.parse_sequence("Good, the Bad, The") == [5]  # one item, by its whole title
    assert items.parse_sequence(["m1", "good, the bad, the", "m6"]) == [1, 5, 6]
    with pytest.raises(InvalidInput, match="Titles with commas are quoted, or given one by one"):
        items.parse_sequence("m1, Good, the Bad, The")
    with pytest.raises(InvalidInput, match=r"title 'm1, m6'\."):
        items.parse_sequence(["m1, m6", "m6"])  # each of several is one item
    for empty in ("", "  ", ",,", [], ["", " "]):
        with pytest.raises(InvalidInput, match="empty"):
            items.parse_sequence(empty)


@given(st.lists(st.integers(1, 8), min_size=1), st.randoms(use_true_random=False))
def test_any_mixture_of_ids_and_titles_comes_back(rows, random):
    items = catalog()
    alike = items.titles.count("Alien")
    assert alike == 2  # their ids must be typed
    cells = [
        items.external_ids[i]
        if items.titles[i] == "Alien"
        else random.choice([items.external_ids[i], items.titles[i]])
        for i in rows
    ]
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    assert items.parse_sequence(text.getvalue()) == rows
    assert items.parse_sequence(cells) == rows


@given(st.text(alphabet=st.sampled_from('m12,"\n\r\x00 ;äA')) | st.text())
def test_any_text_gives_items_or_one_sentence(text):
    with contextlib.suppress(InvalidInput):
        found = catalog().parse_sequence(text)
        assert found
        assert all(1 <= item <= 8 for item in found)


def test_ids_with_blanks_at_their_ends():
    """They are found with and without them, in the table and where people type them."""
    table = pd.DataFrame({"id": ["a", " b", "c "], "title": ["A", "B", "C"]})
    found = build_catalog(["", " a", "b ", "c "], table)
    assert found.titles[1:] == ["A", "B", "C"]
    assert [found.internal(text) for text in (" a", "a", "b", "c ")] == [1, 1, 2, 3]
    both = build_catalog(["", "a ", "a"], table)
    assert [both.internal(text) for text in ("a ", "a")] == [1, 2]
    assert both.titles[1:] == ["a ", "A"]


def test_titles_that_are_ids_of_other_items():
    table = pd.DataFrame({"id": ["1", "2", "3"], "title": ["1", "3", "Up"]})
    found = build_catalog(["", "1", "2", "3"], table)
    assert found.internal("3") == 3
    assert found.notes[0].startswith("1 title is the id of another item, '3': such text is")
