"""Goals on a run of planted genres: what is reached, and that it is said as it is."""

import numpy as np
import pytest
import torch

from helpers.runs import planted, planted_open
from recsae.core.errors import InvalidInput, NotEnoughData
from recsae.run.workspace import Workspace
from recsae.sae.editing import Intervention
from recsae.steering.context import steer
from recsae.steering.frontier import BUDGETS, Steered, curve, outcome
from recsae.steering.tuning.baselines import LATENTS, RANDOM, RERANKING
from recsae.steering.tuning.goals import Goal, goal_of
from recsae.steering.tuning.popularity import popularity_goal, popularity_of
from recsae.steering.tuning.tune import _refined, tune


@pytest.fixture(scope="module")
def opened():
    return planted_open()


@pytest.fixture(scope="module")
def comedy(opened):
    return goal_of(opened, ("Comedy",), ())


@pytest.fixture(scope="module")
def tuned(opened, comedy):
    return tune(opened, comedy, 0.05, n_latents=6)


def test_a_planted_genre_is_reached(tuned):
    found = tuned.found
    assert found["after"] > 1.2 * found["before"]
    assert found["times"][1] > 1.1  # also the lower end
    assert found["NDCG@10 kept"][2] > 0.95
    rows = {row["way"]: row for row in found["ways"]}
    assert rows[LATENTS]["area"] > rows[RANDOM]["area"] + 0.02
    assert {LATENTS, RANDOM, RERANKING, "class mean", "probe", "neurons"} <= set(rows)
    assert found["verdict"].startswith("The latents' curve (area 0.")


def test_what_is_said_is_what_the_steered_model_does(opened, comedy, tuned):
    """Share and NDCG again, from the recommender's own scores under the interventions."""
    work = opened
    test = work.heldout
    before = outcome(test, _scored(planted(), test), 0.0, comedy.counted)
    with steer(planted(), work.sae, tuned.steering.interventions):
        after = outcome(test, _scored(planted(), test), 0.0, comedy.counted)
    assert before.mean_share == pytest.approx(tuned.found["before"])
    assert after.mean_share == pytest.approx(tuned.found["after"], abs=1e-3)
    kept = after.ndcg.sum() / before.ndcg.sum()
    assert kept == pytest.approx(tuned.found["NDCG@10 kept"][0], abs=2e-3)


def _scored(recommender, cases):
    histories, length = recommender.sequences(), recommender.max_length
    ends = cases.position.astype(np.int64) + 1
    rows = cases.sequence.astype(np.int64)

    def scores(part, strength):
        batch = histories.batch(rows[part], np.maximum(0, ends[part] - length), ends[part], length)
        return recommender.score(batch)

    return Steered("the model", scores)


def test_what_is_unlearned_leaks_less_for_more_loss(opened):
    """And what is told at a loss is what the steered model does at that strength."""
    work = opened
    goal = goal_of(work, (), (), ("Comedy",))
    found = tune(opened, goal, 0.05).found
    rows = found["strengths"]
    assert [row["allowed loss"] for row in rows] == [0.0, *BUDGETS]
    shares = [row["share of the top 10"] for row in rows]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.8 * shares[0]
    assert rows[0]["share of the top 10"] == pytest.approx(found["before"])
    assert all(0 <= row["lists with any"] <= 1 for row in rows)
    assert rows[0]["lists with any"] > rows[-1]["lists with any"]
    test = work.heldout
    told = test.take(np.flatnonzero(~goal.items[test.targets]))  # the others lose nothing
    path = tune(opened, goal, 0.05, compare=False).steering.interventions
    kept = [outcome(told, _scored(planted(), told), 0.0, goal.counted).ndcg.sum()]
    with steer(planted(), work.sae, path):
        kept.append(outcome(told, _scored(planted(), told), 0.0, goal.counted).ndcg.sum())
    assert kept[1] / kept[0] == pytest.approx(found["NDCG@10 kept"][0], abs=2e-3)
    assert "filter" in found["verdict"]


def test_side_effects_are_of_other_values_those_that_move_most_first(tuned):
    rows = tuned.found["side effects"]
    assert rows
    assert all("Comedy" not in row["value"] for row in rows)
    moved = [abs(row["after"] - row["before"]) for row in rows]
    assert moved == sorted(moved, reverse=True)


def test_for_some_users(opened, comedy):
    work = opened
    held = np.flatnonzero(work.heldout_users)[:12]
    found = tune(opened, comedy, 0.05, users=held, compare=False).found
    assert found["held-out users"] == len(
        np.unique(work.heldout.sequence[np.isin(work.heldout.sequence, held)])
    )
    assert "ways" not in found
    with pytest.raises(NotEnoughData, match="None of these users was held out"):
        tune(opened, comedy, 0.05, users=np.flatnonzero(~work.heldout_users)[:3])


def test_where_a_little_costs_a_lot_at_once_nothing_is_done(opened, comedy):
    """Any strength at all turns lists round; a gentle way is followed up to the loss."""
    cases = opened.construction
    plain = _scored(planted(), cases)

    def turned(part, strength):
        return plain.scores(part, 0.0) * (-1 if strength else 1)

    jump = Steered("jump", turned, 10.0)
    assert _refined(0.3, cases, jump, 0.05, comedy.counted) == 0.0
    shift = torch.from_numpy(comedy.weights)
    gentle = Steered("gentle", lambda part, s: plain.scores(part, 0.0) + s * shift, 10.0)
    found = _refined(1.0, cases, gentle, 0.05, comedy.counted)
    kept = curve(cases, gentle, [0.0, found], comedy.counted)[1].kept
    assert 0.8 <= found <= 1.25
    assert kept >= 1 - 1.2 * 0.05


def test_where_there_is_no_head_the_model_is_run(opened, comedy, tuned):
    """This model has one, so what is reached must come out alike, with a path from fewer cases."""
    work = opened
    other = Workspace(work.run, planted(), finished=True)
    other.__dict__["head"] = None
    ran = tune(other, comedy, 0.05, n_latents=6)
    assert ran.found["before"] == pytest.approx(tuned.found["before"])
    assert ran.found["after"] == pytest.approx(tuned.found["after"], rel=0.1)
    areas = [{row["way"]: row["area"] for row in x["ways"]} for x in (ran.found, tuned.found)]
    assert areas[0].keys() == areas[1].keys()
    assert areas[0][LATENTS] > areas[0][RANDOM] + 0.02


def test_a_goal_without_items(opened):
    none = Goal("nothing", np.zeros(241, np.float32), np.zeros(planted().catalog.n_items, bool))
    with pytest.raises(InvalidInput, match="No item that can be recommended is one of 'nothing'"):
        tune(opened, none, 0.05)


def test_interventions_are_named_after_the_goal(tuned):
    first = tuned.steering.interventions[0]
    assert isinstance(first, Intervention)
    assert first.name == "more Comedy (6 latents)"


def test_popular_items_come_up_less(opened):
    work = opened
    counts = popularity_of(work.construction)
    goal = popularity_goal(counts, planted().catalog.recommendable, more=False)
    found = tune(opened, goal, 0.05, compare=False).found
    rows = {row["measure"]: row for row in found["popularity"]}
    average = rows["average popularity"]
    assert average["after"] < average["before"]
    assert rows["long tail: share of lists"]["after"] > rows["long tail: share of lists"]["before"]
    assert found["after"] == pytest.approx(average["after"])
    assert found["quantity"] == "average popularity of the top 10"
