"""Tuning on a run of planted genres: the effect, and that results are what the model does."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from helpers.frontier_cases import Made, scored
from helpers.runs import planted, planted_open
from recsae.core.errors import InvalidInput, NotEnoughData
from recsae.core.files import plain
from recsae.run.workspace import Workspace
from recsae.sae.editing import Intervention
from recsae.steering.context import steer
from recsae.steering.effects import metrics_before_after
from recsae.steering.files import GoalRequest, load_steering, save_steering
from recsae.steering.frontier import BUDGETS, curve, outcome
from recsae.steering.steered_scores import steered_scores_of
from recsae.steering.steps.applied import steered_lists
from recsae.steering.steps.first import FirstItems
from recsae.steering.steps.goals import Goal, goal_of, popularity_of
from recsae.steering.steps.kinds import Filter, ReRanking, Wishes
from recsae.steering.tuning.baselines import LATENTS, RANDOM, RERANKING
from recsae.steering.tuning.results import TuningResult
from recsae.steering.tuning.scored import Scored
from recsae.steering.tuning.tune import _refined, tune

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def opened():
    return planted_open()


@pytest.fixture(scope="module")
def comedy(opened):
    return goal_of(opened, Wishes(more=("Comedy",)))


@pytest.fixture(scope="module")
def tuned(opened, comedy):
    return tune(opened, comedy, 0.05, n_latents=6, method="latents")


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
    assert list(record)[:4] == ["goal", "method", "recommended", "done"]
    again = TuningResult.from_dict(json.loads(json.dumps(record, sort_keys=True)))
    assert plain(again.to_dict()) == record


def test_it_says_what_it_costs_groups_of_users(opened, comedy):
    """A table of users is enough; without one they are divided by what they do."""
    method = {"n_latents": 2, "method": "re-ranking", "compare": False}
    alone = tune(opened, comedy, 0.05, **method).result
    assert "gender" not in alone.groups.divided_by
    assert alone.groups.divided_by
    users = planted().sequences().users
    work = Workspace(opened.run, planted(), finished=True)
    gender = pd.DataFrame({"gender": [("F",), ("M",)] * (len(users) // 2)}, index=list(users))
    work.recommender.user_table = lambda: gender
    try:
        groups = tune(work, comedy, 0.05, **method).result.groups
    finally:
        del work.recommender.user_table
    rows = [row for row in groups.rows if row.by == "gender"]
    assert {row.users for row in rows} == {"women", "men"}
    assert sum(row.n_users for row in rows) == alone.effect.n_users
    low, high = sorted(row.ndcg_kept[0] for row in rows)
    assert low <= alone.effect.ndcg_kept[0] <= high
    assert groups.quantity == "share of the top 10"


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

    return scored("the model", scores, cases)


def test_what_is_unlearned_leaks_less_for_more_loss(opened):
    """And what is told at a loss is what the steered model does at that strength."""
    work = opened
    goal = goal_of(work, Wishes(never=("Comedy",)))
    result = tune(opened, goal, 0.05, method="latents").result
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
    path = tune(opened, goal, 0.05, method="latents", compare=False).steering.steps
    kept = [outcome(counted, _scored(planted(), counted), 0.0, goal.counted).ndcg.sum()]
    with steer(planted(), work.sae, path):
        kept.append(outcome(counted, _scored(planted(), counted), 0.0, goal.counted).ndcg.sum())
    assert kept[1] / kept[0] == pytest.approx(result.effect.ndcg_kept[0], abs=2e-3)
    assert "filter" in result.verdict


def measured_by_itself(work, steering, goal):
    """Share and NDCG as ``recsae steer --with`` has them at held-out positions."""
    request = GoalRequest(**goal.wishes.model_dump(), max_loss=0.05)
    rows = metrics_before_after(work, steering._replace(goal=request)).at_positions
    assert [row.measure for row in rows] == ["share of Comedy in the top 10", "ndcg@10"]
    return rows


def test_the_best_method_is_recommended_kept_and_does_what_is_said(opened, comedy, tmp_path):
    """Read again from its file, it is measured as it was when it was found, to the last digit."""
    tuned = tune(opened, comedy, 0.05, n_latents=6)
    result = tuned.result
    by_method = {one.method: one for one in result.choices}
    assert set(by_method) >= {"latents", "re-ranking", "re-ranking by probability", "class mean"}
    best = max(by_method.values(), key=lambda one: one.on_construction)
    assert result.method == result.recommended == best.method
    assert best.on_construction > by_method["latents"].on_construction
    assert any(isinstance(step, ReRanking) for step in tuned.steering.steps)
    assert result.done == tuple(map(str, tuned.steering.steps))
    path = tmp_path / "kept.json"
    save_steering(tuned.steering, opened.folder, path, run=opened.run)
    share, ndcg = measured_by_itself(opened, load_steering(opened.folder, path), comedy)
    assert (share.before, share.after) == (result.effect.before, result.effect.after)
    assert share.ratio == result.effect.ratio
    assert ndcg.ratio == result.effect.ndcg_kept


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("latents", "latents"),
        ("re-ranking", "re-ranking"),
        ("probability", "re-ranking by probability"),
        ("calibrated-probability", "re-ranking by calibrated probability"),
        ("class-mean", "class mean"),
        ("latents-by-probability", "latents by probability"),
        ("latents+re-ranking", "latents retrieve, then re-ranking by "),
    ],
)
@pytest.mark.parametrize("by_running", [False, True])
def test_a_method_that_is_asked_for(method, name, by_running, opened, comedy):
    """Alone, where no others are compared; without a head, too, lists are those of its steps."""
    work = opened
    if by_running:
        work = Workspace(opened.run, planted(), finished=True)
        work.__dict__["head"] = None
    tuned = tune(work, comedy, 0.05, n_latents=4, method=method, compare=False)
    assert tuned.result.method.startswith(name)
    assert tuned.result.effect.after > tuned.result.effect.before
    lists = steered_lists(work, work.heldout, tuned.steering.steps)
    assert comedy.items[lists].mean() == pytest.approx(tuned.result.effect.after, abs=1e-12)


def test_within_candidates(opened, comedy):
    tuned = tune(
        opened, comedy, 0.05, n_latents=4, method="re-ranking", candidates=12, compare=False
    )
    assert tuned.result.method == "re-ranking within 12"
    (step,) = tuned.steering.steps
    assert step.candidates == 12
    own = steered_lists(opened, opened.heldout, [step.model_copy(update={"candidates": None})])
    within = steered_lists(opened, opened.heldout, tuned.steering.steps)
    assert comedy.items[own].mean() > comedy.items[within].mean()


def test_what_is_never_to_be_recommended_is_filtered(opened):
    tuned = tune(opened, goal_of(opened, Wishes(never=("Comedy",))), 0.05, n_latents=4)
    assert tuned.result.recommended == "filter"
    assert tuned.steering.steps == [Filter(never=("Comedy",))]
    assert tuned.result.effect.after == 0
    latents = next(one for one in tuned.result.choices if one.method == "latents")
    assert latents.effect.after < latents.effect.before


def test_methods_that_a_goal_does_not_have(opened, comedy):
    of_popularity = [
        (name, "--popularity") for name in ("logit-adjustment", "popularity-direction")
    ]
    for method, why in (("filter", "--never"), *of_popularity):
        with pytest.raises(InvalidInput, match=f"There is no {method} for the goal.*{why}"):
            tune(opened, comedy, 0.05, method=method, compare=False)


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
    scorer = steered_scores_of(opened, cases)

    def turned(part, strength):
        return scorer.scores(part) * (-1 if strength else 1)

    jump = scored("jump", turned, cases, 10.0)
    confirming = Scored(scorer, comedy.counted)
    assert _refined(0.3, confirming, Made(jump), 0.05) == 0.0
    shift = torch.from_numpy(comedy.weights)
    gentle = scored("gentle", lambda part, s: scorer.scores(part) + s * shift, cases, 10.0)
    refined = _refined(1.0, confirming, Made(gentle), 0.05)
    kept = curve(cases, gentle, [0.0, refined], comedy.counted)[1].kept
    assert 0.8 <= refined <= 1.25
    assert kept >= 1 - 1.2 * 0.05


@pytest.mark.parametrize("way", ["no first items", "one thread", "four threads"])
def test_a_result_is_the_same_however_it_is_reckoned(opened, comedy, monkeypatch, way):
    expected = tune(opened, comedy, 0.05, n_latents=6).result.to_dict()
    threads = torch.get_num_threads()
    if way == "no first items":
        monkeypatch.setattr(FirstItems, "fit", lambda *_: False)
    else:
        torch.set_num_threads(1 if way == "one thread" else 4)
    try:
        found = tune(opened, comedy, 0.05, n_latents=6).result.to_dict()
    finally:
        torch.set_num_threads(threads)
    assert_close(found, expected)


def assert_close(found, expected):
    """Equal but for numbers, which may differ by rounding."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_close(found[key], value)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-6, nan_ok=True)
    else:
        assert found == expected


def test_where_there_is_no_head_the_model_is_run(opened, comedy, tuned):
    """This model has one, so what is reached must come out alike, with a path from fewer cases."""
    work = opened
    other = Workspace(work.run, planted(), finished=True)
    other.__dict__["head"] = None
    ran = tune(other, comedy, 0.05, n_latents=6, method="latents")
    assert ran.result.effect.before == pytest.approx(tuned.result.effect.before)
    # what is lost is not steadied there, and so may be less sure
    assert ran.result.effect.after > 0.8 * tuned.result.effect.after
    areas = [{row.method: row.area for row in x.result.methods} for x in (ran, tuned)]
    kinds = [{name.partition(" within ")[0] for name in one} for one in areas]
    assert {LATENTS, RANDOM, "reconstruction steering"} <= kinds[0] & kinds[1]
    assert areas[0][LATENTS] > areas[0][RANDOM] + 0.02


def test_a_goal_without_items(opened):
    none = Goal(
        Wishes(more=("nothing",)),
        np.zeros(241, np.float32),
        np.zeros(planted().catalog.n_items, bool),
    )
    with pytest.raises(
        InvalidInput, match="No item that can be recommended is one of 'more nothing'"
    ):
        tune(opened, none, 0.05)


def test_interventions_are_named_after_the_goal(tuned):
    first = tuned.steering.interventions[0]
    assert isinstance(first, Intervention)
    assert first.name == "more Comedy (6 latents)"


def test_popular_items_come_up_less(opened):
    work = opened
    result = tune(work, goal_of(work, Wishes(popularity="-")), 0.05, compare=False).result
    methods = {"logit adjustment", "popularity direction", "re-ranking"}
    assert methods <= {one.method for one in result.choices}
    rows = {row.measure: row for row in result.popularity}
    average = rows["average popularity"]
    assert average.after < average.before
    assert rows["long tail: share of lists"].after > rows["long tail: share of lists"].before
    assert result.effect.after == pytest.approx(average.after)
    assert result.quantity == "average popularity of the top 10"


def test_the_direction_of_popularity_can_be_asked_for_and_kept(opened):
    goal = goal_of(opened, Wishes(popularity="-"))
    tuned = tune(opened, goal, 0.05, method="popularity-direction", compare=False)
    (step,) = tuned.steering.steps
    assert (step.kind, step.name) == ("direction", "popularity direction")
    items = opened.head.items[torch.from_numpy(opened.recommender.catalog.recommendable)]
    added = items @ torch.tensor(step.vector)
    counts = popularity_of(opened.construction)[opened.recommender.catalog.recommendable]
    assert np.corrcoef(added.numpy(), np.log1p(counts))[0, 1] < 0
    assert "One direction of the states carries" in tuned.result.verdict
    lists = steered_lists(opened, opened.heldout, tuned.steering.steps)
    shown = goal.counted.values[lists].mean()
    assert shown == pytest.approx(tuned.result.effect.after)
    assert shown < tuned.result.effect.before
