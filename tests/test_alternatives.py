"""Other ways to a goal: each does what its name says, on the same cases."""

import numpy as np
import pytest
import torch

from recsae.alternatives import LATENTS, REBUILT, RERANKING, activations, by_latents, find_ways
from recsae.goals import Goal
from recsae.sae import SAE, make_config
from recsae.steering import make_edit
from recsae.tuning import natural_path
from test_tuning import FIRST, WEIGHTS, cases, table

GOAL = Goal("more of the first", WEIGHTS, FIRST)
EVERY = slice(0, 300)


@pytest.fixture(scope="module")
def sae():
    return SAE(make_config(n_latents=12, k=3, seed=2), 3).eval()


@pytest.fixture(scope="module")
def ways(sae):
    states = torch.from_numpy(cases().states)
    z = activations(sae, states, torch.arange(12))
    path = natural_path(WEIGHTS, cases(), z, sae.directions(), table(), n_latents=6)
    return find_ways(GOAL, cases(), cases(), path, sae, table())


def scores(ways, name, strength):
    way = next(way for way in ways.all(cases()) if way.name == name)
    return way.scores(EVERY, strength)


STATES = torch.from_numpy(cases().states)


def test_activations_of_some_latents(sae):
    some = torch.tensor([7, 2])
    torch.testing.assert_close(activations(sae, STATES, some), sae.encode(STATES)[:, some])


def test_interventions_do_what_the_path_does(ways, sae):
    with torch.no_grad():
        edited = make_edit(sae, ways.path.interventions(4.0))(STATES)
    torch.testing.assert_close(
        by_latents(ways.path, cases(), sae, table()).scores(EVERY, 4.0), table().score(edited)
    )
    torch.testing.assert_close(scores(ways, LATENTS, 4.0), table().score(edited))


def test_reconstructions_lose_what_is_not_reconstructed(ways, sae):
    with torch.no_grad():
        rebuilt = table().score(sae(STATES))
    torch.testing.assert_close(scores(ways, REBUILT, 0.0), rebuilt)
    moved = scores(ways, REBUILT, 4.0) - rebuilt
    torch.testing.assert_close(moved, scores(ways, LATENTS, 4.0) - table().score(STATES))


def test_re_ranking_adds_the_same_to_every_item_of_the_goal(ways):
    plain = table().score(STATES)
    added = scores(ways, RERANKING, 0.5) - plain
    expected = 0.5 * plain.std() * torch.from_numpy(WEIGHTS)
    torch.testing.assert_close(added, expected.expand_as(added))


def test_nothing_changes_at_a_strength_of_0(ways):
    for way in ways.all(cases()):
        if way.name != REBUILT:
            torch.testing.assert_close(way.scores(EVERY, 0.0), table().score(STATES))


def test_directions_are_as_long_as_states_spread_and_point_at_the_goal():
    """Users with a high first dimension had items of the first kind last: so they are told."""
    known = cases()
    known.last_items[:, 0] = np.where(known.states[:, 0] > 0, 30, 5)
    sae = SAE(make_config(n_latents=12, k=3, seed=2), 3).eval()
    z = activations(sae, STATES, torch.arange(12))
    path = natural_path(WEIGHTS, known, z, sae.directions(), table(), n_latents=6)
    for more, sign in ((True, 1), (False, -1)):
        goal = Goal("some", WEIGHTS, FIRST, more)
        vectors = find_ways(goal, known, known, path, sae, table()).vectors
        for name in ("class mean", "probe"):
            assert sign * float(vectors[name][0]) > 0.9 * float(vectors[name].norm())
        sizes = [float(v.norm()) for v in vectors.values()]
        assert sizes == pytest.approx([float(STATES.std(0).norm())] * 3)


def test_what_nobody_had_has_no_supervised_direction():
    none = Goal("none", WEIGHTS, np.zeros_like(FIRST))
    sae = SAE(make_config(n_latents=12, k=3, seed=2), 3).eval()
    z = activations(sae, STATES, torch.arange(12))
    path = natural_path(WEIGHTS, cases(), z, sae.directions(), table(), n_latents=6)
    ways = find_ways(none, cases(), cases(), path, sae, table())
    assert set(ways.vectors) == {"random direction"}
