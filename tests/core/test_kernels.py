"""Loops over tables of ones, against the same with dense ones."""

import numpy as np
import pytest
import scipy.sparse

from recsae.core import kernels


@pytest.fixture(params=[(40, 12), (7, 0), (0, 5)])
def ones(request):
    """A table of ones, dense and by row."""
    dense = np.random.default_rng(0).random(request.param) < 0.3
    by_row = scipy.sparse.csr_array(dense)
    return dense, by_row.indptr.astype(np.int64), by_row.indices.astype(np.uint16)


def test_transpose(ones):
    dense, indptr, indices = ones
    starts, rows = np.zeros(dense.shape[1] + 1, dtype=np.int64), np.empty_like(indices)
    kernels.transpose(indptr, indices, starts, rows)
    expected = scipy.sparse.csc_array(dense)
    assert starts.tolist() == expected.indptr.tolist()
    assert rows.tolist() == expected.indices.tolist()


def test_add_rows_sums_the_rows_that_have_each_column(ones):
    dense, indptr, indices = ones
    table = np.random.default_rng(1).normal(size=(len(dense), 3)).astype(np.float32)
    sums = np.zeros((dense.shape[1], 3), dtype=np.float32)
    kernels.add_rows(indptr, indices, table, sums)
    assert sums == pytest.approx(dense.T.astype(float) @ table, abs=1e-5)


def test_tally_counts_a_row_as_often_as_it_is_asked_for(ones):
    dense, indptr, indices = ones
    found, rows = np.zeros(dense.shape[1], dtype=np.int64), np.arange(len(dense)).repeat(2)[::3]
    kernels.tally(indptr, indices, rows, found)
    assert found.tolist() == dense[rows].sum(0).tolist()
