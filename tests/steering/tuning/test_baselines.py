"""Other methods of steering: each does what its name says, on the same cases."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.two_directions import FIRST, WEIGHTS, cases, table
from recsae.sae.config import make_config
from recsae.sae.editing import make_edit
from recsae.sae.model import SAE
from recsae.steering.frontier import lists_of
from recsae.steering.steered_scores import HeadScorer, Nearby, activations
from recsae.steering.tuning.baselines import (
    BY_PROBABILITY,
    LATENTS,
    REBUILT,
    RERANKING,
    by_latents,
    directions_to,
    fit_methods,
)
from recsae.steering.tuning.goals import Goal
from recsae.steering.tuning.path import natural_path, temperature_of

GOAL = Goal("more of the first", WEIGHTS, FIRST)
EVERY = slice(0, 300)
NEAR = Nearby(table())


@pytest.fixture(scope="module")
def sae():
    return SAE(make_config(n_latents=12, k=3, seed=2), 3).eval()


@pytest.fixture(scope="module")
def path(sae):
    return path_of(sae, cases())


def path_of(sae, known):
    z = activations(sae, STATES, torch.arange(12))
    return natural_path(WEIGHTS, known, z, sae.directions(), NEAR, n_latents=6)


@pytest.fixture(scope="module")
def methods(sae, path):
    return fit_methods(GOAL, cases(), cases(), path, sae, NEAR)


def scores(methods, sae, name, strength):
    applied = methods.on(HeadScorer(cases(), sae, table()))
    return next(one for one in applied if one.name == name).scores(EVERY, strength)


STATES = torch.from_numpy(cases().states)


def test_interventions_do_what_the_path_does(methods, path, sae):
    with torch.no_grad():
        edited = make_edit(sae, path.interventions(4.0))(STATES)
    alone = by_latents(path, sae).on(HeadScorer(cases(), sae, table()))
    torch.testing.assert_close(alone.scores(EVERY, 4.0), table().score(edited))
    torch.testing.assert_close(scores(methods, sae, LATENTS, 4.0), table().score(edited))


def test_reconstructions_lose_what_is_not_reconstructed(methods, sae):
    with torch.no_grad():
        rebuilt = table().score(sae(STATES))
    torch.testing.assert_close(scores(methods, sae, REBUILT, 0.0), rebuilt)
    moved = scores(methods, sae, REBUILT, 4.0) - rebuilt
    torch.testing.assert_close(
        moved, scores(methods, sae, LATENTS, 4.0) - table().score(STATES), atol=1e-4, rtol=1e-4
    )


def test_re_ranking_adds_the_same_to_every_item_of_the_goal(methods, sae):
    plain = table().score(STATES)
    added = scores(methods, sae, RERANKING, 0.5) - plain
    expected = 0.5 * plain[:, 1:].std() * torch.from_numpy(WEIGHTS)
    torch.testing.assert_close(added, expected.expand_as(added))


def test_nothing_changes_at_a_strength_of_0(methods, sae):
    for method in methods.on(HeadScorer(cases(), sae, table())):
        if method.name not in (REBUILT, BY_PROBABILITY):
            torch.testing.assert_close(method.scores(EVERY, 0.0), table().score(STATES))
        if method.identity_at_zero:
            assert torch.equal(method.scores(EVERY, 0.0), table().score(STATES))


def lists(scores):
    return scores.index_fill(1, torch.tensor([0]), float("-inf")).topk(10).indices


def test_re_ranking_by_probability_by_hand(methods, sae):
    """The best list out of all 40 items, place by place; without strength the model's own."""
    plain = lists(table().score(STATES))
    assert torch.equal(lists(scores(methods, sae, BY_PROBABILITY, 0.0)), plain)
    found = lists(scores(methods, sae, BY_PROBABILITY, 0.5))
    assert not torch.equal(found, plain)
    known = table().score(STATES).index_fill(1, torch.tensor([0]), float("-inf"))
    p = torch.softmax(known / temperature_of(known, cases().targets), 1)
    unit = float(p.sort(1, descending=True).values[:, 9].mean()) / np.log2(11)
    left = p > 0
    for place in range(10):
        value = p / np.log2(place + 2) + 0.5 * unit * torch.from_numpy(WEIGHTS)
        best = value.masked_fill(~left, float("-inf")).argmax(1)
        assert torch.equal(best, found[:, place])
        left[torch.arange(300), best] = False


def test_re_ranking_by_probability_recommends_nothing_that_is_hidden(methods, sae):
    """Only item 1 is in these histories, which lists leave out; no list has it, nor padding."""
    hiding = replace(cases(), filters_seen=True)
    scorer = HeadScorer(hiding, sae, table())
    method = next(one for one in methods.on(scorer) if one.name == BY_PROBABILITY)
    assert bool((method.scores(EVERY, 0.5)[:, :2] == float("-inf")).all())


@pytest.mark.parametrize("strength", [0.0, 0.5, 9.0])
def test_methods_that_make_lists_make_those_of_their_scores(strength, methods, sae):
    for hides in (False, True):
        some = replace(cases(), filters_seen=hides)
        for method in methods.on(HeadScorer(some, sae, table())):
            if method.lists is None:
                continue
            by_scores = replace(method, lists=None)
            assert np.array_equal(
                method.lists(strength, 10), lists_of(some, by_scores, strength)
            ), method.name


def test_directions_are_as_long_as_states_spread_and_point_at_the_goal():
    """Users with a high first dimension had items of the first kind last: so they are told."""
    known = cases()
    known.last_items[:, 0] = np.where(known.states[:, 0] > 0, 30, 5)
    for more, sign in ((True, 1), (False, -1)):
        vectors = directions_to(Goal("some", WEIGHTS, FIRST, more), known, STATES)
        for name in ("class mean", "probe"):
            assert sign * float(vectors[name][0]) > 0.9 * float(vectors[name].norm())
        sizes = [float(v.norm()) for v in vectors.values()]
        assert sizes == pytest.approx([float(STATES.std(0).norm())] * 3)


def test_what_nobody_had_has_no_supervised_direction():
    none = Goal("none", WEIGHTS, np.zeros_like(FIRST))
    assert set(directions_to(none, cases(), STATES)) == {"random direction"}
