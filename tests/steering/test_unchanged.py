"""Steering that changes nothing says so first, why, and what would work."""

import numpy as np
import pytest
import torch

from helpers.runs import planted_open, relabelled, with_pieces
from recsae.core import columns as C
from recsae.sae.editing import Intervention, active_latents
from recsae.sae.statistics import Statistics
from recsae.steering.effects import metrics_before_after
from recsae.steering.files import Steering
from recsae.steering.lists import lists_before_after
from recsae.steering.unchanged import why_unchanged

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def opened():
    work = planted_open()
    return relabelled(work, **{C.NAME: [f"n{j}" for j in range(16)]})


def scaled(*latents, by=3.0):
    return Steering([Intervention(latents, "scale", by)])


def with_dead(work, latent):
    known = work.statistics
    quantiles = known.quantiles.copy()
    quantiles[latent] = np.nan
    return with_pieces(work, statistics=Statistics(known.sd, quantiles))


def first_fact(change):
    key, value = next(iter(change.to_dict().items()))
    return f"{key}: {value}"


def silent_somewhere(work):
    """A user, and a latent that is not active on their history."""
    for user in work.recommender.sequences().users[:50]:
        made = lists_before_after(work, scaled(3), str(user), None, mask_seen=False)
        if made.unchanged is not None and made.unchanged.silent:
            return str(user)
    raise AssertionError("latent 3 is active for everybody")


def test_a_latent_that_is_silent_for_this_user(opened):
    made = lists_before_after(opened, scaled(3), silent_somewhere(opened), None, mask_seen=False)
    assert all(row.before == row.after for row in made.places)
    assert first_fact(made) == (
        "nothing changes: latent 3 is silent here, so there is nothing to multiply, cap or switch "
        "off: add to it ('3+=2sd'), or look where it is active"
    )


def test_a_latent_that_is_never_active(opened):
    states = torch.from_numpy(opened.heldout.states)
    z = active_latents(opened.sae, states, torch.tensor([3]))[:, 0]
    silent = states[z == 0]
    found = why_unchanged(with_dead(opened, 3), scaled(3).interventions, silent)
    assert (found.never_active, found.silent, found.no_state_changed) == ((3,), (), True)
    assert "latent 3 is never active, for nobody: choose another concept" in str(found)


def test_one_of_two_latents_of_the_same_name(opened):
    names = [f"n{j}" for j in range(16)]
    names[7] = names[3]
    same = relabelled(opened, **{C.NAME: names})
    made = metrics_before_after(same, scaled(3, by=1 + 1e-7))
    assert made.lists_changed == 0
    assert first_fact(made) == (
        "nothing changes: latent 3 is one of 2 named 'n3' (also 7): turn all of them by the name"
    )
    both = metrics_before_after(same, scaled(3, 7, by=1.0))
    assert "the settings leave activations as they are" in first_fact(both)


def test_what_changes_lists_is_not_said_to_change_nothing(opened):
    made = metrics_before_after(opened, scaled(3, by=0.0))
    assert made.lists_changed > 0
    assert made.unchanged is None
    assert "nothing changes" not in made.to_dict()
