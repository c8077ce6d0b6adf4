"""Attribute values worth testing, and how many of a case's items have them."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from helpers.labels import two_attributes
from helpers.toy import ITEMS, cases, catalog, random_cases
from recsae.concepts.attributes import values as vocabulary
from recsae.concepts.attributes.names import BANDS, POPULARITY, TERM, VIEWS
from recsae.concepts.attributes.table import ItemAttributes
from recsae.concepts.attributes.values import item_attributes
from recsae.concepts.wording import concept_name, phrase
from recsae.recommender.catalog import build_catalog

EACH_ONCE = cases(list(range(8)), [[i] for i in range(1, 9)], [[1, 2, 3]] * 8)


def items_of(found, attribute: str, value: str) -> list[int]:
    column = found.names.index((attribute, value))
    return np.flatnonzero(found.matrix[:, [column]].toarray().ravel()).tolist()


def test_values_of_three_items_and_more():
    found = item_attributes(catalog(), EACH_ONCE)
    bands = [(POPULARITY, band) for band in BANDS]
    of_items = [name for name in found.names if name[0] in ("decade", "class", POPULARITY, TERM)]
    assert of_items == [
        ("decade", "1970s"),
        ("class", "Sci-Fi"),
        *bands,
        (TERM, "star"),
    ]  # Horror, Musical, Alien: two items each
    assert found.matrix.shape == (9, len(found.names))
    assert items_of(found, "decade", "1970s") == [1, 2, 3, 6, 7]
    assert items_of(found, "class", "Sci-Fi") == [1, 2, 3]
    assert items_of(found, TERM, "star") == [2, 3, 7]


def test_popularity_bands_are_quarters_of_the_interactions():
    # Items 3, 5, 1, 2 were last 4, 4, 3 and 1 times of 12: 3 interactions per band. An item is in
    # the band in which its interactions begin: 3 at 0, 5 at 4, 1 at 8, 2 at 11; the others never.
    last = [3] * 4 + [5] * 4 + [1] * 3 + [2]
    found = item_attributes(catalog(), cases(list(range(12)), [[i] for i in last], [[1]] * 12))
    assert items_of(found, POPULARITY, "most popular") == [3]
    assert items_of(found, POPULARITY, "popular") == [5]
    assert items_of(found, POPULARITY, "less popular") == [1]
    assert items_of(found, POPULARITY, "niche") == [2, 4, 6, 7, 8]  # and padding has no band


def test_rare_and_ubiquitous_values_are_left_out(monkeypatch):
    # 1 of 8 last items is Western, 2 are Horror; all are of 1999
    monkeypatch.setattr(vocabulary, "MIN_ITEMS", 1)
    monkeypatch.setattr(vocabulary, "MIN_SHARE", 0.2)
    names = item_attributes(catalog(), EACH_ONCE).names
    assert ("class", "Western") not in names
    assert ("class", "Horror") in names
    table = ITEMS.drop(columns="release_year").assign(year="1999")
    everywhere = build_catalog(["[PAD]", *ITEMS["item_id"]], table)
    assert ("decade", "1990s") not in item_attributes(everywhere, EACH_ONCE).names


def test_the_most_frequent_values_are_kept(monkeypatch):
    monkeypatch.setattr(vocabulary, "MIN_ITEMS", 1)
    monkeypatch.setattr(vocabulary, "MAX_VALUES", 2)  # Sci-Fi 3 of 8, Horror and Musical 2
    names = item_attributes(catalog(), EACH_ONCE).names
    assert [v for a, v in names if a == "class"] == [
        "Horror",
        "Sci-Fi",
    ]


def test_items_stand_for_themselves_without_titles_and_attributes():
    bare = build_catalog(["[PAD]", *ITEMS["item_id"]], None)
    found = item_attributes(bare, cases([0, 0, 1], [[2], [2], [5]], [[1]] * 3))
    assert [n for n in found.names if n[0] == "item"] == [("item", "m2"), ("item", "m5")]
    assert items_of(found, "item", "m5") == [5]


def test_title_terms_are_words_without_stop_words_and_numbers(monkeypatch):
    monkeypatch.setattr(vocabulary, "MIN_ITEMS", 1)
    names = item_attributes(catalog(), EACH_ONCE).names
    terms = {v for a, v in names if a == TERM and " " not in v}
    assert terms == {"alien", "star", "wars", "trek", "thing", "good", "bad", "grease", "born"}
    table = pd.DataFrame({"item_id": ["a", "b"], "title": ["2001: A space_odyssey 2", "Amélie"]})
    items = build_catalog(["[PAD]", "a", "b"], table)
    found = item_attributes(items, cases([0, 1], [[1], [2]], [[1]] * 2, items=items))
    assert {v for a, v in found.names if a == TERM} == {
        "space",
        "odyssey",
        "space odyssey",
        "amélie",
    }


@pytest.mark.parametrize(
    ("view", "star", "sci_fi"),
    [("last", 1, 1), ("last5", 2, 3), ("top1", 0, 0), ("top10", 1, 2)],
)
def test_counts_by_hand(view, star, sci_fi):
    # star: 2, 3, 7; Sci-Fi: 1, 2, 3. The last item is 3, before it 3 again, 1, and no more.
    found = item_attributes(catalog(), EACH_ONCE)
    one = cases([0], [[3, 3, 1]], [[4, 7, 1, 5, 1]])
    counts = found.counts(one, view).toarray()[0]
    assert counts[found.names.index((TERM, "star"))] == star
    assert counts[found.names.index(("class", "Sci-Fi"))] == sci_fi


def test_counts_are_those_of_the_attributes_that_are_asked():
    """Attributes that are gone leave their id to others, but not their counts."""
    made = cases([0, 1], [[1], [2]], [[1], [1]])
    for item in [1, 2] * 20:
        matrix = scipy.sparse.csr_matrix(np.eye(9, dtype=np.int8)[:, [item]])
        attributes = ItemAttributes(matrix, (("kind", str(item)),))
        counts = attributes.counts(made, "last").toarray().ravel().tolist()
        assert counts == [int(item == 1), int(item == 2)]
        del attributes


def test_counts_are_kept_for_the_same_attributes():
    made, attributes = cases([0], [[1]], [[1]]), item_attributes(catalog(), EACH_ONCE)
    assert attributes.counts(made, "last5") is attributes.counts(made, "last5")


def test_counts_are_sparse_sorted_and_without_zeros():
    counts = item_attributes(catalog(), EACH_ONCE).counts(EACH_ONCE, "last5")
    assert (counts.data > 0).all()
    assert counts.has_sorted_indices
    assert counts.shape[0] == 8


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=6))
def test_saved_and_read_again(tmp_path_factory, has):
    folder = tmp_path_factory.mktemp("attributes")
    matrix = scipy.sparse.csr_matrix(np.array(has, dtype=np.int8).reshape(len(has), 4).T)
    names = tuple(("genre", str(n)) for n in range(len(has)))
    ItemAttributes(matrix, names).save(folder)
    again = ItemAttributes.load(folder, 4)
    assert again.names == names
    assert np.array_equal(again.matrix.toarray(), matrix.toarray())
    for (attribute, value), items in zip(names, has, strict=True):
        assert again.items_with(attribute, value).tolist() == items


def test_words():
    assert phrase("director", "Ridley Scott", {}) == "by Ridley Scott"
    assert phrase("item", "m1", {"m1": "Alien"}) == "“Alien”"
    assert phrase("item", "m1", {}) == "“m1”"
    assert phrase(TERM, "star", {}) == "titled with “star”"
    assert concept_name("popularity", "niche", {}) == "niche items"
    assert concept_name("item", "Alien", {}) == "“Alien”"
    titles = {"m1": "Alien", "m2": "Aliens", "m4": "Brazil", "m5": "Big"}
    assert phrase("item", "m1 | m2 | m3", titles) == "“Alien”, “Aliens” or “m3”"
    assert concept_name("item", "m1 | m2", titles) == "“Alien” or “Aliens”"
    several = "m1 | m2 | m4 | m5 | m6"
    assert concept_name("item", several, titles) == "“Alien”, “Aliens” or 3 more items"
    assert concept_name("decade", "1990s", {}) == "1990s"


def test_counts_of_all_values_are_kept_and_those_of_some_are_not():
    """Labels are tested on counts of a few values: a table each time would fill the memory."""
    made, attributes = random_cases(np.random.default_rng(0), 30, 5), two_attributes()
    for view in VIEWS:
        some = attributes.counts(made, view, [1])
        assert not made.counted
        whole = attributes.counts(dataclasses.replace(made, counted={}), view)
        assert some.toarray()[:, 0].tolist() == whole.toarray()[:, 1].tolist()


def of_values(*names_and_items: tuple[str, str, list[int]], n_items: int = 40) -> ItemAttributes:
    matrix = np.zeros((n_items + 1, len(names_and_items)), dtype=np.int8)
    for column, (_, _, items) in enumerate(names_and_items):
        matrix[items, column] = 1
    names = tuple((attribute, value) for attribute, value, _ in names_and_items)
    return ItemAttributes(scipy.sparse.csr_matrix(matrix), names)


def test_what_another_value_says_is_not_denied():
    old, new = list(range(1, 16)), list(range(16, 41))
    attributes = of_values(
        ("decade", "1990s", new),
        ("before decade", "1990s", old),
        ("genre", "Drama", old),  # another attribute with the very items
        ("colour", "red", list(range(1, 31))),
        ("colour", "blue", list(range(11, 21))),  # as many as are not red, others
    )
    assert attributes.deniable.tolist() == [False, False, True, True, True]


def test_two_of_forty_items_may_have_both_or_neither():
    first = list(range(1, 21))
    for last, deniable in ((39, False), (38, False), (37, True)):
        attributes = of_values(("a", "x", first), ("a", "y", list(range(21, last + 1))))
        assert attributes.deniable.tolist() == [deniable] * 2


def test_a_value_that_is_mostly_one_item_is_no_word():
    """Of 800 items at least six as effective numbers: what is consumed in one says little else."""
    last = [item for item in range(1, 801) for _ in range(20 if item == 1 else 1)]
    genres = [f"g{item % 8}" for item in range(1, 801)]  # 100 items each: the first is 20 of 120
    few = ["few" if item <= 5 else "" for item in range(1, 801)]
    heavy = ["heavy" if item == 1 or 700 < item <= 708 else "" for item in range(1, 801)]
    ids = [str(item) for item in range(1, 801)]
    columns = {"genre": genres, "few": few, "heavy": heavy}
    table = pd.DataFrame({"item_id": ids, **columns})
    items = build_catalog(["[PAD]", *ids], table, attribute_columns=list(columns))
    made = cases(list(range(len(last))), [[i] for i in last], [[1]] * len(last), items=items)
    found = item_attributes(items, made)
    said = {name for name in found.names if name[0] in ("genre", "few", "heavy")}
    assert said == {("genre", f"g{number}") for number in range(8)}
