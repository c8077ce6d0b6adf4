"""An item's score taken apart, worked out by hand."""

import dataclasses

import numpy as np
import pytest
import torch

from helpers.recent import BIAS, LONGEST, OUT, attached, preactivations_of, small_sae, state_of
from helpers.toy import UserTable, catalog, sequences
from recsae.attribution.score_terms import above_mean, explain_score
from recsae.core.errors import InvalidInput, RecSAEError
from recsae.recommender.sequences import pad

HISTORY = [3, 1, 5]
SCORES = OUT @ state_of(HISTORY) + BIAS
DIRECTIONS = 2 * np.array([[1, 0], [0, 1], [0.8, 0.6]])
OWN_OFFSET = np.array([0.5 + 2 * 0.1, 0.25 - 2 * 0.2])


def batch(history=HISTORY):
    return pad([history], LONGEST)


def relative(item, vector):
    """What a vector adds to the score of an item, and less the mean over items 1 to 8."""
    return OUT[item] @ vector, (OUT[item] - OUT[1:].mean(0)) @ vector


@pytest.mark.parametrize("item", range(1, 9))
def test_terms_are_those_worked_out_by_hand(item):
    found = explain_score(attached(), small_sae(), batch(), item)
    state = state_of(HISTORY)
    pre = preactivations_of(state)
    active = np.argsort(-pre)[:2]
    assert (pre[active] > 0).all()
    assert found.method == "exact"
    assert found.score == pytest.approx(SCORES[item], abs=1e-5)
    assert found.above_mean == pytest.approx(SCORES[item] - SCORES[1:].mean(), abs=1e-5)
    assert {t.latent for t in found.terms} == set(active.tolist())
    for term in found.terms:
        added = relative(item, pre[term.latent] * DIRECTIONS[term.latent])
        assert term.activation == pytest.approx(pre[term.latent], abs=1e-5)
        assert (term.contribution, term.centred) == pytest.approx(added, abs=1e-5)
    sizes = [abs(t.centred) for t in found.terms]
    assert sizes == sorted(sizes, reverse=True)
    rest = {r.kind: (r.contribution, r.centred) for r in found.rest}
    left = state - OWN_OFFSET - pre[active] @ DIRECTIONS[active]
    assert rest["bias"] == pytest.approx((BIAS[item], BIAS[item] - BIAS[1:].mean()), abs=1e-5)
    assert rest["offset"] == pytest.approx(relative(item, OWN_OFFSET), abs=1e-5)
    assert rest["residual"] == pytest.approx(relative(item, left), abs=1e-5)


@pytest.mark.parametrize("item", range(1, 9))
def test_terms_add_up_to_the_models_own_score(item):
    recommender = attached()
    found = explain_score(recommender, small_sae(), batch(), item)
    own = recommender.score(batch())[0]
    assert found.total == pytest.approx(float(own[item]), abs=1e-5)
    assert found.total_centred == pytest.approx(float(own[item] - own[1:].mean()), abs=1e-5)
    assert found.gap < 1e-6


def test_where_scores_are_not_the_heads_nothing_is_explained():
    recommender = attached()
    score = recommender.score
    recommender.score = lambda batch: score(batch) * 1.001
    with pytest.raises(RecSAEError, match=r"The terms do not add up: for 'm\d' their sum is"):
        explain_score(recommender, small_sae(), batch(), 1)


def test_the_item_is_the_first_of_the_list_unless_given():
    recommender, best = attached(), (np.argsort(-SCORES[1:]) + 1).tolist()
    first = explain_score(recommender, small_sae(), batch())
    assert (first.item, first.rank, first.n_ranked) == (best[0], 1, 8)
    without = explain_score(recommender, small_sae(), batch(), seen=best[:2])
    assert (without.item, without.rank, without.n_ranked) == (best[2], 1, 6)
    fourth = explain_score(recommender, small_sae(), batch(), best[3], seen=np.array(best[:2]))
    assert (fourth.item, fourth.rank) == (best[3], 2)
    assert explain_score(recommender, small_sae(), batch(), best[0], seen=best[:2]).rank is None


@pytest.mark.parametrize("item", [0, 9, -1])
def test_what_is_no_item_is_refused(item):
    with pytest.raises(InvalidInput, match="There is no item"):
        explain_score(attached(), small_sae(), batch(), item)


def test_a_list_that_leaves_out_everything_has_nothing_to_explain():
    with pytest.raises(InvalidInput, match="nothing to recommend"):
        explain_score(attached(), small_sae(), batch(), seen=range(1, 9))


def test_latents_that_are_off_have_no_term():
    sae = small_sae(k=3)
    pre = preactivations_of(state_of([6]))
    assert (pre < 0).all()
    found = explain_score(attached(), sae, batch([6]), 1)
    assert found.terms == ()
    assert found.total == pytest.approx(found.score, abs=1e-5)


@pytest.mark.parametrize("site", [None, "mixed"])
def test_without_a_head_terms_are_what_an_ablation_takes_away(site):
    """At another site too, even though scores are linear there."""
    recommender = attached(other_sites=["mixed"])
    if site is None:
        recommender = dataclasses.replace(recommender, head=None)
    exact = {t.latent: t for t in explain_score(attached(), small_sae(), batch(), 6).terms}
    found = explain_score(recommender, small_sae(), batch(), 6, site=site)
    assert (found.method, found.gap, found.rest) == ("ablation", None, ())
    assert {t.latent for t in found.terms} == set(exact)
    for term in found.terms:
        alike = exact[term.latent]
        assert term.activation == pytest.approx(alike.activation, abs=1e-6)
        assert term.contribution == pytest.approx(alike.contribution, abs=1e-5)
        assert term.centred == pytest.approx(alike.centred, abs=1e-5)
    assert torch.equal(recommender.score(batch()), attached().score(batch()))


def test_a_model_of_users_comes_apart_too():
    table = [[9, 9], *([i, -i] for i in range(1, 9))]
    model = UserTable(sequences([8, 7, 3], [2, 1]), [3, 2], [[0, 0], [1, 0.5], [0, 1]], table)
    found = explain_score(model, small_sae(), pad([[8, 7, 3]], 6, 1), 4)
    assert found.total == pytest.approx(4 * 1 - 4 * 0.5, abs=1e-5)
    assert found.rest[0].contribution == 0


def test_the_mean_is_over_items_that_can_be_ranked():
    scores = np.array([[100.0, 1, 2, 3, 4, 5, 6, 7, -np.inf]])
    assert above_mean(scores, catalog())[0, 1:8].tolist() == [-3, -2, -1, 0, 1, 2, 3]
