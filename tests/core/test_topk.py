"""The k largest entries per row: the compiled pass and torch.topk give the same."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from recsae.core import topk
from recsae.core.topk import RunningTopK, number_before, top_k

COMPILED = topk.kernels() is not None
MATRICES = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.integers(1, 30)),
    elements=st.integers(-3, 3).map(float) | st.floats(-1e6, 1e6, width=32),
)


@pytest.fixture(params=["compiled", "torch"])
def path(request, monkeypatch):
    if request.param == "torch":
        monkeypatch.setattr(topk, "kernels", lambda: None)
    elif not COMPILED:
        pytest.skip("Numba is not installed")


@pytest.mark.usefixtures("path")
def test_by_hand():
    found = top_k(torch.tensor([[1.0, 3.0, 2.0], [-1.0, -5.0, 0.0]]), 2)
    assert found.values.tolist() == [[3.0, 2.0], [0.0, -1.0]]
    assert found.indices.tolist() == [[1, 2], [2, 0]]
    assert found.indices.dtype == torch.int64


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("k", [1, 8, 64])
def test_equals_torch_on_many_rows(k):
    matrix = torch.randn(300, 64, generator=torch.Generator().manual_seed(k))
    values, indices = top_k(matrix, k)
    expected = matrix.topk(k, dim=1)
    assert torch.equal(values, expected.values)
    assert torch.equal(indices, expected.indices)  # normal numbers have no ties


@given(MATRICES, st.data())
@pytest.mark.skipif(not COMPILED, reason="Numba is not installed")
def test_same_values_and_the_first_of_equals(matrix, data):
    k = data.draw(st.integers(1, matrix.shape[1]))
    values, indices = top_k(torch.from_numpy(matrix), k)
    assert torch.equal(values, torch.from_numpy(matrix).topk(k, dim=1).values)
    of_equals_the_first = np.argsort(-matrix, axis=1, kind="stable")[:, :k]
    assert np.array_equal(indices.numpy(), of_equals_the_first)


@pytest.mark.parametrize("k", [32, 100, 310, 400])
@pytest.mark.parametrize(
    "change",
    [
        lambda x: x,
        lambda x: x.round(),  # many are equal
        lambda x: (8 * x).exp(),  # most lie close together
        lambda x: x.clamp_max(1.0),
        lambda x: x * 1e38,  # their span is no number
        lambda x: x.where(x < 2, torch.inf),
    ],
)
@pytest.mark.skipif(not COMPILED, reason="Numba is not installed")
def test_many_are_in_order_however_they_are_spread(k, change):
    matrix = change(torch.randn(50, 400, generator=torch.Generator().manual_seed(k)))
    matrix = matrix.clamp_min(-3e38)  # -inf is taken for nothing
    values, indices = top_k(matrix, k)
    expected = np.argsort(-matrix.numpy(), axis=1, kind="stable")[:, :k]
    assert np.array_equal(indices.numpy(), expected)
    assert torch.equal(values, matrix.gather(1, indices))


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize(
    "matrix",
    [
        torch.randn(6, 9).t(),  # not contiguous
        torch.randn(6, 9, dtype=torch.float64),
        torch.randn(6, 9)[:, ::2],
        torch.randn(0, 9),
        torch.full((2, 4), 1.0),
    ],
    ids=["transposed", "float64", "strided", "no rows", "all equal"],
)
def test_any_layout(matrix):
    values, indices = top_k(matrix, 3)
    assert torch.equal(values, matrix.topk(3, dim=1).values)
    assert values.dtype == matrix.dtype
    assert torch.equal(matrix.gather(1, indices), values)


@pytest.mark.usefixtures("path")
def test_minus_infinity_comes_after_everything_finite():
    """Items that are banned are set to -inf before the best are taken."""
    matrix = torch.tensor([[float("-inf"), -3.0, float("-inf"), -9.0]])
    assert top_k(matrix, 2).indices.tolist() == [[1, 3]]


@pytest.mark.usefixtures("path")
def test_nothing_is_changed_and_no_gradient_flows():
    matrix = torch.randn(3, 5, requires_grad=True)
    before = matrix.detach().clone()
    values, _ = top_k(matrix, 2)
    assert not values.requires_grad
    assert torch.equal(matrix, before)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("sizes", [(30,), (1, 4, 25), (7, 7, 7, 9)])
def test_blocks_of_columns_give_what_all_of_them_give(sizes):
    matrix = torch.randn(40, 30, generator=torch.Generator().manual_seed(1))
    matrix[3, 5], matrix[4], matrix[5, :28] = float("nan"), float("-inf"), float("-inf")
    best, first = RunningTopK(40, 4), 0
    for block in matrix.split(sizes, dim=1):
        best.merge(block, first)
        first += block.shape[1]
    known = matrix.masked_fill(matrix.isnan(), float("-inf"))
    expected = known.topk(4, dim=1)
    assert torch.equal(best.values, expected.values)
    there = expected.values > float("-inf")
    assert torch.equal(best.indices[there], expected.indices[there])
    assert not best.indices[~there].any()


@given(MATRICES, st.data())
@pytest.mark.skipif(not COMPILED, reason="Numba is not installed")
def test_blocks_keep_the_first_of_equals(matrix, data):
    k = data.draw(st.integers(1, matrix.shape[1]))
    cut = data.draw(st.integers(0, matrix.shape[1]))
    best = RunningTopK(len(matrix), k)
    best.merge(torch.from_numpy(matrix[:, :cut]), 0)
    best.merge(torch.from_numpy(matrix[:, cut:]), cut)
    assert np.array_equal(best.indices.numpy(), np.argsort(-matrix, axis=1, kind="stable")[:, :k])


@pytest.mark.usefixtures("path")
def test_what_comes_before_by_hand():
    row = torch.tensor([[2.0, float("nan"), 2.0, 3.0, -torch.inf]]).repeat(4, 1)
    values = np.array([2, 2, 4, -np.inf], dtype=np.float32)
    columns = np.array([0, 12, 12, 14])  # the block begins with column 10
    assert number_before(row, 10, values, columns).tolist() == [1, 2, 0, 3]


@pytest.mark.usefixtures("path")
@given(MATRICES, st.data())
def test_what_comes_before_is_the_place_in_order(matrix, data):
    target = data.draw(st.integers(0, matrix.shape[1] - 1))
    order = np.argsort(-matrix, axis=1, kind="stable")
    places = (order == target).argmax(1)
    cut, columns = data.draw(st.integers(0, matrix.shape[1])), np.full(len(matrix), target)
    parts = (matrix[:, :cut], 0), (matrix[:, cut:], cut)
    found = [number_before(torch.from_numpy(p), at, matrix[:, target], columns) for p, at in parts]
    assert np.array_equal(sum(found), places)
