"""Which history items drive a latent or a score, by hand on a state that is a weighted sum."""

import numpy as np
import pytest
import torch

from helpers.recent import (
    BIAS,
    DECAY,
    LONGEST,
    OUT,
    VECTORS,
    Recent,
    attached,
    preactivations_of,
    small_sae,
    state_of,
)
from helpers.toy import UserTable, sequences
from recsae.attribution import drivers
from recsae.attribution.drivers import (
    Agreement,
    agreement,
    integrate_latents,
    integrate_score,
    leave_out,
)
from recsae.core.errors import CannotOpenModel, InvalidInput
from recsae.recommender.sequences import pad
from recsae.sae.config import make_config
from recsae.sae.model import SAE
from recsae.testing import PlantedRecommender

HISTORY = [3, 1, 5]
LEFT = [[1, 5], [3, 5], [3, 1]]
BATCH = pad([HISTORY], LONGEST)
ITEM = 6


def active(history, k=2):
    """Activations after the top k."""
    pre = preactivations_of(state_of(history))
    return np.where(np.isin(np.arange(3), np.argsort(-pre)[:k]), pre.clip(0), 0)


def centred(history):
    scores = OUT @ state_of(history) + BIAS
    return scores[ITEM] - scores[1:].mean()


# -- leaving out -----------------------------------------------------------------------------------


def test_left_out_by_hand():
    found = leave_out(attached(), small_sae(), BATCH, [2, 0, 1], ITEM)
    whole = preactivations_of(state_of(HISTORY))
    for place, rest in enumerate(LEFT):
        change = whole - preactivations_of(state_of(rest))
        assert found.preactivations[place] == pytest.approx(change[[2, 0, 1]], abs=1e-5)
        change = active(HISTORY) - active(rest)
        assert found.activations[place] == pytest.approx(change[[2, 0, 1]], abs=1e-5)
        score = OUT[ITEM] @ (state_of(HISTORY) - state_of(rest))
        assert found.score[place] == pytest.approx(score, abs=1e-5)
        assert found.above_mean[place] == pytest.approx(centred(HISTORY) - centred(rest), abs=1e-5)
    ranks = [set(np.flatnonzero(active(h))) for h in (HISTORY, *LEFT)]
    assert any(r != ranks[0] for r in ranks[1:])  # some latent enters or leaves the top k


def test_older_items_do_not_move_up():
    long = pad([[7, 8, 3, 1, 5, 2]], LONGEST)
    found = leave_out(attached(), small_sae(), long, [0], ITEM)
    assert len(found.score) == LONGEST
    expected = OUT[ITEM] @ (state_of([3, 1, 5, 2]) - state_of([3, 1, 5]))
    assert found.score[3] == pytest.approx(expected, abs=1e-5)


def test_in_parts_it_is_the_same(monkeypatch):
    whole = leave_out(attached(), small_sae(), BATCH, [0, 2], ITEM)
    monkeypatch.setattr(drivers, "ROWS", 2)
    parts = leave_out(attached(), small_sae(), BATCH, [0, 2], ITEM)
    assert parts.preactivations == pytest.approx(whole.preactivations, abs=1e-6)
    assert parts.score == pytest.approx(whole.score, abs=1e-6)


def test_a_planted_latent_is_driven_by_items_of_its_genre():
    """No gradients are needed for it."""
    planted = PlantedRecommender(n_users=20, n_items=60, n_concepts=4, width=8, noise=0.0)
    genres = planted.model.genres.numpy() > 0
    of_first = np.flatnonzero(genres[:, 0])[:3].tolist()
    others = np.flatnonzero(~genres[:, 0])[1:3].tolist()
    history = [of_first[0], others[0], of_first[1], others[1], of_first[2]]
    batch = pad([history], planted.max_length)

    sae = SAE(make_config(n_latents=4, k=4), 8)
    with torch.no_grad():
        sae.W_enc.copy_(planted.model.directions)
    found = leave_out(planted, sae, batch, [0], of_first[0])
    strength = float(planted.model.strengths[0])
    assert found.activations[:, 0] == pytest.approx(
        [strength / 5 if item in of_first else 0 for item in history], abs=1e-5
    )


def test_what_cannot_be_left_out():
    with pytest.raises(InvalidInput, match="A history of one item is empty without it"):
        leave_out(attached(), small_sae(), pad([[3]], LONGEST), [0], ITEM)
    users = UserTable(
        sequences([8, 7, 3], [2, 1]),
        [3, 2],
        [[0, 0], [1, 0], [0, 1]],
        [[9, 9], *([i, -i] for i in range(1, 9))],
    )
    with pytest.raises(InvalidInput, match="UserTable keeps one state for each user"):
        leave_out(users, small_sae(), pad([[8, 7]], 6, 1), [0], ITEM)


# -- gradients -------------------------------------------------------------------------------------


def test_gradients_of_a_linear_state_are_its_summands():
    found = integrate_latents(attached(), small_sae(), BATCH, [2, 0], baseline="zero")
    weights = np.array([DECAY**2, DECAY, 1])
    summands = VECTORS[HISTORY] * weights[:, None] / 2
    assert found.attributions[:, 0] == pytest.approx(summands @ [0.6, 0.8], abs=1e-5)
    assert found.attributions[:, 1] == pytest.approx(summands[:, 0], abs=1e-5)
    assert found.value == pytest.approx(preactivations_of(state_of(HISTORY))[[2, 0]], abs=1e-5)
    assert found.baseline_value == pytest.approx(preactivations_of([0, 0])[[2, 0]], abs=1e-5)


def test_gradients_of_a_score_are_of_the_score_less_the_mean():
    recommender = attached()
    found = integrate_score(recommender, recommender.linear_head(), BATCH, ITEM, baseline="zero")
    weights = np.array([DECAY**2, DECAY, 1])
    each = (VECTORS[HISTORY] * weights[:, None]) @ (OUT[ITEM] - OUT[1:].mean(0))
    assert found.attributions[:, 0] == pytest.approx(each, abs=1e-5)
    assert found.value[0] == pytest.approx(centred(HISTORY), abs=1e-5)
    assert found.baseline_value[0] == pytest.approx(BIAS[ITEM] - BIAS[1:].mean(), abs=1e-5)


@pytest.mark.parametrize("baseline", ["zero", "mean-user", "popular-user", "sampled-users"])
def test_where_a_state_is_squashed_gradients_are_complete(baseline):
    recommender = attached(Recent(squash=True), site="mixed", other_sites=["out.input"])
    for site, state in ((None, state_of(HISTORY)), ("out.input", np.tanh(state_of(HISTORY)))):
        found = integrate_latents(
            recommender, small_sae(), BATCH, [0, 1, 2], baseline=baseline, site=site
        )
        assert found.complete.all()
        assert found.value == pytest.approx(preactivations_of(state), abs=1e-5)
        rise = found.value - found.baseline_value
        assert found.attributions.sum(0) == pytest.approx(rise, abs=0.02)


def test_where_there_are_no_gradients_it_is_said():
    planted = PlantedRecommender(n_users=20, n_items=40, n_concepts=4, width=8)
    with pytest.raises(CannotOpenModel, match="The plug-in of Planted cannot give it vectors"):
        integrate_latents(planted, small_sae(), pad([[1, 2]], 20), [0])


# -- agreement -------------------------------------------------------------------------------------


def test_agreement():
    up = np.arange(5.0)
    assert agreement(up, 3 * up + 1) == Agreement(1.0, 1.0, 3, 3)
    assert agreement(up, -up) == Agreement(-1.0, -1.0, 1, 3)
    assert agreement(up[:2], up[:2]) == Agreement(1.0, 1.0, 2, 2)


def test_of_items_that_are_all_the_same_no_order_is_claimed():
    assert agreement(np.arange(4.0), np.ones(4)) == Agreement(None, None, 2, 3)
    assert agreement(np.ones(1), np.ones(1)) == Agreement(None, None, 1, 1)
