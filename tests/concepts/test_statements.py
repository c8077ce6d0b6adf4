"""Statements of cases: what they are true of, beside what loops find; with and without Numba."""

import numpy as np
import pytest

from helpers.toy import catalog, random_cases
from recsae.concepts import statements as module
from recsae.concepts.attributes.table import SITES
from recsae.concepts.attributes.values import item_attributes
from recsae.concepts.statements import all_statements, balanced_accuracy, tally

CASES = random_cases(np.random.default_rng(3), 60, 7)


@pytest.fixture(params=["compiled", "plain"], autouse=True)
def way(request, monkeypatch):
    if request.param == "plain":
        monkeypatch.setattr(module, "kernels", lambda: None)


@pytest.fixture(scope="module")
def attributes():
    return item_attributes(catalog(), CASES)


@pytest.fixture
def statements(attributes):
    return all_statements(attributes, CASES)


def truth(attributes):
    """``(n, S)`` every statement worked out for every case."""
    columns = []
    for site, thresholds in SITES.items():
        counts = attributes.counts(CASES, site).toarray()
        for value in range(len(attributes.names)):
            columns += [counts[:, value] >= least for least in thresholds]
    return np.array(columns).T


def test_totals_and_counts_among_some(statements, attributes):
    expected = truth(attributes)
    assert statements.total().tolist() == expected.sum(0).tolist()
    for rows in ([], [0], [3, 4, 17, 59], range(60)):
        some = np.array(rows, dtype=np.int32)
        assert statements.among(some).tolist() == expected[some].sum(0).tolist()


def test_rows_of_each_statement(statements, attributes):
    expected = truth(attributes)
    columns = statements.columns
    for s, (column, level) in enumerate(zip(columns.column, columns.level, strict=True)):
        assert sorted(statements.rows(column, level)) == np.flatnonzero(expected[:, s]).tolist()


def test_some_of_the_columns(statements, attributes):
    chosen = np.array([40, 2, 7])
    some = statements.of_columns(chosen)
    whole = truth(attributes)
    wanted = np.concatenate(
        [np.flatnonzero(statements.columns.column == column) for column in chosen]
    )
    rows = np.array([1, 5, 30], dtype=np.int32)
    assert some.total().tolist() == whole[:, wanted].sum(0).tolist()
    assert some.among(rows).tolist() == whole[np.ix_(rows, wanted)].sum(0).tolist()


def test_tally_counts_a_row_twice_that_is_asked_twice(statements):
    once = tally(statements.reached, np.array([5], dtype=np.int32))
    assert (
        tally(statements.reached, np.array([5, 5], dtype=np.int32)).tolist() == (2 * once).tolist()
    )


def test_balanced_accuracy_by_hand():
    # 8 of 10 positives said, and 9 of 90 others: (.8 + .9) / 2
    assert balanced_accuracy(np.array(8), np.array(17), np.array(10), 100) == pytest.approx(0.85)
