"""Scores of edited states: through a head and by running the model, which must agree."""

import numpy as np
import pytest
import torch

from helpers import toy
from helpers.runs import planted
from recsae.run.record import Run
from recsae.run.workspace import Workspace
from recsae.sae.config import make_config
from recsae.sae.editing import Intervention, make_edit
from recsae.sae.model import SAE
from recsae.steering.steered_scores import (
    HeadScorer,
    RunningScores,
    activations,
    linearised,
    n_scored,
    steered_scores_of,
)

pytestmark = pytest.mark.end_to_end


PART = slice(3, 40)


@pytest.fixture(scope="module")
def work(planted_run):
    return Workspace(Run(planted_run), planted(), None)


@pytest.fixture(scope="module")
def both(work):
    cases = work.heldout.take(np.arange(0, len(work.heldout), 7))
    return HeadScorer(cases, work.sae, work.head), RunningScores(
        cases, work.sae, planted(), work.site
    )


def test_activations_of_some_latents():
    sae = SAE(make_config(n_latents=12, k=3, seed=2), 3).eval()
    states = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    some = torch.tensor([7, 2])
    torch.testing.assert_close(activations(sae, states, some), sae.encode(states)[:, some])


def test_without_an_edit_both_are_the_models_own_scores(both):
    by_head, by_running = (scorer.scores(PART)[:, 1:] for scorer in both)
    torch.testing.assert_close(by_head, by_running, atol=1e-4, rtol=1e-4)


def test_edits_see_states_and_activations(both, work):
    """Latent 3 doubled and 5 added to, as the same interventions do it."""
    latents = torch.tensor([3, 5])
    directions = work.sae.directions()[latents]

    def edit(states, z):
        return states + torch.stack([z[:, 0], torch.full_like(z[:, 1], 2.0)], 1) @ directions

    steps = [Intervention((3,), "scale", 2.0), Intervention((5,), "add", 2.0)]
    with torch.no_grad():
        states = make_edit(work.sae, steps)(torch.from_numpy(both[0].cases.states[PART]))
    expected = work.head.score(states)[:, 1:]
    for scorer in both:
        found = scorer.scores(PART, edit, latents)[:, 1:]
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(found, scorer.scores(PART)[:, 1:])


def test_the_model_is_as_before(both):
    scorer = both[1]
    before = scorer.scores(PART)
    with pytest.raises(ZeroDivisionError):
        scorer.scores(PART, lambda states, z: states / (1 // 0))
    assert torch.equal(scorer.scores(PART), before)


def test_a_linear_model_is_linearised_to_its_head(both, work):
    assert linearised(both[0]).head is work.head
    near = linearised(both[1])
    ours, real = near.head.items[1:], work.head.items[1:]
    torch.testing.assert_close(ours, real, atol=1e-3, rtol=1e-3)
    states = torch.from_numpy(both[1].cases.states)
    torch.testing.assert_close(
        near.score(states[PART], PART)[:, 1:], both[1].scores(PART)[:, 1:], atol=1e-3, rtol=1e-3
    )


def test_what_bends_is_linearised_on_average():
    """Scores a * h^2 + b of states h: the mean slope is 2 a mean(h); offsets give the scores."""

    states = torch.tensor([[1.0], [2.0], [6.0]])

    class Bent:
        cases = toy.cases([0, 1, 2], [[1]] * 3, [[1]] * 3, states=states.numpy())

        def scores(self, part, edit=None, latents=None):
            h = states[part] if edit is None else edit(states[part], states[part, :0])
            return torch.cat([h**2, -2 * h**2 + 1], 1)

    near = linearised(Bent())
    torch.testing.assert_close(
        near.head.items, torch.tensor([[6.0], [-12.0]]), atol=1e-3, rtol=1e-4
    )
    states = torch.from_numpy(Bent.cases.states)
    torch.testing.assert_close(
        near.score(states, slice(0, 3)), Bent().scores(slice(0, 3)), atol=1e-3, rtol=1e-4
    )


def test_which_scorer_and_how_many_cases(work):
    assert isinstance(steered_scores_of(work, work.heldout), HeadScorer)
    assert n_scored(work, 10_000, 500) == 10_000
    other = Workspace(work.run, planted(), None)
    other.__dict__["head"] = None
    assert isinstance(steered_scores_of(other, work.heldout), RunningScores)
    assert n_scored(other, 100_000, 500) == 5_000
    assert n_scored(other, 4_000, 500) == 500
