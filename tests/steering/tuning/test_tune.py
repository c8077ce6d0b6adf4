"""Tuning on a run of planted genres: the effect, and that results are what the model does."""

import json

import numpy as np
import pytest
import torch

from helpers.runs import planted, planted_open
from recsae.core.errors import InvalidInput, NotEnoughData
from recsae.core.files import plain
from recsae.run.workspace import Workspace
from recsae.sae.editing import Intervention
from recsae.steering.context import steer
from recsae.steering.frontier import BUDGETS, Steered, curve, outcome
from recsae.steering.tuning.baselines import LATENTS, RANDOM, RERANKING
from recsae.steering.tuning.goals import Goal, goal_of
from recsae.steering.tuning.popularity import popularity_goal, popularity_of
from recsae.steering.tuning.results import TuningResult
from recsae.steering.tuning.tune import _refined, tune

pytestmark = pytest.mark.end_to_end


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
    effect = tuned.result.effect
    assert effect.after > 1.2 * effect.before
    assert effect.ratio[1] > 1.1  # also the lower end
    assert effect.ndcg_kept[2] > 0.95
    rows = {row.method: row for row in tuned.result.methods}
    assert rows[LATENTS].area > rows[RANDOM].area + 0.02
    assert {LATENTS, RANDOM, RERANKING, "class mean", "probe", "neurons"} <= set(rows)
    assert tuned.result.verdict.startswith("The latents' curve (area 0.")


def test_a_result_reads_back_as_it_was_written(tuned):
    record = plain(tuned.result.to_dict())
    assert list(record)[:4] == ["goal", "quantity", "allowed loss", "strength"]
    again = TuningResult.from_dict(json.loads(json.dumps(record, sort_keys=True)))
    assert plain(again.to_dict()) == record


def test_what_is_said_is_what_the_steered_model_does(opened, comedy, tuned):
    """Share and NDCG again, from the recommender's own scores under the interventions."""
    work = opened
    test = work.heldout
    before = outcome(test, _scored(planted(), test), 0.0, comedy.counted)
    with steer(planted(), work.sae, tuned.steering.interventions):
        after = outcome(test, _scored(planted(), test), 0.0, comedy.counted)
    assert before.mean_share == pytest.approx(tuned.result.effect.before)
    assert after.mean_share == pytest.approx(tuned.result.effect.after, abs=1e-3)
    kept = after.ndcg.sum() / before.ndcg.sum()
    assert kept == pytest.approx(tuned.result.effect.ndcg_kept[0], abs=2e-3)


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
    result = tune(opened, goal, 0.05).result
    rows = result.at_losses
    assert result.quantity == "share of the top 10"
    assert [row.allowed_loss for row in rows] == [0.0, *BUDGETS]
    shares = [row.value for row in rows]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.8 * shares[0]
    assert rows[0].value == pytest.approx(result.effect.before)
    assert all(0 <= row.lists_with_any <= 1 for row in rows)
    assert rows[0].lists_with_any > rows[-1].lists_with_any
    test = work.heldout
    counted = test.take(np.flatnonzero(~goal.items[test.targets]))  # the others lose nothing
    path = tune(opened, goal, 0.05, compare=False).steering.interventions
    kept = [outcome(counted, _scored(planted(), counted), 0.0, goal.counted).ndcg.sum()]
    with steer(planted(), work.sae, path):
        kept.append(outcome(counted, _scored(planted(), counted), 0.0, goal.counted).ndcg.sum())
    assert kept[1] / kept[0] == pytest.approx(result.effect.ndcg_kept[0], abs=2e-3)
    assert "filter" in result.verdict


def test_side_effects_are_of_other_values_those_that_move_most_first(tuned):
    rows = tuned.result.side_effects
    assert rows
    assert all("Comedy" not in row.value for row in rows)
    moved = [abs(row.after - row.before) for row in rows]
    assert moved == sorted(moved, reverse=True)


def test_for_some_users(opened, comedy):
    work = opened
    held = np.flatnonzero(work.heldout_users)[:12]
    result = tune(opened, comedy, 0.05, users=held, compare=False).result
    assert result.effect.n_users == len(
        np.unique(work.heldout.sequence[np.isin(work.heldout.sequence, held)])
    )
    assert result.methods == ()
    assert "ways" not in result.to_dict()
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
    refined = _refined(1.0, cases, gentle, 0.05, comedy.counted)
    kept = curve(cases, gentle, [0.0, refined], comedy.counted)[1].kept
    assert 0.8 <= refined <= 1.25
    assert kept >= 1 - 1.2 * 0.05


def test_where_there_is_no_head_the_model_is_run(opened, comedy, tuned):
    """This model has one, so what is reached must come out alike, with a path from fewer cases."""
    work = opened
    other = Workspace(work.run, planted(), finished=True)
    other.__dict__["head"] = None
    ran = tune(other, comedy, 0.05, n_latents=6)
    assert ran.result.effect.before == pytest.approx(tuned.result.effect.before)
    assert ran.result.effect.after == pytest.approx(tuned.result.effect.after, rel=0.1)
    areas = [{row.method: row.area for row in x.result.methods} for x in (ran, tuned)]
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
    result = tune(opened, goal, 0.05, compare=False).result
    rows = {row.measure: row for row in result.popularity}
    average = rows["average popularity"]
    assert average.after < average.before
    assert rows["long tail: share of lists"].after > rows["long tail: share of lists"].before
    assert result.effect.after == pytest.approx(average.after)
    assert result.quantity == "average popularity of the top 10"
