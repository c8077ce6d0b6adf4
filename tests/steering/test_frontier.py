"""What is reached at what cost, on two users whose lists are worked out by hand."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.frontier_cases import BASE, CASES, LAST, RANK_2, N, raised, scored
from recsae.steering.frontier import (
    Counted,
    Point,
    area,
    collateral,
    compared,
    curve,
    outcome,
    share_at,
    strength_at,
    strength_within,
    up_to,
)


def test_outcomes_by_hand():
    before, after = (outcome(CASES, raised(), s, LAST) for s in (0.0, 2.0))
    np.testing.assert_allclose(before.ndcg, [1 + RANK_2, 0])
    np.testing.assert_array_equal(before.share, [0, 0])
    np.testing.assert_array_equal(before.n, [2, 1])
    assert before.counts.tolist() == [0, *[3] * 10, 0, 0]
    # item 12 has 4 now, beside items 9 (4) and 10 (3): in the list of everybody, tenth or ninth
    np.testing.assert_allclose(after.share, [0.2, 0.1])
    assert after.mean_share == pytest.approx(0.1)
    assert after.ndcg[1] > 0
    assert (before.lists_with_any, after.lists_with_any) == (0, 1)
    ratio = compared(after, before)
    assert ratio.ndcg_kept[0] == pytest.approx((1 + RANK_2 + after.ndcg[1]) / (1 + RANK_2))


def test_going_on_to_what_is_unlearned_counts_for_nothing():
    """Without item 1 as a target of the first case, only that of the second case is left."""
    unlearned = np.arange(N + 1) == 1
    no_more = Counted(unlearned.astype(float), unlearned)
    found = outcome(CASES, raised(), 0.0, no_more)
    np.testing.assert_allclose(found.ndcg, [RANK_2, 0])
    np.testing.assert_allclose(found.share, [0.2, 0.1])
    only = CASES.take(np.array([0, 1]))
    lower = scored(
        "lower", lambda part, s: BASE[part] - s * torch.from_numpy(unlearned) * 1.0, only
    )
    # items 1 and 2 may change places, as each is asked for once; below item 3 item 1 loses
    assert strength_within(only, lower, 0.01, LAST) == pytest.approx(2.0, rel=0.05)
    enough = strength_within(only, lower, 0.01, no_more)  # no list changes from there on
    assert outcome(only, lower, enough, no_more).mean_share == 0
    assert enough < 100


def test_the_largest_strength_within_a_loss():
    """Item 12 passes item 2 at 10 / 1.5, which costs 8 %, and item 1 at 11 / 1.5: 31 %."""
    only = CASES.take(np.array([0, 1]))
    assert strength_within(only, raised(cases=only), 0.05, LAST) == pytest.approx(
        10 / 1.5, rel=0.01
    )
    assert strength_within(only, raised(cases=only), 0.3, LAST) == pytest.approx(11 / 1.5, rel=0.01)
    assert strength_within(only, raised(max_strength=3.0, cases=only), 0.3, LAST) == 3.0
    turned = scored("no", lambda part, s: -BASE[part] * (s > 0), only)
    assert strength_within(only, turned, 0.3, LAST) == 0


def test_hidden_histories_do_not_come_up():
    hiding = replace(CASES, filters_seen=True)
    lists = outcome(hiding, raised(cases=hiding), 0.0, LAST)
    assert lists.counts[1] == 0  # toy histories are of item 1 alone


def test_a_curve_goes_from_nothing_to_far():
    before = outcome(CASES, raised(), 0.0, LAST)
    points = curve(CASES, raised(), up_to(4.0), LAST, before)
    assert (points[0].strength, points[-1].strength) == (0.0, 4.0)
    assert (points[0].kept, points[0].share) == (1.0, 0.0)
    assert points[-1].share == pytest.approx(0.1)


POINTS = [
    Point(0, 1.0, 0.1, np.array([0, 9, 1])),
    Point(1, 0.98, 0.3, np.array([0, 7, 3])),
    Point(2, 0.9, 0.5, np.array([0, 5, 5])),
]


@pytest.mark.parametrize(
    ("loss", "share"), [(0.0, 0.1), (0.01, 0.2), (0.02, 0.3), (0.06, 0.4), (0.1, 0.5), (0.5, 0.5)]
)
def test_shares_at_a_loss(loss, share):
    assert share_at(POINTS, loss, 0.1) == pytest.approx(share)


@pytest.mark.parametrize(
    ("loss", "strength"), [(0.0, 0.0), (0.01, 0.5), (0.02, 1.0), (0.06, 1.5), (0.1, 2), (0.5, 2)]
)
def test_strengths_at_a_loss(loss, strength):
    assert strength_at(POINTS, loss) == pytest.approx(strength)
    assert strength_at([POINTS[0]._replace(kept=0.99), *POINTS[1:]], 0.005) == 0.0
    rising = [Point(0, 0.95, 0.1, None), Point(1, 0.96, 0.1, None), Point(2, 0.9, 0.1, None)]
    assert strength_at(rising, 0.01) == 0.0  # too much from the beginning


def test_less_is_better_where_less_is_wanted():
    down = [Point(0, 1.0, 0.5, None), Point(1, 0.98, 0.3, None)]
    assert share_at(down, 0.01, 0.5, more=False) == pytest.approx(0.4)
    assert area(down, 0.5, more=False) > 0
    assert share_at(down, 0.02, 0.5) == 0.5  # who wants more does not steer


def test_the_area_is_the_mean_gain_over_losses():
    """0 to 2 %: mean .1 above; 2 to 10 %: .3 above. Together .26, up to the grid."""
    assert area(POINTS, 0.1) == pytest.approx(0.2 * 0.1 + 0.8 * 0.3, abs=0.01)
    assert area(POINTS[:1], 0.1) == pytest.approx(0)


@given(
    st.lists(st.tuples(st.floats(0.5, 1.2), st.floats(0, 1)), min_size=1, max_size=8),
    st.floats(0, 1),
)
def test_more_loss_never_reaches_less(pairs, base):
    points = [Point(i, kept, share, None) for i, (kept, share) in enumerate(pairs)]
    shares = [share_at(points, loss, base) for loss in np.linspace(0, 0.5, 11)]
    assert shares[0] >= base
    assert all(a <= b + 1e-9 for a, b in pairwise(shares))
    assert area(points, base) >= -1e-9


def test_collateral_is_how_far_others_move():
    before = outcome(CASES, raised(), 0.0, LAST)._replace(counts=POINTS[0].counts)
    values = np.array([[0.0], [0], [1]])  # item 2 has it: .1 of the lists, .3 at a loss of 2 %
    assert collateral(POINTS, before, values, 0.05) == pytest.approx(0.2)
    assert np.isnan(collateral(POINTS, before, values[:, :0], 0.05))
