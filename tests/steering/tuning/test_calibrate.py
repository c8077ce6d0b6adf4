"""Calibration on a run of planted genres: the error falls, and results are what the lists are."""

import json

import numpy as np
import pytest
import torch

from helpers import toy
from helpers.runs import planted_open, with_pieces
from recsae.core.errors import InvalidInput, NotEnoughData
from recsae.core.files import plain
from recsae.steering.calibration.figures import divergence
from recsae.steering.effects import metrics_before_after
from recsae.steering.files import load_steering, save_steering
from recsae.steering.frontier import Point
from recsae.steering.lists import lists_before_after
from recsae.steering.steps.applied import steered_lists
from recsae.steering.steps.targets import item_shares
from recsae.steering.tuning.calibrate import _Tried, asked_calibration, calibrate
from recsae.steering.tuning.request import goal_request

pytestmark = pytest.mark.end_to_end
NOTHING = goal_request((), (), (), None, 0.01)


@pytest.fixture(scope="module")
def work():
    return planted_open()


@pytest.fixture(scope="module")
def found(work):
    return calibrate(work, "genre", 0.05, candidates=60)


def test_the_error_falls_within_the_loss(found):
    result = found.result
    assert result.values == tuple(sorted(result.values))
    assert result.effect.error.ratio[2] < 0.9  # the upper end
    assert result.effect.worst.ratio[0] < 1
    assert result.effect.worst.before > result.effect.error.before
    assert result.effect.ndcg_kept[2] > 0.95
    assert result.effect.quantile_error is None
    assert result.on_construction[result.method] == min(result.on_construction.values())
    assert result.method == result.recommended
    assert {row.method for row in result.at_losses} == {"greedy", "per-user"}
    assert {row.allowed_loss for row in result.at_losses} == {0.005, 0.01, 0.02, 0.05}


def test_more_loss_gives_less_error(found):
    for method in ("greedy", "per-user"):
        rows = [row for row in found.result.at_losses if row.method == method]
        strengths = [row.strength for row in rows]
        assert strengths == sorted(strengths)
        errors = [row.effect.error.after for row in rows]
        assert errors[-1] <= errors[0]


def test_what_is_said_is_what_the_lists_are(work, found):
    """Error and users again, one list after another."""
    cases, shares = work.heldout, item_shares(work, "genre")
    errors = []
    for steps in ([], found.steering.steps):
        lists = torch.from_numpy(steered_lists(work, cases, steps).astype(np.int64))
        histories = [cases.history(row, n=999) for row in range(len(cases))]
        target = torch.cat([shares.of_lists(torch.tensor([one])) for one in histories])
        errors.append(float(divergence(target, shares.of_lists(lists)).mean()))
    effect = found.result.effect
    assert effect.n_users == cases.n_users
    assert effect.n_positions == len(cases)
    assert [effect.error.before, effect.error.after] == pytest.approx(errors, rel=1e-4)


def test_it_is_kept_and_used_again(work, found, tmp_path):
    path = tmp_path / "own.json"
    save_steering(found.steering, work.folder, path)
    again = load_steering(work.folder, path)
    assert again.steps == found.steering.steps
    assert json.loads(path.read_text())["steps"][0]["kind"] == "calibration"
    effect = metrics_before_after(work, again)
    rows = {row.measure: row for row in effect.at_positions}
    mine = rows["calibration error (genre)"]
    assert mine.after == pytest.approx(found.result.effect.error.after, rel=1e-5)
    own = {row.measure: row for row in effect.own_test}["calibration error (genre)"]
    assert own.after < own.before


def test_one_list_is_that_of_everybody(work, found):
    cases = work.heldout.take(np.arange(0, len(work.heldout), 97))
    ids = work.recommender.catalog.external_ids
    for row, expected in enumerate(steered_lists(work, cases, found.steering.steps)):
        history = [ids[i] for i in cases.history(row, n=99)]
        change = lists_before_after(work, found.steering, None, history, mask_seen=False)
        assert [place.after.external_id for place in change.places] == [ids[i] for i in expected]


def test_popularity_has_an_error_of_quantiles_too(work):
    found = calibrate(work, "popularity", 0.05, method="per-user", compare=False)
    result = found.result
    assert list(result.on_construction) == ["per-user"]
    assert [row.allowed_loss for row in result.at_losses] == [0.05]
    assert result.effect.error.after < result.effect.error.before
    assert 0 < result.effect.quantile_error.before < 1
    record = plain(result.to_dict())
    assert record["calibrated by"] == "popularity"
    assert record["quantile error"]["before"] == result.effect.quantile_error.before
    assert json.loads(json.dumps(record)) == record


def test_a_method_that_is_asked_for_is_used(work, found):
    other = next(name for name in ("greedy", "per-user") if name != found.result.method)
    result = calibrate(work, "genre", 0.05, method=other, candidates=60).result
    assert result.method == other
    assert result.recommended == found.result.method
    assert other in result.done.replace(
        "by a strength for each user", "per-user"
    ) or "greedily" in (result.done)


def test_there_may_be_nothing_to_calibrate(work):
    """Every item has both values."""
    both = toy.sparse([[0, 0], *[[1, 1]] * 240])
    attributes = type(work.attributes)(both, (("side", "left"), ("side", "right")))
    with pytest.raises(NotEnoughData, match="There is nothing to calibrate"):
        calibrate(with_pieces(work, attributes=attributes), "side", 0.05)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"request": goal_request(("A",), (), (), None, 0.1)}, "cannot go with 'more A'"),
        ({"request": goal_request((), (), (), "-", 0.1)}, "cannot go with 'less popular items'"),
        ({"method": "gredy"}, "no method 'gredy' of calibration.*Did you mean 'greedy'"),
        ({"method": "latents"}, "no method 'latents'"),
        ({"candidates": 9}, "Among 9 candidates"),
        ({"chosen": True}, "leave users and cohort out"),
    ],
)
def test_what_cannot_be_asked_for(asked, message):
    whole = {"attribute": "genre", "request": NOTHING, "method": None, "candidates": None} | asked
    with pytest.raises(InvalidInput, match=message):
        asked_calibration(**whole)


def test_the_strength_is_the_best_one_within_the_loss():
    """A loss of 1 % is lost at a strength of 3, but at 2 the error is smaller."""
    points = [Point(s, kept, error, None) for s, kept, error in BEYOND]
    assert _Tried(None, points).best_within(0.01) == (2.0, 0.2)
    assert _Tried(None, points).best_within(0.0025) == pytest.approx((1.5, 0.35))
    assert _Tried(None, points[:1]).best_within(0.01) == (0.0, 1.0)


BEYOND = [(0.0, 1.0, 1.0), (1.0, 1.0, 0.5), (2.0, 0.995, 0.2), (4.0, 0.985, 0.8)]
