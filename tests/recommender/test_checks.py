"""Numerical checks of an adapter, on truth that is planted."""

import pytest
import torch

from recsae.recommender.checks import share_of_scores, share_that_follows
from recsae.recommender.sequences import probe_batch
from recsae.testing import PlantedRecommender


def test_scores_follow_the_states_that_they_are_made_of():
    recommender = PlantedRecommender(n_users=40)
    batch = probe_batch(recommender.sequences(), recommender.max_length, 16, even=True)
    assert len(batch.lengths) > 1
    assert share_of_scores(recommender, recommender.sites()[0].name, batch) == pytest.approx(1)


def test_half_of_what_scores_are_made_of():
    """Scores are sums of two parts of the same variance, one of which moves."""
    torch.manual_seed(0)
    moves, stays = torch.randn(2, 500, 20)
    share = share_that_follows(moves + stays, moves.roll(1, 0) + stays)
    assert share == pytest.approx(0.5, abs=0.02)


def test_nothing_to_follow():
    same = torch.ones(3, 2)
    assert share_that_follows(same, same) == 0.0
    assert share_that_follows(torch.eye(2), torch.full((2, 2), float("nan"))) == 0.0
