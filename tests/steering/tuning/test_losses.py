"""What a strength costs: expected and measured losses, by hand."""

import numpy as np
import pytest
import torch

from helpers.two_directions import cases, table
from recsae.sae.config import make_config
from recsae.sae.model import SAE
from recsae.steering.frontier import Counted, Outcome, Point
from recsae.steering.steered_scores import HeadScorer, RunningScores
from recsae.steering.steps.pools import CalibratedP
from recsae.steering.tuning.losses import Expectation, steadied

COUNTED = Counted(np.zeros(41))


def expectation(counted=COUNTED, better=None):
    scorer = HeadScorer(cases(), SAE(make_config(n_latents=12, k=3), 3).eval(), table())
    return Expectation.of(scorer, 0.7, counted, better)


def test_the_expected_ndcg_is_that_of_the_softmax_over_what_can_be_recommended():
    scores = (
        table()
        .score(torch.from_numpy(cases().states))
        .index_fill(1, torch.tensor([0]), float("-inf"))
    )
    p = torch.softmax(scores / 0.7, 1).numpy()
    lists = np.tile(np.array([5, 30, 7, 0], dtype=np.int32), (300, 1))  # the last place is empty
    found = expectation().ndcg(lists, by_own=True)
    by_hand = p[:, 5] + p[:, 30] / np.log2(3) + p[:, 7] / 2
    assert found == pytest.approx(by_hand, rel=1e-5)
    never = np.arange(41) == 30
    without = expectation(Counted(np.zeros(41), never)).ndcg(lists, by_own=True)
    assert without == pytest.approx(p[:, 5] + p[:, 7] / 2, rel=1e-5)


def test_better_probabilities_expect_what_lists_by_them_go_by(monkeypatch):
    """Where few items are told apart by their places, later ones stand at the next place."""
    better = CalibratedP(1.3, -0.4, 0.1 * torch.arange(41.0))
    scores = (
        table()
        .score(torch.from_numpy(cases().states))
        .index_fill(1, torch.tensor([0]), float("-inf"))
    )
    log_p = torch.log_softmax(scores / 0.7, 1)
    in_order = log_p.sort(dim=1, descending=True)
    lists = np.tile(np.array([5, 30, 7], dtype=np.int32), (300, 1))
    discounts = 1 / np.log2([2, 3, 4])
    own = better.of(in_order.values, in_order.indices)
    p = torch.empty_like(own).scatter(1, in_order.indices, own).numpy()
    found = expectation(better=better).ndcg(lists, by_own=False)
    assert found == pytest.approx(p[:, [5, 30, 7]] @ discounts, rel=1e-4)
    monkeypatch.setattr("recsae.steering.tuning.losses.N_PLACES", 20)
    first = log_p.topk(20)
    own = better.of(first.values, first.indices)
    few = expectation(better=better).ndcg(lists, by_own=False)
    for n in range(50):
        rank = {item: place for place, item in enumerate(first.indices[n].tolist())}
        expected = 0.0
        for item, discount in zip((5, 30, 7), discounts, strict=True):
            place = rank.get(item, 20)
            free = float(1.3 * log_p[n, item] - 0.4 * np.log(place + 1) + 0.1 * item)
            best = int(first.indices[n, 0])
            scale = float(1.3 * log_p[n, best] + 0.1 * best) - float(own[n, 0].log())
            expected += np.exp(free - scale) * discount
        assert few[n] == pytest.approx(expected, rel=1e-2)


def test_no_list_is_expected_to_do_better_than_the_unsteered_one():
    best = table().score(torch.from_numpy(cases().states))[:, 1:].topk(10).indices.numpy() + 1
    shuffled = np.random.default_rng(0).permuted(best, axis=1)
    of_best, of_shuffled = (
        expectation().ndcg(lists.astype(np.int32), by_own=True) for lists in (best, shuffled)
    )
    least = of_best - of_shuffled
    assert least.min() >= -1e-9
    assert least.max() > 0.01


def test_where_the_model_must_be_run_nothing_is_expected():
    assert Expectation.of(RunningScores(cases(), None, None, ""), 1.0, COUNTED) is None


def points(kept, expected):
    return [
        Point(s, k, 0.1 * s, None, e) for s, (k, e) in enumerate(zip(kept, expected, strict=True))
    ]


def test_losses_are_the_expected_ones_times_their_ratio_up_to_four_times_what_is_allowed():
    """1.2 and 3 % lost where 1 and 2 % are expected: a ratio of 1.4. The last point, at which 6 %
    is expected, has no part in it."""
    found = steadied(points([1.0, 0.988, 0.97, 0.80], [1.0, 0.99, 0.98, 0.94]), 0.01)
    assert [point.kept for point in found] == pytest.approx([1.0, 0.986, 0.972, 0.916])
    assert [point.share for point in found] == pytest.approx([0.0, 0.1, 0.2, 0.3])


def of_users(lost):
    """An outcome of users with an NDCG@10 of 1 each, less what they lost."""
    ones = np.ones(len(lost))
    return Outcome(ones - lost, ones, ones, ones, np.zeros(1, dtype=np.int64))


def test_a_ratio_that_is_known_badly_is_drawn_to_1():
    """1 % is expected and 2 % lost. If all users lose alike it is surely twice as much; if ten of a
    hundred lose 20 %, the standard error is .6 points: 1.2 where the ratio spreads by .5, whose
    square is 1.44 to 1 for what was expected: (2 + 1.44) / 2.44 = 1.41."""
    for lost, ratio in (
        (np.full(100, 0.02), 2.0),
        (np.repeat([0.2, 0.0], [10, 90]), 1.41),
    ):
        after, before = of_users(lost), of_users(np.zeros(100))
        given = [
            Point(0, 1.0, 0.0, None, 1.0, before),
            Point(1, 0.98, 0.1, None, 0.99, after),
        ]
        found = steadied(given, 0.01)
        assert 1 - found[1].kept == pytest.approx(ratio * 0.01, rel=1e-3)


def test_losses_are_taken_from_lists_without_a_gain():
    """Better probabilities keep 101 % where 100.2 % is expected, and lose 1.2 and 3 points from
    there where 1 and 2 are expected: a ratio of 1.4."""
    given = points([1.01, 0.998, 0.98], [1.002, 0.992, 0.982])
    assert [point.kept for point in steadied(given, 0.01)] == pytest.approx([1.01, 0.996, 0.982])


def test_what_is_known_badly_without_a_gain_is_drawn_to_what_is_expected():
    """Ten of a hundred users gain 10 %: 1 % of all, with a standard error of .3 points, which is
    .6 of the .5 that such gains spread by. Where none is expected, 1 / (1 + .6 ** 2) is left."""
    before = of_users(np.zeros(100))
    start = of_users(np.repeat([-0.1, 0.0], [10, 90]))
    noise = ((0.1**2 * 0.1 - 0.01**2) / 100) / 0.005**2
    given = [
        Point(0, 1.01, 0.0, None, 1.0, start),
        Point(1, 1.00, 0.1, None, 0.99, of_users(np.repeat([-0.09, 0.01], [10, 90]))),
    ]
    found = steadied(given, 0.01, before)
    assert noise == pytest.approx(0.6**2)
    assert found[0].kept == pytest.approx(1 + 0.01 / (1 + noise), abs=1e-4)
    assert found[0].kept - found[1].kept == pytest.approx(0.01, rel=1e-2)


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        ([1.0, 1.01, 1.02], [1.0, 0.99, 0.98]),  # NDCG rises where a loss is expected
        ([1.0, 0.9, 0.8], [1.0, 0.99, 0.98]),  # ten times the loss that is expected
        ([1.0, 0.98], [1.0, 0.9]),  # nothing is expected near what is allowed
        ([1.0, 0.98], [None, None]),
    ],
)
def test_else_losses_are_those_that_were_measured(kept, expected):
    given = points(kept, expected)
    assert steadied(given, 0.01) == given
