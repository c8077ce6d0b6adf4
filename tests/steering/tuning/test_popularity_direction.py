"""The direction of popularity: found where it was planted, and what it says of itself."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recsae.recommender.protocol import LinearHead
from recsae.steering.steered_scores import Nearby
from recsae.steering.steps.goals import popularity_goal
from recsae.steering.tuning.baselines import CONCEPT_0
from recsae.steering.tuning.popularity_direction import (
    direction_to,
    popularity_direction,
)

N, D = 300, 8
RNG = np.random.default_rng(0)
REAL = np.arange(N) > 0
COUNTS = RNG.integers(1, 5_000, N)
LOGS = np.log1p(COUNTS)
PLANTED = np.linalg.qr(RNG.normal(size=(D, D)))[0]
"""An orthonormal basis, its first row the planted direction."""
ITEMS = torch.from_numpy(
    LOGS[:, None] * PLANTED[0] + RNG.normal(size=(N, D - 1)) @ PLANTED[1:]
).float()
STATES = RNG.normal(size=(5_000, D)).astype(np.float32)


def test_a_planted_direction_is_found():
    """Scores hold log popularity exactly once along it, and nothing else does."""
    found = popularity_direction(ITEMS, COUNTS, REAL, STATES)
    assert np.abs(found.vector.numpy() - PLANTED[0]).max() < 1e-6
    assert found.carried == pytest.approx(1, abs=1e-9)
    assert found.of_states == pytest.approx(1 / D, rel=0.1)


def test_it_is_the_same_in_whatever_order_and_wherever_the_origin_is():
    order = RNG.permutation(N)
    found = popularity_direction(ITEMS, COUNTS, REAL, STATES)
    other = popularity_direction(ITEMS[order] + 3, COUNTS[order], REAL[order], STATES[::-1] + 5)
    torch.testing.assert_close(other.vector, found.vector, atol=1e-5, rtol=0)
    assert other.of_states == pytest.approx(found.of_states, abs=1e-4)


def test_what_cannot_be_recommended_says_nothing():
    items = ITEMS.clone()
    items[0] = 1e4
    found = popularity_direction(items, COUNTS, REAL, STATES)
    assert np.abs(found.vector.numpy() - PLANTED[0]).max() < 1e-6


def test_popularity_that_items_do_not_tell_is_not_carried():
    found = popularity_direction(ITEMS, RNG.permutation(COUNTS), REAL, STATES)
    assert found.carried < 0.15


@pytest.mark.parametrize("items", [torch.zeros(N, D), ITEMS[:, :1] * 0 + 2.0])
def test_items_that_are_all_alike_have_none(items):
    found = popularity_direction(items, COUNTS, REAL, STATES[:, : items.shape[1]])
    assert (found.carried, found.of_states) == (0, 0)
    assert not found.vector.any()


def test_one_dimension_that_is_noise_is_left_out():
    """All along one line: the smallest direction would get the largest numbers."""
    noise = 1e-7 * torch.from_numpy(RNG.normal(size=(N, D))).float()
    items = torch.from_numpy(LOGS[:, None] * PLANTED[0]).float() + noise
    found = popularity_direction(items, COUNTS, REAL, STATES)
    assert np.abs(found.vector.numpy() - PLANTED[0]).max() < 1e-4


def test_it_points_where_the_goal_wants():
    near = Nearby(LinearHead(ITEMS, None))
    less, more = (popularity_goal(COUNTS, REAL, more=more) for more in (False, True))
    up, down = (direction_to(goal, near, REAL, STATES) for goal in (more, less))
    assert up is not None
    assert down is not None
    torch.testing.assert_close(up.vector, -down.vector)
    assert float(ITEMS[1:] @ up.vector @ torch.from_numpy(LOGS[1:]).float()) > 0


def test_what_is_said():
    from recsae.steering.tuning.results import Choice, GoalEffect

    found = popularity_direction(ITEMS, COUNTS, REAL, STATES)
    known = "One direction of the states carries 100 % of log popularity and 1"
    assert found.said([], 0.02).startswith(known)
    assert found.said([], 0.02).endswith("variance.")
    effect = GoalEffect(9, 9, (0.98, 0.97, 0.99), 90.0, 75.24, (0.8, 0.7, 0.9))
    rows = [Choice(name, 1.0, 75.0, effect) for name in ("latents", CONCEPT_0)]
    ahead = "; turned alone, it takes average popularity from 90.0 to 75.2 at a loss of 2 % on "
    assert found.said(rows, 0.02).endswith(f"{ahead}construction users.")
    rows.append(Choice("logit adjustment", 1.0, 75.0, replace(effect, after=77.0)))
    assert found.said(rows, 0.02).endswith(f"{ahead}construction users, logit adjustment to 77.0.")
