"""An explanation put together: what is asked of which latents, and what is said to be missing."""

import dataclasses

import numpy as np
import pytest

from helpers.recent import LONGEST, Recent, attached, small_sae
from helpers.toy import UserTable, sequences
from recsae.attribution.drivers import agreement, integrate_latents, integrate_score, leave_out
from recsae.attribution.explanation import explain
from recsae.attribution.score_terms import explain_score
from recsae.core.errors import CannotOpenModel, InvalidInput, NotEnoughData
from recsae.recommender.sequences import pad
from recsae.sae.config import make_config
from recsae.sae.model import SAE
from recsae.testing import PlantedRecommender

BATCH = pad([[3, 1, 5]], LONGEST)


def test_it_is_made_of_its_parts():
    recommender, sae = attached(Recent()), small_sae()
    found = explain(recommender, sae, BATCH, 6, n_latents=1, latents=[0], baseline="zero")
    assert found.history == (3, 1, 5)
    assert found.notes == ()
    assert found.score == explain_score(recommender, sae, BATCH, 6)
    strongest = found.score.terms[0].latent
    of_score, *of_latents = found.drivers
    asked = list(dict.fromkeys([strongest, 0]))
    assert [d.latent for d in found.drivers] == [None, *asked]
    left = leave_out(recommender, sae, BATCH, asked, 6)
    paths = integrate_latents(recommender, sae, BATCH, asked, baseline="zero")
    whole = integrate_score(recommender, recommender.linear_head(), BATCH, 6, baseline="zero")
    assert np.array_equal(of_score.left_out, left.above_mean)
    assert np.array_equal(of_score.gradients.attributions, whole.attributions[:, 0])
    for place, mine in enumerate(of_latents):
        assert np.array_equal(mine.left_out, left.preactivations[:, place])
        assert np.array_equal(mine.left_out_activation, left.activations[:, place])
        assert np.array_equal(mine.gradients.attributions, paths.attributions[:, place])
        assert (mine.gradients.value, mine.gradients.gap) == (paths.value[place], paths.gap[place])
        assert mine.agreement == agreement(mine.left_out, mine.gradients.attributions)
    assert of_latents[0].activation == found.score.terms[0].activation


def test_a_latent_that_is_off_can_be_asked_about():
    sae = small_sae()
    off = {0, 1, 2} - {t.latent for t in explain_score(attached(), sae, BATCH).terms}
    (latent,) = off
    found = explain(attached(), sae, BATCH, latents=[latent])
    assert found.drivers[-1].latent == latent
    assert found.drivers[-1].activation == 0


@pytest.mark.parametrize("method", ["leave-one-out", "gradients"])
def test_one_way_alone(method):
    found = explain(attached(), small_sae(), BATCH, method=method)
    for mine in found.drivers:
        assert (mine.left_out is None) == (method == "gradients")
        assert (mine.gradients is None) == (method == "leave-one-out")
        assert mine.agreement is None


def test_without_a_head_gradients_are_of_latents_alone():
    recommender = dataclasses.replace(attached(), head=None)
    found = explain(recommender, small_sae(), BATCH)
    assert found.score.method == "ablation"
    assert found.drivers[0].gradients is None
    assert all(d.gradients is not None for d in found.drivers[1:])
    assert found.notes == (
        "Scores of Recent are not linear in its states: gradients are of latents alone.",
    )


def test_without_gradients_items_can_still_be_left_out():
    planted = PlantedRecommender(n_users=30, n_items=40, n_concepts=4, width=8)
    sae, batch = SAE(make_config(n_latents=16, k=2), 8), pad([[1, 2, 3]], 20)
    found = explain(planted, sae, batch)
    assert all(d.left_out is not None and d.gradients is None for d in found.drivers)
    (note,) = found.notes
    assert note.startswith("Gradients are not available: The plug-in of Planted cannot give it")
    with pytest.raises(CannotOpenModel, match="The plug-in of Planted"):
        explain(planted, sae, batch, method="gradients")


def test_nobody_to_sample_is_a_note_too():
    recommender = attached(histories={f"u{u}": ["m1", "m2", f"m{1 + u % 8}"] for u in range(40)})
    batch = pad([[1, 2, 3, 4]], LONGEST)
    (note,) = explain(recommender, small_sae(), batch).notes
    assert "No construction user has the 4 items" in note
    with pytest.raises(NotEnoughData):
        explain(recommender, small_sae(), batch, method="gradients")


def test_a_single_item_cannot_be_left_out():
    found = explain(attached(), small_sae(), pad([[3]], LONGEST))
    assert found.notes == ("The history has one item, which cannot be left out.",)
    assert all(d.left_out is None and d.gradients is not None for d in found.drivers)


@pytest.mark.parametrize("method", ["both", "gradients", "leave-one-out"])
def test_of_users_only_the_score_is_explained(method):
    table = [[9, 9], *([i, -i] for i in range(1, 9))]
    states = [[0, 0], [1, 0], [0, 1]]
    users = UserTable(sequences([8, 7, 3], [2, 1]), [3, 2], states, table)
    found = explain(users, small_sae(), pad([[8, 7, 3]], 6, 1), seen=[8, 7, 3], method=method)
    assert found.score.item == 6
    assert found.drivers == ()
    (note,) = found.notes
    assert note.startswith("UserTable keeps one state for each user")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "guess"}, "no method 'guess': it is one of leave-one-out, gradients, both"),
        ({"baseline": "mean"}, "no baseline 'mean'"),
        ({"latents": [3]}, "no latent 3: latents are numbered 0 to 2"),
        ({"latents": [-1]}, "no latent -1"),
        ({"item": 0}, "no item with the internal id 0"),
    ],
)
def test_what_cannot_be_asked(options, words):
    with pytest.raises(InvalidInput, match=words):
        explain(attached(), small_sae(), BATCH, **options)
