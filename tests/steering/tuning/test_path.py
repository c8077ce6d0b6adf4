"""The path to a goal, on two directions whose items are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.two_directions import FIRST, N_ITEMS, WEIGHTS, cases, table
from recsae.core.errors import NotEnoughData
from recsae.recommender.lists import top_of_states
from recsae.steering.steered_scores import Nearby
from recsae.steering.tuning.path import (
    MAX_SDS,
    MAX_TIMES,
    STEP,
    highest_items,
    natural_path,
    temperature_of,
)

DIRECTIONS = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])


def path_on(z, n_latents=2, weights=WEIGHTS, **more):
    return natural_path(
        weights, cases(), z, DIRECTIONS, Nearby(table()), n_latents=n_latents, **more
    )


def active(share=1.0):
    z = torch.rand(300, 3, generator=torch.Generator().manual_seed(0))
    return z * (torch.arange(300)[:, None] % 300 < share * 300)


def share_along(path, z, strength):
    scale, bias = path.at(strength)
    moved = (
        torch.from_numpy(cases().states)
        + (z[:, path.latents] * scale + bias) @ (DIRECTIONS[path.latents])
    )
    scores = table().score(moved)
    scores[:, 0] = float("-inf")
    return float(torch.from_numpy(FIRST)[scores.topk(10).indices].float().mean())


def test_the_first_dimension_is_turned_up_and_the_second_down():
    path = path_on(4 * active(), n_latents=4)
    bias = dict(zip(path.latents.tolist(), path.bias[-1].tolist(), strict=True))
    assert bias[0] > 0.1
    assert bias[1] < -0.1
    shares = [share_along(path, 4 * active(), s) for s in (0.0, 2.5, 5.0, 10.0)]
    assert shares == sorted(shares)
    assert shares[-1] > shares[0] + 0.1


def test_less_goes_the_other_way():
    path = path_on(active(), weights=-WEIGHTS)
    assert share_along(path, active(), 10.0) < share_along(path, active(), 0.0) - 0.1


def test_every_step_changes_the_distribution_alike():
    """Half the squared step is the divergence from one step to the next, to second order.

    Activations are so large that no setting comes to its bound.
    """
    z, head = 10 * active(), table()
    path = path_on(z, n_latents=3)
    states = torch.from_numpy(cases().states)
    real = torch.arange(1, N_ITEMS + 1)

    def scores(number):
        parameters = z[:, path.latents] * path.scale[number] + path.bias[number]
        return head.score(states + parameters @ DIRECTIONS[path.latents])[:, real]

    known = head.score(states).index_fill(1, torch.tensor([0]), float("-inf"))
    temperature = temperature_of(known, cases().targets)
    for number in (0, 4, 9):
        one, other = (torch.log_softmax(scores(n) / temperature, 1) for n in (number, number + 1))
        divergence = float((one.exp() * (one - other)).sum(1).mean())
        assert divergence == pytest.approx(STEP**2 / 2, rel=0.25)


def test_between_steps_by_straight_lines():
    path = path_on(active())
    scale, bias = path.at(2.5)
    torch.testing.assert_close(scale, (path.scale[2] + path.scale[3]) / 2)
    torch.testing.assert_close(bias, (path.bias[2] + path.bias[3]) / 2)
    assert torch.equal(path.at(path.max_strength)[1], path.bias[-1])
    assert not path.at(0.0)[0].any()


def test_only_candidates_are_turned_and_each_once():
    path = path_on(active(), n_latents=3, candidates=np.array([False, True, True]))
    assert sorted(path.latents.tolist()) == [1, 2]
    assert sorted(path_on(active(), n_latents=9).latents.tolist()) == [0, 1, 2]


def test_a_latent_that_is_hardly_ever_active_has_no_multiplier():
    path = path_on(active(5 / 300), n_latents=3)
    assert not path.scale.any()
    assert path.bias[-1].abs().max() > 0.1


def test_latents_that_are_never_active_are_not_turned():
    z = active()
    z[:, 0] = 0
    assert sorted(path_on(z, n_latents=3).latents.tolist()) == [1, 2]
    with pytest.raises(NotEnoughData, match="None of the latents that could be turned is active"):
        path_on(torch.zeros(300, 3))
    with pytest.raises(NotEnoughData):
        path_on(z, candidates=np.array([True, False, False]))


def certain(n_active, size):
    """Latent 0 is active only where the model is so sure of one item that no score's change shows
    in its distribution, while items at the edge of the list would still be pushed in and out."""
    some, z = cases(), active()
    z[n_active:, 0] = 0
    states = some.states.copy()
    states[:n_active] *= size
    return replace(some, states=states), z


@given(
    st.integers(8, 300),
    st.floats(1, 1e5),
    st.floats(-7, 5).map(lambda power: 10**power),
    st.floats(-3, 3).map(lambda power: 10**power),
    st.sampled_from([1.0, -1.0]),
)
def test_settings_stay_near_what_was_seen(n_active, size, activation, direction, sign):
    """Also where the goal has a slope along a latent, and the metric no information about it."""
    some, z = certain(n_active, size)
    z *= torch.tensor([activation, 1, 1])
    along = DIRECTIONS * torch.tensor([[direction], [1], [1]])
    try:
        path = natural_path(sign * WEIGHTS, some, z, along, Nearby(table()), n_latents=3)
    except NotEnoughData:
        return
    assert path.scale.min() >= -1
    assert path.scale.max() <= MAX_TIMES - 1
    within = MAX_SDS * z.std(0, correction=0)[path.latents]
    assert (path.bias.abs() <= within * 1.001).all()


def test_a_multiplier_needs_some_cases_however_few_there_are():
    """Latent 0 is active on seven of 300 cases, latent 1 on eight: only the latter has one."""
    z = torch.zeros(300, 3)
    z[:7, 0] = z[:8, 1] = 1.0
    path = path_on(z, n_latents=3)
    scale = dict(zip(path.latents.tolist(), path.scale[-1].tolist(), strict=True))
    assert scale[0] == scale.get(2, 0) == 0
    assert scale[1] != 0


def test_nothing_moves_towards_items_that_are_all_alike():
    path = path_on(active(), weights=np.ones(N_ITEMS + 1, dtype=np.float32))
    before = share_along(path, active(), 0.0)
    assert share_along(path, active(), 10.0) == pytest.approx(before, abs=0.05)


@pytest.mark.parametrize("hides", [False, True])
def test_of_a_large_catalogue_only_items_that_stand_high_are_looked_at(hides, monkeypatch):
    """Those 25 that stand highest in the list of any case; all of them give the same path."""
    some = replace(cases(), filters_seen=hides)
    monkeypatch.setattr("recsae.steering.tuning.path.LIST_OF_ITEMS", 15)
    monkeypatch.setattr("recsae.steering.tuning.path.MOST_ITEMS", 25)
    lists = top_of_states(some.states, table(), some.catalog, 15, some.seen)
    first, found = np.unique(lists[:, 0]), highest_items(some, Nearby(table()))
    assert np.array_equal(found, np.sort(found))
    assert len(found) == 25
    assert set(found) <= set(lists.ravel())
    assert set(first) <= set(found) or len(first) > 25
    path = natural_path(WEIGHTS, some, active(), DIRECTIONS, Nearby(table()), n_latents=2)
    assert share_along(path, active(), 10.0) > share_along(path, active(), 0.0) + 0.1
    monkeypatch.setattr("recsae.steering.tuning.path.LIST_OF_ITEMS", N_ITEMS)
    monkeypatch.setattr("recsae.steering.tuning.path.MOST_ITEMS", N_ITEMS)
    among = natural_path(WEIGHTS, some, active(), DIRECTIONS, Nearby(table()), n_latents=2)
    monkeypatch.undo()
    whole = natural_path(WEIGHTS, some, active(), DIRECTIONS, Nearby(table()), n_latents=2)
    assert torch.equal(among.latents, whole.latents)
    torch.testing.assert_close(among.bias, whole.bias, rtol=1e-4, atol=1e-5)


def test_items_that_come_next_need_not_be_among_the_scores():
    scores = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    targets = scores.argmax(1).numpy()
    known = np.arange(50) % 2 == 0
    every_other = temperature_of(scores[known], targets[known])
    assert temperature_of(scores, np.where(known, targets, -1)) == pytest.approx(
        every_other, rel=0.5
    )
    assert temperature_of(scores, np.full(50, -1)) == pytest.approx(float(scores.std()))
