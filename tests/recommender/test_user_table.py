"""What a table says of users: numbers, values, and nothing where nothing is known."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsae.core.errors import InvalidInput
from recsae.recommender.user_table import build_user_table


def columns_of(users, kinds=None, **columns):
    ids = [f"u{i}" for i in range(len(next(iter(columns.values()))))]
    table = build_user_table(users or ids, pd.DataFrame({"id": ids, **columns}), kinds=kinds)
    return table.to_dict("list")


def test_a_row_for_every_user_of_the_model_in_their_order():
    table = build_user_table(
        ["3", "1", "9"], pd.DataFrame({"user": [1, 2, 3], "job": ["a b", "c", "d_e"]})
    )
    assert table.index.tolist() == ["3", "1", "9"]
    assert table["job"].tolist() == [("d e",), ("a b",), ()]


def test_missing_values_are_none():
    found = columns_of(
        None,
        job=["nurse", None, "", "None", np.nan, "N/A"],
        born=[1.5, None, 3, np.inf, np.nan, 6],
        paid=[True, False, None, True, True, True],
    )
    assert found["job"] == [("nurse",), (), (), (), (), ()]
    assert np.array_equal(found["born"], [1.5, np.nan, 3, np.nan, np.nan, 6], equal_nan=True)
    assert found["paid"] == [("True",), ("False",), (), ("True",), ("True",), ("True",)]


def test_what_the_file_says_of_columns_counts():
    kinds = {"income": "float", "code": "token", "likes": "token_seq", "vector": "float_seq"}
    cells = {"income": ["1.5", ""], "code": ["7", "8"], "likes": ["tea jazz", ""]}
    found = columns_of(None, kinds, **cells, vector=["1 2", "3 4"], name=["Ann Lee", "Bo"])
    assert list(found) == ["income", "code", "likes", "name"]
    assert np.array_equal(found["income"], [1.5, np.nan], equal_nan=True)
    assert found["code"] == [("7",), ("8",)]
    assert found["likes"] == [("tea", "jazz"), ()]
    assert found["name"] == [("Ann Lee",), ("Bo",)]


def test_ages_are_numbers_if_all_are():
    assert np.array_equal(
        columns_of(None, {"age": "token"}, age=["24", "", "31"])["age"],
        [24, np.nan, 31],
        equal_nan=True,
    )
    found = columns_of(None, {"age": "token"}, age=["18-24", "", "31"])["age"]
    assert found == [("18-24",), (), ("31",)]


def test_lists_are_several_values():
    found = columns_of(None, likes=[["tea", "jazz", "tea"], None, {"tea"}, "jazz", ["", None]])
    assert found["likes"] == [("tea", "jazz"), (), ("tea",), ("jazz",), ()]


def test_tables_that_do_not_fit():
    table = pd.DataFrame({"user": ["a", "b", "a"], "job": ["x", "y", "z"]})
    with pytest.raises(InvalidInput, match="1 repeated ids, 'a' among them"):
        build_user_table(["a"], table)
    with pytest.raises(InvalidInput, match=r"No id in column 'user' .*\('a' against '1'\)"):
        build_user_table(["1"], table[:2])
    with pytest.raises(InvalidInput, match="it has no rows"):
        build_user_table(["1"], table[:0])


CELLS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text(), max_size=3)
)


@given(st.lists(CELLS, min_size=1, max_size=8), st.sampled_from(["age", "job", "likes"]))
def test_any_cells_are_numbers_or_tuples_of_text(cells, name):
    table = build_user_table(
        [f"u{i}" for i in range(len(cells))],
        pd.DataFrame({"user": [f"u{i}" for i in range(len(cells))], name: pd.Series(cells)}),
    )
    column = table[name]
    if column.dtype.kind == "f":
        assert not np.isinf(column).any()
    else:
        assert all(
            isinstance(v, tuple) and all(isinstance(x, str) and x for x in v) for v in column
        )
