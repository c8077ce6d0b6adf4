"""Forward selection chooses what least squares on the data themselves would choose."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recsae.core.selection import forward_selection


def moments(x, y):
    x, y = x - x.mean(0), y - y.mean(0)
    return x.T @ x / len(x), x.T @ y / len(x)


def left(x, y, chosen):
    """Variance of y that least squares on the chosen columns leaves."""
    x, y = x - x.mean(0), y - y.mean(0)
    fitted = x[:, chosen] @ np.linalg.lstsq(x[:, chosen], y, rcond=None)[0]
    return np.square(y - fitted).sum() / len(x)


@given(seed=st.integers(0, 10_000), m=st.integers(1, 6), limit=st.integers(1, 6))
@settings(max_examples=40)
def test_each_choice_leaves_least(seed, m, limit):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((60, m)) @ rng.standard_normal((m, m))
    y = x @ rng.standard_normal((m, 3)) + rng.standard_normal((60, 3))
    chosen = forward_selection(*moments(x, y), limit)
    assert len(chosen) == len(set(chosen)) == min(m, limit)
    for n, best in enumerate(chosen):
        rest = [left(x, y, [*chosen[:n], j]) for j in range(m) if j not in chosen[:n]]
        assert left(x, y, [*chosen[:n], best]) <= min(rest) * (1 + 1e-9)


def by_hand(**options):
    return forward_selection(np.eye(4), np.array([[1.0], [4.0], [3.0], [2.0]]), 3, **options)


def test_what_rules_variables_out():
    assert by_hand() == [1, 2, 3]
    assert by_hand(closed=np.array([False, True, False, False])) == [2, 3, 0]
    assert by_hand(begin=[0]) == [0, 1, 2]
    neighbours = np.eye(4, k=1, dtype=bool)
    assert by_hand(closes=lambda best: neighbours[best]) == [1, 3, 0]
    assert by_hand(price=np.array([1.0, 10.0, 1.0, 1.0])) == [2, 3, 1]
    assert by_hand(least_gain=5.0) == [1, 2]


def test_what_the_chosen_make_redundant_is_left_out():
    x = np.random.default_rng(0).standard_normal((50, 2))
    x = np.column_stack([x, x[:, 0] + 1e-4 * x[:, 1]])
    assert sorted(forward_selection(*moments(x, x[:, :2]), 3, least_rest=0.01)) in ([0, 1], [1, 2])
