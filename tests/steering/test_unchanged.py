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
from recsae.steering.steps.goals import items_of
from recsae.steering.steps.kinds import Direction, Filter, ReRanking
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


def no_lists(k):
    """Lists without items."""
    return np.zeros((1, k), dtype=np.int64)


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
    found = why_unchanged(with_dead(opened, 3), scaled(3).interventions, silent, no_lists)
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


# -- what is done to lists, and directions ---------------------------------------------------------

MORE = {"by": "constant", "more": ("Comedy",), "strength": 1e-9, "unit": 1.0}


def reason(opened, step, lists=no_lists):
    """Why one step that turns no latents changes nothing, where these are the lists before."""
    states = torch.from_numpy(opened.heldout.states[:3])
    return str(why_unchanged(opened, [step], states, lists))


@pytest.fixture(scope="module")
def comedies(opened):
    return items_of(opened, "Comedy")


@pytest.fixture(scope="module")
def others(comedies):
    """Lists of items that are no comedies."""
    return lambda k: np.flatnonzero(~comedies)[1 : k + 1][None]


def test_a_strength_of_0_is_the_reason(opened):
    for step in (
        ReRanking(**MORE | {"strength": 0.0}),
        Direction(name="probe", vector=(1.0,) * 12, strength=0.0),
    ):
        said = reason(opened, step)
        assert said == f"a strength of 0 does nothing ({step}): give another"


def test_a_direction_is_too_short(opened):
    said = reason(opened, Direction(name="probe", vector=(0.0,) * 12, strength=2.0))
    assert said == "the direction 'probe' is too short to move an item: give a larger strength"


def test_a_filter_of_what_is_in_no_list(opened, others):
    said = reason(opened, Filter(never=("Comedy", "Drama")), others)
    assert said == "none of these lists has an item of Comedy or Drama to leave out"


def test_none_of_the_goal_is_among_the_candidates(opened, others):
    step = ReRanking(**MORE | {"strength": 9.0, "candidates": 10})
    assert reason(opened, step, others) == (
        "none of the items that it is about (more Comedy) is in the first 10 items: give more "
        "candidates"
    )


def test_all_candidates_are_of_the_goal(opened, comedies):
    step = ReRanking(**MORE | {"strength": 9.0, "candidates": 10})
    said = reason(opened, step, lambda k: np.flatnonzero(comedies)[:k][None])
    assert said == (
        "all items of the first 10 items weigh the same (more Comedy), so their order stays"
    )


def test_there_is_nothing_to_push_down(opened, others):
    step = ReRanking(by="constant", less=("Comedy",), strength=9.0, unit=1.0)
    assert reason(opened, step, others) == (
        "none of the items that it is about (less Comedy) is in these lists: there is nothing to "
        "push down"
    )


@pytest.mark.parametrize("candidates", [None, 20])
def test_a_re_ranking_that_is_too_weak(opened, candidates):
    """Lists of everybody, before and after; latents are not spoken of."""
    step = ReRanking(**MORE | {"candidates": candidates})
    made = metrics_before_after(opened, Steering([step]))
    assert made.lists_changed == 0
    assert first_fact(made) == (
        f"nothing changes: the re-ranking ({step}) is too weak to move an item: give a larger "
        "strength"
    )


def test_one_list_of_somebody_without_what_is_filtered(opened):
    step, words = Filter(never=("Comedy",)), "nothing changes: none of these lists has an item of"
    said = [
        first_fact(lists_before_after(opened, Steering([step]), str(user), None, mask_seen=False))
        for user in opened.recommender.sequences().users[:40]
    ]
    assert any(one.startswith(words) for one in said)
    assert not all(one.startswith(words) for one in said)
    assert not any("latent" in one for one in said)
