"""Popularity: goals, Cohen's d and figures of lists, worked out by hand."""

import numpy as np
import pytest

from helpers import toy
from recsae.steering.frontier import Outcome
from recsae.steering.steps.goals import popularity_of
from recsae.steering.tuning.popularity import cohens_d, gini, popularity_measures

# six users of two cases each: items 1 (8 times), 2 (3 times) and 3 (once)
TARGETS = [1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3]
CASES = toy.cases(np.repeat(np.arange(6), 2).tolist(), [[1]] * 12, [[1]] * 12, targets=TARGETS)
POPULARITY = popularity_of(CASES)


def test_cohens_d_of_a_latent_of_popular_users():
    """Mean activations of groups: 2 and 4 in the head, 0 and 2 in the tail: d = 2 / 1."""
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(6), 2)
    popularity = np.array([0, 100, 10, 1, 0, 0, 0, 0, 0])
    by_user = [1, 1, 2, 2, 3, 3]
    cases = toy.cases(user.tolist(), [[1]] * 12, [[1]] * 12, targets=[by_user[u] for u in user])
    activity = np.array([2.0, 4, 7, 7, 0, 2])[user]
    code = toy.sparse(np.stack([activity, np.zeros(12), rng.random(12)], axis=1))
    d = cohens_d(code, cases, popularity)
    assert d[0] == pytest.approx(2.0)
    assert d[1] == 0


def test_figures_of_lists():
    ones = np.ones(6)
    before = Outcome(ones, ones, ones, ones, np.array([0, 10, 0, 0, 0, 0, 0, 0, 0]))
    after = Outcome(ones / 2, ones, ones, ones, np.array([0, 5, 5, 0, 0, 0, 0, 0, 0]))
    rows = {m.measure: m for m in popularity_measures(before, after, CASES, POPULARITY)}
    average = rows["average popularity"]
    assert (average.before, average.after) == (9, 5.5)
    assert rows["long tail: share of lists"].after == 0.5
    assert rows["long tail: recommended at all"].after == pytest.approx(1 / 7)
    assert rows["Gini coefficient"].before == pytest.approx(7 / 8)


def test_gini_of_equal_lists_is_0():
    assert gini(np.full(5, 3)) == 0
