"""The loop that counts values, against a product of matrices."""

import numpy as np
import pytest
import scipy.sparse

from recsae.concepts.attributes.value_loops import count_values


@pytest.mark.parametrize("n_values", [6, 400])  # gone through, and sorted
@pytest.mark.parametrize("seed", range(3))
def test_counts_are_those_of_a_product(n_values, seed):
    rng = np.random.default_rng(seed)
    has = scipy.sparse.random_array((30, n_values), density=3 / n_values, rng=rng, format="csr")
    has.data[:] = 1
    items = rng.integers(0, 30, (50, 9)).astype(np.int32)
    more = rng.integers(0, 4, 50).astype(np.int8)
    starts, values, counts = count_values(items, has.indptr, has.indices, n_values, 2, more)
    expected = sum(has[items[:, place]].toarray() for place in range(9))
    expected[:, 2] += more
    found = scipy.sparse.csr_array((counts, values, starts), shape=expected.shape)
    assert (found.toarray() == expected).all()
    assert (counts > 0).all()
    assert found.has_canonical_format


def test_no_rows_and_items_without_values():
    nothing = np.zeros(3, dtype=np.int32)
    items, more = np.array([[0, 1]], dtype=np.int32), np.ones(1, dtype=np.int8)
    of_none = count_values(items[:0], nothing, nothing[:0], 4, -1, more[:0])
    assert [part.tolist() for part in of_none] == [[0], [], []]
    of_one = count_values(items, nothing, nothing[:0], 4, 3, more)
    assert [part.tolist() for part in of_one] == [[0, 1], [3], [1]]
