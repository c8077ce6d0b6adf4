"""Which gates make the core: sums over groups of users, votes of their halves, rare values."""

import numpy as np
import pytest

from recsae.concepts.gates import choose
from recsae.concepts.gates.choose import Compared, consensus, cover, explained_alone, moments, total
from recsae.concepts.gates.fit import GateFit

RNG = np.random.default_rng(0)
STATES = RNG.standard_normal((300, 4)).astype(np.float32)
GATES = GateFit(RNG.standard_normal((5, 4)), np.array([-0.5, 0.0, 0.3, 0.8, 9.0]))

PLAIN = np.ones(5)


def dense():
    return np.maximum(STATES @ GATES.weight.T - GATES.bound, 0)


def test_moments_are_those_of_all_cases(monkeypatch):
    monkeypatch.setattr(choose, "ROWS_AT_ONCE", 70)
    found = total([moments(part, GATES) for part in np.split(STATES, [120, 250])])
    z = dense()
    assert found.n == 300
    assert found.gates == pytest.approx(z.sum(0), rel=1e-5)
    assert found.states == pytest.approx(STATES.sum(0), abs=1e-3)
    correlation, cross, size = found.centred()
    assert size[:4] == pytest.approx(z.std(0)[:4], rel=1e-4)
    assert correlation[:4, :4] == pytest.approx(np.corrcoef(z[:, :4].T), abs=1e-4)
    scaled = (z - z.mean(0))[:, :4] / z.std(0)[:4]
    assert cross[:4] == pytest.approx(scaled.T @ STATES / 300, abs=1e-4)


def test_what_a_gate_explains_alone_is_that_of_a_regression():
    root = RNG.standard_normal((4, 4))
    found, z, y = explained_alone(STATES, GATES, root), dense(), STATES @ root
    y = y - y.mean(0)
    for j in range(4):
        x = z[:, [j]] - z[:, j].mean()
        rest = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
        gained = (np.square(y).sum() - np.square(rest).sum()) / 300
        assert found[j] == pytest.approx(gained, rel=1e-3)
    assert found[4] == 0  # never open


def test_a_value_is_kept_that_most_halves_choose():
    """Gate 0 tells of everybody, gate 1 of one group of users alone, which half the halves lack."""
    groups = []
    for group in range(4):
        z = np.random.default_rng(group).random((200, 2))
        states = np.column_stack([z[:, 0], z[:, 1] if group == 0 else np.zeros(200)])
        groups.append(choose.Moments(200, z.sum(0), states.sum(0), z.T @ z, z.T @ states))
    same = np.eye(2, dtype=bool)
    compared = Compared(np.array([3, 8]), same, PLAIN[:2], np.eye(2), variance=20.0)
    assert consensus(compared, groups, seed=0).tolist() == [True, False]


def test_at_most_two_gates_of_one_value_and_none_alike():
    cross = np.array([[5.0], [4.0], [3.0], [2.0], [1.0]])
    sums = choose.Moments(1, np.zeros(5), np.zeros(1), np.eye(5), cross)
    alike = np.eye(5, dtype=bool)
    one_value = Compared(np.array([7, 7, 7, 7, 9]), alike, PLAIN, np.eye(1), 55.0)
    assert one_value.pursue(sums, 5) == [0, 1, 4]
    alike = alike.copy()
    alike[0, 1] = alike[1, 0] = True
    assert one_value._replace(alike=alike).pursue(sums, 5) == [0, 2, 4]


@pytest.mark.parametrize(("explains", "first"), [(1.59, 1), (1.61, 0)])
def test_of_two_that_say_nearly_the_same_the_plain_one_is_chosen(explains, first):
    """Gates 0, for a derived value, and 1 are open together nine times in ten."""
    cross = np.array([[explains**0.5], [1.0]])
    sums = choose.Moments(1, np.zeros(2), np.zeros(1), np.array([[1, 0.9], [0.9, 1]]), cross)
    dearer = np.array([1.6, 1.0])
    compared = Compared(np.arange(2), np.eye(2, dtype=bool), dearer, np.eye(1), 2.0)
    assert compared.pursue(sums, 1) == [first]


def test_rare_values_are_covered_by_their_best_gate_that_is_new():
    alike = np.eye(5, dtype=bool)
    alike[0, 2] = alike[2, 0] = True
    f1 = np.array([0.9, 0.6, 0.8, 0.7, 0.5])
    assert cover([0], [[1, 2, 3], [], [2], [4]], f1, alike) == [3, 4]
