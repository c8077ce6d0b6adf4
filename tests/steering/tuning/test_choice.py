"""The choice of a method, on two users whose lists are worked out by hand."""

import numpy as np
import pytest
import torch

from helpers.frontier_cases import CASES, N, Scores
from recsae.core.errors import InvalidInput
from recsae.steering.frontier import Outcome, Point, outcome_of
from recsae.steering.methods import SteeringMethod
from recsae.steering.steps.applied import Applied
from recsae.steering.steps.goals import Goal
from recsae.steering.steps.kinds import Wishes
from recsae.steering.steps.ranking import Ranking, Reorder
from recsae.steering.tuning.choice import Trial, Tried, chosen
from recsae.steering.tuning.scored import Scored

LAST = np.arange(N + 1) == 12
GOAL = Goal(Wishes(more=("the last",)), LAST.astype(np.float32), LAST)


def adding(name, size):
    weights = torch.from_numpy(GOAL.weights)
    return SteeringMethod(
        name,
        lambda strength: Applied(ranking=Ranking(None, (Reorder.of(weights, size * strength),))),
        identity_at_zero=True,
        steps=lambda strength: [f"{name} {strength:g}"],
    )


@pytest.fixture
def trial():
    only = Scored(Scores(CASES.take(np.array([0, 1]))), GOAL.counted)
    return Trial(only, only, GOAL, 0.05)


def test_a_method_goes_as_far_as_the_loss_allows(trial):
    """Item 12 passes item 2 at 10 / 1.5, which costs 8 %: NDCG is 1.5 / 1.63 there."""
    tried = trial.of(adding("constant", 1.5))
    assert tried.far == pytest.approx(1.2 * 11 / 1.5, rel=0.1)  # item 1 is passed: over a tenth
    assert trial.few.before.mean_share == 0
    assert tried.value == pytest.approx(0.1)
    kept = [point.kept for point in tried.points]
    assert kept[-1] < 0.8 <= kept[-2]  # until four times the loss is lost
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


def of_users(name, shares):
    """A method under which the lists of a hundred users have so much of the goal, at no loss."""
    n = len(shares)
    ones = np.ones(n)
    after = Outcome(ones, np.asarray(shares), ones, ones, np.zeros(13, dtype=np.int64))
    mean = float(np.mean(shares))
    points = [Point(s, 1.0, mean * s, after.counts, None, after) for s in (0.0, 1.0)]
    return Tried(adding(name, 1.0), 2.0, points, 1.0, mean)


def test_a_combination_is_chosen_only_where_it_is_clearly_ahead(trial):
    """The same mean gain: once every user has it, once two of a hundred have all of it."""
    nothing = np.zeros(100)
    before = Outcome(np.ones(100), nothing, nothing, np.ones(100), np.zeros(13, dtype=int))
    trial.few.before = before
    alone = of_users("re-ranking", np.full(100, 0.05))
    steady = of_users("latents retrieve, then re-ranking within 100", np.full(100, 0.06))
    lucky = of_users("latents retrieve, then re-ranking within 50", [3.0, 3.0, *[0.0] * 98])
    assert lucky.value == pytest.approx(steady.value)
    assert trial.best([alone, lucky]) is alone
    assert trial.best([alone, steady]) is steady
    assert trial.best([steady]) is steady


def test_unsteered_lists_are_those_of_the_scores(trial):
    lists = Applied().lists(Scores(CASES), 10)
    assert lists.tolist() == [list(range(1, 11))] * 3
    assert outcome_of(lists, CASES, GOAL.counted).mean_share == 0
