"""How much values explain: by hand, and that others' states are what counts."""

import numpy as np
import pytest

from recsae.evaluation import explained as module
from recsae.evaluation.explained import explained, explained_by_all, explained_by_one, linear_fit

RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=(500, 3))
MIX = np.array([[2.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0.5, 0]])
STATES = (VALUES @ MIX + [1, 2, 3, 4]).astype(np.float32)
EYE = np.eye(4)


def test_what_is_explained_is_measured_by_the_metric():
    guess = STATES.copy()
    guess[:, 0] = STATES[:, 0].mean()
    assert explained(STATES, guess, np.diag([1.0, 0, 0, 0])) == pytest.approx(0, abs=1e-6)
    assert explained(STATES, guess, np.diag([0.0, 1, 1, 1])) == 1


def test_states_are_gone_through_in_blocks(monkeypatch):
    guesses = STATES + RNG.normal(size=STATES.shape).astype(np.float32)
    metric = EYE + np.diag([1.0, 2, 3], 1)
    whole = explained(STATES, guesses, metric)
    one = explained(STATES, STATES[0], metric)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 7)
    assert explained(STATES, guesses, metric) == pytest.approx(whole, rel=1e-12)
    assert explained(STATES, STATES[0], metric) == pytest.approx(one, rel=1e-12)


def test_a_fit_finds_the_mixture_whatever_the_size_of_the_values():
    weights, start = linear_fit(VALUES * [1e3, 1, 1e-3], STATES)
    assert weights * [[1e3], [1], [1e-3]] == pytest.approx(MIX, abs=1e-3)
    assert start == pytest.approx([1, 2, 3, 4], abs=1e-2)


def test_a_value_that_never_varies_changes_nothing():
    constant = np.c_[VALUES, np.ones(500)]
    assert linear_fit(constant, STATES)[0][3] == pytest.approx(0)
    ones = explained_by_one((constant, STATES), (constant, STATES), EYE)
    assert ones[3] == pytest.approx(0)


def test_one_value_explains_its_own_part():
    alone = explained_by_one((VALUES, STATES), (VALUES, STATES), EYE)
    parts = np.array([4, 1, 0.25]) * VALUES.var(0)
    assert alone == pytest.approx(parts / parts.sum(), abs=0.02)  # draws are hardly correlated
    together = explained_by_all((VALUES, STATES), (VALUES, STATES), EYE)
    assert together == pytest.approx(1, abs=1e-5)


def test_the_shortcut_is_the_fit_written_out():
    noisy = (STATES + RNG.normal(size=STATES.shape)).astype(np.float32)
    known, test = (VALUES[:300], noisy[:300]), (VALUES[300:], noisy[300:])
    metric = np.diag([1.0, 2, 3, 4])
    for one, found in enumerate(explained_by_one(known, test, metric)):
        z, others = known[0][:, [one]], test[0][:, [one]]
        fitted = np.linalg.lstsq(np.c_[z, np.ones(len(z))], known[1], rcond=None)[0]
        guess = np.c_[others, np.ones(len(others))] @ fitted
        assert found == pytest.approx(explained(test[1], guess, metric))


def test_what_held_only_for_construction_cases_counts_against():
    turned = (-VALUES @ MIX + [1, 2, 3, 4]).astype(np.float32)
    assert explained_by_all((VALUES, STATES), (VALUES, turned), EYE) < -2
    assert (explained_by_one((VALUES, STATES), (VALUES, turned), EYE) < 0).all()
