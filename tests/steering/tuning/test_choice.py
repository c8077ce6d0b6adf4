"""The choice of a method, on two users whose lists are worked out by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from helpers.frontier_cases import BASE, CASES, N
from recsae.core.errors import InvalidInput
from recsae.steering.frontier import Point, outcome_of
from recsae.steering.methods import SteeringMethod
from recsae.steering.steps.applied import Applied
from recsae.steering.steps.goals import Goal
from recsae.steering.steps.kinds import Wishes
from recsae.steering.steps.ranking import Ranking, Reorder
from recsae.steering.tuning.baselines import Parts
from recsae.steering.tuning.choice import Trial, Tried, chosen

LAST = np.arange(N + 1) == 12
GOAL = Goal(Wishes(more=("the last",)), LAST.astype(np.float32), LAST)


class Scores:
    """Scores of the cases; states are not edited."""

    at_once = False

    def __init__(self, cases):
        self.cases = cases

    def scores(self, part, edit=None, latents=None):
        return BASE[: len(self.cases)][part]


def adding(name, size):
    weights = torch.from_numpy(GOAL.weights)
    return SteeringMethod(
        name,
        lambda strength: Applied(ranking=Ranking(None, (Reorder.of(weights, size * strength),))),
        identity_at_zero=True,
        steps=lambda strength: [f"{name} {strength:g}"],
    )


@pytest.fixture
def trial(monkeypatch):
    monkeypatch.setattr(
        "recsae.steering.tuning.choice.steered_scores_of", lambda _, cases: Scores(cases)
    )
    only = CASES.take(np.array([0, 1]))
    return Trial(SimpleNamespace(), only, only, GOAL, 0.05)


def test_a_method_goes_as_far_as_the_loss_allows(trial):
    """Item 12 passes item 2 at 10 / 1.5, which costs 8 %: NDCG is 1.5 / 1.63 there."""
    tried = trial.of(adding("constant", 1.5))
    assert tried.far == pytest.approx(1.2 * 11 / 1.5, rel=0.1)  # item 1 is passed: over a tenth
    assert trial.before.mean_share == 0
    assert tried.value == pytest.approx(0.1)
    kept = [point.kept for point in tried.points]
    assert kept[-1] < 0.9 <= kept[-2]  # until twice the loss is lost
    whole = trial.whole_curve(tried)
    assert whole[: len(kept)] == tried.points
    assert whole[-1].strength == pytest.approx(tried.far)


def tried(name, value, strength=1.0):
    return Tried(adding(name, 1.0), 2.0, [Point(0, 1.0, 0.0, None)], strength, value)


def test_the_one_that_gains_most(trial):
    found = [tried("latents", 0.05), tried("re-ranking", 0.08), tried("probe", 0.08)]
    assert chosen(trial, found, None).method.name == "re-ranking"
    assert chosen(trial, found, "latents").method.name == "latents"
    within = [tried("re-ranking by probability within 50", 0.08)]
    assert chosen(trial, within, "probability") is within[0]
    with pytest.raises(InvalidInput, match=r"There is no class-mean .* too few histories tell"):
        chosen(trial, found, "class-mean")


def test_less_is_a_gain_where_less_is_wanted(trial):
    trial.goal = Goal(Wishes(less=("the last",)), -GOAL.weights, LAST, more=False)
    found = [tried("latents", 0.05), tried("re-ranking", 0.02)]
    assert trial.best(found).method.name == "re-ranking"


def test_latents_then_re_ranking_each_in_proportion_to_its_gain(trial):
    """Latents gain a quarter of what re-ranking gains, and so go a quarter as far as alone."""
    parts = []
    maker = SimpleNamespace(then=lambda latents, other, both: parts.append(both))
    trial.then(maker, tried("latents", 0.02, 4.0), tried("re-ranking", 0.08, 3.0))
    trial.then(maker, tried("latents", 0.0, 4.0), tried("re-ranking", 0.0, 3.0))
    assert parts == [Parts(1.0, 3.0), Parts(0.0, 0.0)]


def test_unsteered_lists_are_those_of_the_scores(trial):
    lists = Applied().lists(Scores(CASES), 10)
    assert lists.tolist() == [list(range(1, 11))] * 3
    assert outcome_of(lists, CASES, GOAL.counted).mean_share == 0
