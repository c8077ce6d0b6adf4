"""Predicates of cases: what they are true of, beside what loops find."""

import numpy as np
import pytest

from helpers.toy import cases_of, catalog, random_cases
from recsae.concepts.attributes.names import VIEWS
from recsae.concepts.attributes.values import item_attributes
from recsae.concepts.predicates import all_predicates, f1_of, smallest_type
from recsae.core import kernels

CASES = random_cases(np.random.default_rng(3), 60, 7)


@pytest.fixture(scope="module")
def attributes():
    return item_attributes(catalog(), CASES)


@pytest.fixture
def predicates(attributes):
    return all_predicates(attributes, CASES)


def truth(attributes):
    """``(n, S)`` every predicate worked out for every case."""
    columns = []
    for view, thresholds in VIEWS.items():
        counts = attributes.counts(CASES, view).toarray()
        for value in range(len(attributes.names)):
            columns += [counts[:, value] >= least for least in thresholds]
    return np.array(columns).T


def test_totals_and_counts_among_some(predicates, attributes):
    expected = truth(attributes)
    assert predicates.total().tolist() == expected.sum(0).tolist()
    for rows in ([], [0], [3, 4, 17, 59], range(60)):
        some = np.array(rows, dtype=np.int32)
        assert predicates.among(some).tolist() == expected[some].sum(0).tolist()


def test_rows_of_each_predicate(predicates, attributes):
    expected = truth(attributes)
    columns = predicates.columns
    for s, (column, step) in enumerate(zip(columns.column, columns.step, strict=True)):
        assert sorted(predicates.rows(column, step)) == np.flatnonzero(expected[:, s]).tolist()


def test_a_share_below_the_first_step_says_nothing_of_another_value(attributes):
    """One item in ten and more is the least that is asked: here one is of twelve."""
    made = cases_of([1, *[8] * 12], [8] * 13)
    columns, found = all_predicates(attributes, made).columns, all_predicates(attributes, made)
    for s, (column, step) in enumerate(zip(columns.column, columns.step, strict=True)):
        view, value = list(VIEWS)[columns.view[column]], columns.value[column]
        counts = attributes.counts(made, view).toarray()[:, value]
        expected = np.flatnonzero(counts >= VIEWS[view][step - 1]).tolist()
        assert sorted(found.rows(column, step)) == expected, (view, value, step)
        assert found.total()[s] == len(expected)


def test_some_of_the_columns(predicates, attributes):
    chosen = np.array([2, 7, 40])
    some = predicates.of_columns(chosen)
    whole = truth(attributes)
    wanted = np.flatnonzero(np.isin(predicates.columns.column, chosen))
    assert some.total.tolist() == whole[:, wanted].sum(0).tolist()
    assert some.columns.value.tolist() == predicates.columns.value[chosen].tolist()
    for row in (1, 5, 30):
        number = np.zeros(len(wanted), dtype=np.int64)
        kernels.tally(*some.reached, np.array([row]), number)
        assert some.columns.or_more(number).tolist() == whole[row, wanted].tolist()


def test_a_row_counts_twice_that_is_asked_twice(predicates):
    once = predicates.among(np.array([5]))
    assert once.any()
    assert predicates.among(np.array([5, 5])).tolist() == (2 * once).tolist()


@pytest.mark.parametrize(("n", "size"), [(1, 2), (2**16, 2), (2**16 + 1, 4)])
def test_numbers_take_two_bytes_as_long_as_they_fit(n, size):
    kind = np.dtype(smallest_type(n))
    assert kind.itemsize == size
    assert np.iinfo(kind).max >= n - 1


def test_f1_by_hand():
    # 8 of 10 active cases among 16 that it says: precision .5, recall .8
    assert f1_of(8, 16, 10) == pytest.approx(2 * 0.5 * 0.8 / 1.3)
    assert f1_of(0, 0, 0) == 0
