"""Mean and variance of parts are those of the whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsae.capture import moments as module
from recsae.capture.moments import Moments
from recsae.core.errors import NotEnoughData


def test_by_hand():
    one, other = Moments.of(np.array([[1.0], [3.0]])), Moments.of(np.array([[8.0]]))
    assert (one.n, one.total.tolist(), one.spread) == (2, [4.0], 2.0)
    whole = Moments.merged([one, other])
    assert (whole.n, whole.mean.tolist()) == (3, [4.0])
    assert whole.spread == pytest.approx(9 + 1 + 16)


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=6).filter(any),
    st.integers(0, 99),
    st.floats(-1e4, 1e4),
)
def test_parts_in_any_sizes_are_the_whole(sizes, seed, shift):
    rng = np.random.default_rng(seed)
    states = (rng.normal(size=(sum(sizes), 4)) + shift).astype(np.float32)
    parts = np.split(states, np.cumsum(sizes)[:-1])
    found = Moments.merged([Moments.of(part) for part in parts])
    exact = states.astype(np.float64)
    np.testing.assert_allclose(found.mean, exact.mean(0), rtol=1e-12, atol=1e-12)
    assert found.variance == pytest.approx(exact.var(0).sum(), rel=1e-9, abs=1e-12)
    again = Moments.merged([Moments.merged([Moments.of(p)]) for p in parts if len(p)])
    assert again.variance == pytest.approx(found.variance, rel=1e-12)


def test_states_are_gone_through_in_blocks(monkeypatch):
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 4)
    states = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)
    assert Moments.of(states).variance == pytest.approx(states.var(0).sum(), rel=1e-6)


def test_nothing_has_no_mean():
    with pytest.raises(NotEnoughData, match="no states"):
        Moments.merged([])
    with pytest.raises(NotEnoughData, match="no states"):
        Moments.merged([Moments.of(np.zeros((0, 3), dtype=np.float32))])
