"""What steering costs groups of users: by hand, planted, and where nothing is uneven."""

import numpy as np
import pytest

from recsae.steering.fairness.groups import Divided, Division, Group
from recsae.steering.fairness.measure import CHANCE, _pairs, effects_of
from recsae.steering.frontier import Outcome


def outcome(ndcg, share=None, n=None):
    ndcg = np.asarray(ndcg, dtype=float)
    ones = np.ones(len(ndcg))
    share = ones if share is None else np.asarray(share, dtype=float)
    return Outcome(ndcg, share, ones, ones if n is None else np.asarray(n, float), np.zeros(1, int))


def halves(n, by="gender"):
    first = np.arange(n) < n // 2
    return Division(by, (Group("F", first), Group("M", ~first)))


def test_figures_by_hand():
    """Two users each; the women lose 0.8 of 2 with residuals of 0.1, the men nothing."""
    before = outcome([1, 1, 1, 1], share=[0.2, 0.6, 0, 0], n=[1, 3, 2, 2])
    after = outcome([0.5, 0.7, 1, 1], share=[0.4, 1.2, 1, 1], n=[1, 3, 2, 2])
    effects = effects_of(Divided((halves(4),), {"zip": "why"}), before, after, "share of X")
    women, men = effects.rows
    assert (women.by, women.value, women.n_users) == ("gender", "F", 2)
    assert women.ndcg_before == pytest.approx(2 / 4)
    half = 1.959964 * np.sqrt(2 * (0.05**2 + 0.05**2))
    assert women.ndcg_kept == pytest.approx((0.6, 0.6 - half, 0.6 + half))
    assert (women.before, women.after) == pytest.approx((0.8 / 4, 1.6 / 4))
    assert women.ratio == pytest.approx((2, 2, 2))
    assert men.ndcg_kept == (1, 1, 1)
    assert (men.before, men.after, men.ratio) == (0, 0.5, None)
    assert effects.n_compared == 1
    assert effects.margin == pytest.approx(12.7062 * 0.1, rel=1e-4)  # t of one degree of freedom
    assert effects.warnings == ()  # which no two users can show
    assert effects.left_out == {"zip": "why"}


def test_without_a_quantity():
    same = outcome([1, 1, 1, 1])
    effects = effects_of(Divided((halves(4),), {}), same, same, None)
    assert [row.before for row in effects.rows] == [None, None]
    assert [row.ratio for row in effects.rows] == [None, None]


def lost(rng, parts):
    """NDCG before and after, of users who lose such parts of theirs on average."""
    before = rng.lognormal(0, 0.5, len(parts))
    return outcome(before), outcome(before * (1 - parts + rng.normal(0, 0.1, len(parts))))


def test_a_group_that_loses_several_times_what_another_does_is_warned_of():
    rng = np.random.default_rng(0)
    parts = np.where(np.arange(600) < 300, 0.12, 0.02)
    (said,) = effects_of(Divided((halves(600),), {}), *lost(rng, parts), None).warnings
    assert said.startswith("Uneven by gender: women lose 1")
    assert ", men lose 2." in said
    assert said.count("% of NDCG@10 (") == 2


def test_a_group_that_loses_and_one_that_gains():
    rng = np.random.default_rng(0)
    parts = np.where(np.arange(600) < 300, -0.05, 0.05)
    (said,) = effects_of(Divided((halves(600),), {}), *lost(rng, parts), None).warnings
    assert said.startswith("Uneven by gender: men lose ")
    assert ", women gain " in said


@pytest.mark.parametrize(
    ("first", "second"),
    [(0.06, 0.06), (0.06, 0.03), (-0.06, -0.02), (0.0, -0.06)],
    ids=["alike", "twice", "both gain", "nothing lost"],
)
def test_no_warning_where_nobody_loses_several_times_as_much(first, second):
    rng = np.random.default_rng(1)
    parts = np.where(np.arange(2000) < 1000, first, second)
    parts[:1000] -= 0.001 * (first == 0)
    assert effects_of(Divided((halves(2000),), {}), *lost(rng, parts), None).warnings == ()


def test_few_users_are_not_enough():
    """The same losses as are warned of with 600 users."""
    rng = np.random.default_rng(0)
    parts = np.where(np.arange(8) < 4, 0.12, 0.02)
    assert effects_of(Divided((halves(8),), {}), *lost(rng, parts), None).warnings == ()


@pytest.mark.parametrize(("spread", "n_warnings"), [(0.02, 1), (0.08, 0)])
def test_it_must_be_surely_more_than_twice_as_much(spread, n_warnings):
    """Losses of 3 % and 0.8 %, whose difference is surely not 0 either way."""
    user = np.arange(400)
    sign = np.where(user % 2, 1, -1)
    parts = np.where(user < 200, 0.03 + 0.02 * sign, 0.008 + spread * sign)
    before, after = outcome(np.ones(400)), outcome(1 - parts)
    division = halves(400)
    (pair,) = _pairs(division, before, after, CHANCE)
    assert pair.difference[0] == pytest.approx(0.022)
    assert pair.difference[1] > 0
    assert pair.beyond[0] == pytest.approx(0.03 - 2 * 0.008)
    assert (pair.beyond[1] > 0) == n_warnings
    assert len(effects_of(Divided((division,), {}), before, after, None).warnings) == n_warnings


def test_two_and_a_half_times_as_much_is_not_several():
    user = np.arange(400)
    parts = np.where(user < 200, 0.025, 0.01) + np.where(user % 2, 1e-4, -1e-4)
    before, after = outcome(np.ones(400)), outcome(1 - parts)
    (pair,) = _pairs(halves(400), before, after, CHANCE)
    assert pair.beyond[1] > 0
    assert effects_of(Divided((halves(400),), {}), before, after, None).warnings == ()


def test_one_sentence_for_each_division_on_the_pair_that_differs_most_surely():
    rng = np.random.default_rng(0)
    user = np.arange(900)
    parts = np.select([user < 300, user < 600], [0.01, 0.08], 0.16)
    groups = tuple(Group(name, user // 300 == n) for n, name in enumerate(("20s", "30s", "40s")))
    divisions = (Division("age", groups), halves(900, "sex"))
    effects = effects_of(Divided(divisions, {}), *lost(rng, parts), None)
    assert effects.n_compared == 4
    age, sex = effects.warnings
    assert age.startswith("Uneven by age: users in their 40s lose 1")
    assert "users in their 20s lose " in age
    assert sex.startswith("Uneven by sex: men lose ")


def test_groups_without_a_hit_are_left_out():
    before = outcome([0, 0, 1, 1])
    effects = effects_of(Divided((halves(4),), {}), before, before, None)
    assert [row.value for row in effects.rows] == ["M"]
    assert effects.n_compared == 0
    assert effects.margin is None


def test_groups_that_differ_in_nothing_are_rarely_told_apart():
    """Of 400 steerings of two divisions with 29 pairs at most one in twenty has any that seems to
    differ, and fewer are warned of."""
    rng = np.random.default_rng(0)
    n_told, n_warned = 0, 0
    for _ in range(400):
        divisions = tuple(
            Division(by, tuple(Group(str(k), group == k) for k in range(n)))
            for by, n in (("a", 8), ("b", 2))
            for group in [rng.integers(0, n, 400)]
        )
        before, after = lost(rng, np.full(400, 0.004))
        pairs = [pair for one in divisions for pair in _pairs(one, before, after, CHANCE / 2)]
        n_told += any(pair.difference[1] > 0 for pair in pairs)
        n_warned += bool(effects_of(Divided(divisions, {}), before, after, None).warnings)
    assert len(pairs) == 29
    assert n_warned <= n_told <= 0.05 * 400
