"""Bounds that treat users as the unit: by hand, and by how often they hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from recsae.concepts.status import MIN_POSITIVES, MIN_USERS
from recsae.core.intervals import (
    UserEstimate,
    balanced_accuracy_bound,
    joined_estimate,
    paired_ratio,
    precision_bound,
    rate_bound,
    ratio_difference,
    ratio_estimate,
)


def bound(hits_pos, n_pos, hits_neg, n_neg) -> tuple[float, float]:
    columns = [np.array(c, dtype=float)[:, None] for c in (hits_pos, n_pos, hits_neg, n_neg)]
    accuracy, low = balanced_accuracy_bound(*columns)
    return float(accuracy[0]), float(low[0])


def wilson(rate: float, n: int) -> float:
    """Lower bound as Wilson (1927) gives it, of n users with one case each."""
    z = t.ppf(0.95, n - 1)
    half = z * (rate * (1 - rate) / n + z**2 / (4 * n**2)) ** 0.5
    return (rate + z**2 / (2 * n) - half) / (1 + z**2 / n)


def test_perfect_by_hand():
    # Both rates are 1, worth as many cases as there are users: 16, not 160. Student's quantile at
    # 15 degrees is z = 1.753, Wilson's bound 1 / (1 + z^2 / 16) = .839, and half of sqrt(2) times
    # the gap of .161 is .114.
    accuracy, low = bound([10] * 16, [10] * 16, [10] * 16, [10] * 16)
    assert accuracy == 1
    assert low == pytest.approx(0.886, abs=0.001)


def test_independent_cases_count_as_cases():
    """One case per user and both kinds in different users: two Wilson bounds, joined by MOVER."""
    hits_pos = [1] * 90 + [0] * 10 + [0] * 200
    n_pos = [1] * 100 + [0] * 200
    hits_neg = [0] * 100 + [1] * 140 + [0] * 60
    n_neg = [0] * 100 + [1] * 200
    accuracy, low = bound(hits_pos, n_pos, hits_neg, n_neg)
    assert accuracy == pytest.approx((0.9 + 0.7) / 2)
    gaps = 0.9 - wilson(0.9, 100), 0.7 - wilson(0.7, 200)
    assert low == pytest.approx(0.8 - np.hypot(*gaps) / 2, abs=0.001)


def test_users_whose_positions_are_alike_count_once():
    """Ten positions per user that are all right or all wrong say no more than one."""
    once = bound([1] * 45 + [0] * 5, [1] * 50, [1] * 40 + [0] * 10, [1] * 50)
    tenfold = bound([10] * 45 + [0] * 5, [10] * 50, [10] * 40 + [0] * 10, [10] * 50)
    assert tenfold == pytest.approx(once, abs=1e-9)


def test_errors_that_come_together_make_the_bound_lower():
    wrong_first = [0] * 10 + [1] * 40
    together = bound(wrong_first, [1] * 50, wrong_first, [1] * 50)
    apart = bound(wrong_first, [1] * 50, wrong_first[::-1], [1] * 50)
    assert together[0] == apart[0]
    assert together[1] < apart[1] - 0.01


@pytest.mark.parametrize("absent", ["pos", "neg"])
def test_without_positives_or_negatives_there_is_no_figure(absent):
    some, none = ([3] * 20, [5] * 20), ([0] * 20, [0] * 20)
    pairs = (*none, *some) if absent == "pos" else (*some, *none)
    accuracy, low = bound(*pairs)
    assert np.isnan(accuracy)
    assert np.isnan(low)


COUNTS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 6), st.floats(0, 1), st.floats(0, 1)),
    min_size=1,
    max_size=30,
)


@given(COUNTS)
def test_bound_is_below_the_value_and_above_zero(users):
    n_pos, n_neg = ([u[i] for u in users] for i in (0, 1))
    hits_pos, hits_neg = ([round(u[i] * u[i + 2]) for u in users] for i in (0, 1))
    accuracy, low = bound(hits_pos, n_pos, hits_neg, n_neg)
    if sum(n_pos) and sum(n_neg):
        assert 0 <= accuracy <= 1
        assert -1e-9 <= low < accuracy or accuracy == low == 0
    else:
        assert np.isnan(low)


@given(COUNTS, st.randoms(use_true_random=False))
def test_order_of_users_and_users_without_cases_do_not_matter(users, random):
    def of(rows):
        return bound(
            [round(u[0] * u[2]) for u in rows],
            [u[0] for u in rows],
            [round(u[1] * u[3]) for u in rows],
            [u[1] for u in rows],
        )

    shuffled = [*users, (0, 0, 0.0, 0.0), (0, 0, 0.0, 0.0)]
    random.shuffle(shuffled)
    assert of(shuffled) == pytest.approx(of(users), nan_ok=True)


def test_many_concepts_at_once_equal_one_by_one():
    rng = np.random.default_rng(0)
    n_pos, n_neg = rng.integers(0, 9, (30, 8)), rng.integers(0, 9, (30, 8))
    hits = rng.binomial(n_pos, 0.7), rng.binomial(n_neg, 0.9)
    accuracy, low = balanced_accuracy_bound(hits[0], n_pos, hits[1], n_neg)
    for j in range(8):
        alone = bound(hits[0][:, j], n_pos[:, j], hits[1][:, j], n_neg[:, j])
        assert alone == pytest.approx((accuracy[j], low[j]))


# how often it holds


def simulate(rng, sensitivity: float, specificity: float, n_users: int, m: int, spread: float):
    """m concepts of exactly these rates, on users who differ in both.

    A user's rates are beta distributed about the true ones, with a correlation inside a user of
    ``spread``; users have different numbers of positives, and most have none or few.
    """

    def rates(mean: float) -> np.ndarray:
        if mean in (0.0, 1.0) or not spread:
            return np.full((n_users, m), mean)
        size = 1 / spread - 1
        return rng.beta(mean * size, (1 - mean) * size, (n_users, m))

    n_pos = rng.geometric(0.25, (n_users, m)) * (rng.random((n_users, m)) < 0.6)
    n_neg = rng.integers(20, 60, (n_users, m))
    return (
        rng.binomial(n_pos, rates(sensitivity)).astype(float),
        n_pos.astype(float),
        rng.binomial(n_neg, rates(specificity)).astype(float),
        n_neg.astype(float),
    )


@pytest.mark.parametrize("n_users", [60, 300])
@pytest.mark.parametrize("spread", [0.0, 0.3])
@pytest.mark.parametrize(
    ("sensitivity", "specificity"),
    [(0.8, 0.8), (0.7, 0.9), (0.9, 0.7), (0.61, 0.99), (1.0, 0.6), (0.6, 1.0)],
)
def test_a_true_value_of_the_threshold_passes_at_most_one_time_in_twenty(
    sensitivity, specificity, spread, n_users
):
    rng = np.random.default_rng([n_users, round(100 * sensitivity), round(100 * spread)])
    m = 2000
    accuracy, low = balanced_accuracy_bound(
        *simulate(rng, sensitivity, specificity, n_users, m, spread)
    )
    assert accuracy.mean() == pytest.approx(0.8, abs=0.01)
    # 5 %, and two and a half standard errors of 2,000 draws. With a normal quantile 60 users miss.
    assert (low >= 0.8).mean() <= 0.05 + 2.5 * (0.05 * 0.95 / m) ** 0.5


def test_the_bound_is_not_needlessly_low():
    """A concept of 0.87 is verified more often than not on 300 users."""
    rng = np.random.default_rng(0)
    _, low = balanced_accuracy_bound(*simulate(rng, 0.85, 0.89, 300, 500, 0.3))
    assert (low >= 0.8).mean() > 0.8


def test_ignoring_users_would_not_hold():
    """The same simulation with every position a user of its own passes far too often."""
    rng = np.random.default_rng(0)
    hits_pos, n_pos, hits_neg, n_neg = simulate(rng, 0.8, 0.8, 60, 400, 0.6)
    passes = 0
    for j in range(400):
        right, wrong = hits_pos[:, j].sum(), (n_pos - hits_pos)[:, j].sum()
        quiet, loud = hits_neg[:, j].sum(), (n_neg - hits_neg)[:, j].sum()
        hits = [1] * int(right) + [0] * int(wrong), [1] * int(quiet) + [0] * int(loud)
        zeros = [0] * len(hits[0]), [0] * len(hits[1])
        low = bound(
            hits[0] + zeros[1],
            [1] * len(hits[0]) + zeros[1],
            zeros[0] + hits[1],
            zeros[0] + [1] * len(hits[1]),
        )[1]
        passes += low >= 0.8
    assert passes / 400 > 0.1


# one rate


def test_a_rate_of_independent_cases_is_wilsons():
    rate, low = rate_bound(np.array([1.0] * 90 + [0] * 10)[:, None], np.ones((100, 1)))
    assert (rate[0], low[0]) == (0.9, pytest.approx(wilson(0.9, 100), abs=0.001))


@pytest.mark.parametrize("n_users", [15, 30, 100])
@pytest.mark.parametrize("spread", [0.0, 0.3, 0.5])
def test_a_rate_right_at_the_limit_passes_at_most_one_time_in_twenty(spread, n_users):
    """Precision or recall of exactly .5: users who differ, most of whom have none or few cases."""
    rng = np.random.default_rng([n_users, round(100 * spread)])
    hits, n, *_ = simulate(rng, 0.5, 0.9, n_users, 4000, spread)
    tested = (n.sum(0) >= MIN_POSITIVES) & ((n > 0).sum(0) >= MIN_USERS)
    m = int(tested.sum())
    assert m > 1000
    rate, low = rate_bound(hits[:, tested], n[:, tested])
    assert rate.mean() == pytest.approx(0.5, abs=0.01)
    assert (low >= 0.5).mean() <= 0.05 + 2.5 * (0.05 * 0.95 / m) ** 0.5


def test_a_rate_well_above_the_limit_passes():
    rng = np.random.default_rng(0)
    hits, n, *_ = simulate(rng, 0.7, 0.9, 100, 500, 0.3)
    assert (rate_bound(hits, n)[1] >= 0.5).mean() > 0.9


# figures of users


def test_figures_of_the_same_users_are_compared_user_by_user():
    rng = np.random.default_rng(1)
    of = rng.integers(1, 9, 80).astype(float)
    base = rng.binomial(of.astype(int), rng.beta(2, 2, 80)).astype(float)
    one, other = ratio_estimate(base, of), ratio_estimate(np.maximum(base - 1, 0), of)
    gap, low, high = one.minus(other).interval()
    assert gap == pytest.approx(one.value - other.value)
    assert 0 < low < gap < high
    assert high - low < 0.5 * (one.interval()[2] - one.interval()[1])


def test_halves_with_no_user_in_common_are_averaged():
    rng = np.random.default_rng(2)
    numerator, denominator = rng.random(40), np.ones(40)
    whole = ratio_estimate(numerator, denominator)
    parts = [
        ratio_estimate(numerator[part], denominator[part]) for part in np.split(np.arange(40), 2)
    ]
    joined = joined_estimate(parts)
    assert joined.value == pytest.approx(whole.value)
    assert joined.interval() == pytest.approx(whole.interval(), abs=0.02)


def test_one_user_has_no_interval():
    assert all(np.isnan(UserEstimate(0.5, np.zeros(1)).interval()))


# ratios


def test_ratio_by_hand():
    # 3 / 6; residuals n - .5 d = -.5, .5, 0: error = sqrt(3 / 2 * .5) / 6
    ratio, low, high = paired_ratio(np.array([0.0, 2.0, 1.0]), np.array([1.0, 3.0, 2.0]))
    assert ratio == 0.5
    assert high - ratio == pytest.approx(1.959964 * 0.75**0.5 / 6, rel=1e-5)
    assert ratio - low == pytest.approx(high - ratio)


def test_ratio_of_equal_figures_is_one_exactly():
    values = np.random.default_rng(0).random(50)
    assert paired_ratio(values, values) == (1, 1, 1)


def test_ratio_of_nothing_is_not_a_number():
    assert all(np.isnan(paired_ratio(np.zeros(3), np.zeros(3))))
    assert all(np.isnan(paired_ratio(np.ones(1), np.ones(1))))


def test_interval_of_a_ratio_holds():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        base = rng.gamma(1.0, size=150)
        _, low, high = paired_ratio(base * rng.beta(9, 1, 150), base)
        held += low <= 0.9 <= high
    assert 0.92 <= held / 1000 <= 0.97


def precise(hits, n_pos, alarms, n_neg, sizes, confidence=0.95):
    columns = [np.array(c, dtype=float)[:, None] for c in (hits, n_pos, alarms, n_neg)]
    both = np.array([sizes[0]], dtype=float), np.array([sizes[1]], dtype=float)
    precision, low = precision_bound(*columns, both, confidence)
    return float(precision[0]), float(low[0])


def test_precision_without_an_alarm_by_hand():
    """Of 300 users one negative each and no alarm: the rate is below 1 - .05 ** (1 / 300), which is
    3 / 300 (the rule of three); the recall of 40 of 40 is above Wilson's .93. A hundred negatives
    for each positive are then an alarm for each positive that is found: a precision of one half."""
    nothing = [0] * 300
    one = [1] * 40 + [0] * 260
    precision, low = precise(one, one, nothing, [1] * 300, (10, 1000))
    least = wilson(1, 40)
    most = 1 - 0.05 ** (1 / 300)
    assert precision == 1
    assert low == pytest.approx(1 / (1 + 100 * most / np.sqrt(least * (2 - least))), abs=0.002)
    assert low == pytest.approx(0.5, abs=0.01)


def test_precision_is_at_the_rate_of_the_population():
    """Found are 30 of 40 positives, 2 of 100 negatives: 750 and 180 of the 1,000 and 9,000."""
    users = np.arange(140)
    precision, low = precise(
        users < 30, users < 40, (users >= 40) & (users < 42), users >= 40, (1000, 9000)
    )
    assert precision == pytest.approx(750 / 930)
    assert low < 0.7
    assert np.isnan(precise([0], [1], [0], [9], (1, 9))[0])  # never a yes, so no precision


@given(st.integers(1, 12), st.integers(10, 60))
def test_an_alarm_never_raises_the_bound_of_precision(each, n_users):
    """Also from none to one, where how alike a user's cases are begins to be known."""
    n = [each] * n_users
    lows = [
        precise(n, n, [1] * k + [0] * (n_users - k), n, (100, 5000))[1] for k in range(n_users // 2)
    ]
    assert (np.diff(lows) < 0).all()
    assert 0 < lows[0] < 1


def test_cases_of_one_user_count_less_and_less():
    """Two of a user count as 1.5: so do 300 negatives of 150 users, as 225 of as many users."""
    pos = [1] * 40
    pairs = precise(
        [*pos, *[0] * 150], [*pos, *[0] * 150], [0] * 190, [0] * 40 + [2] * 150, (1, 50)
    )
    alone = precise(
        [*pos, *[0] * 225], [*pos, *[0] * 225], [0] * 265, [0] * 40 + [1] * 225, (1, 50)
    )
    assert pairs[1] == pytest.approx(alone[1], abs=0.001)


def judged(rng, rate, precision, recall, users, alike, n=1000, least=20, m=400):
    """Counts per user of m judges: of n random cases, and of positives until there are 20."""
    share = rng.lognormal(0, 0.8, users)
    share /= share.sum()

    def per_user(size):
        return rng.multinomial(size, share, None if np.ndim(size) else m).T

    def right(mean, counts):
        chance = rng.beta(mean * alike, (1 - mean) * alike, counts.shape) if alike else mean
        return rng.binomial(counts, chance)

    cases = per_user(n)
    pos = rng.binomial(cases, rate)
    neg = cases - pos
    pos = pos + per_user(np.maximum(least - pos.sum(0), 0))
    alarm = rate * recall * (1 - precision) / precision / (1 - rate)
    return right(recall, pos), pos, right(alarm, neg), neg


@pytest.mark.parametrize("users", [150, 1000])
@pytest.mark.parametrize("alike", [0, 9])
@pytest.mark.parametrize("rate", [0.005, 0.02, 0.1])
def test_bounds_of_precision_and_recall_hold(rate, alike, users):
    """Of 400 judges of known precision and recall, with users that are alike (correlation .1) or
    not: the bounds are above the truth at most 7 % of the times, and of those that are right
    exactly half of the times at most 7 % are verified, 5 % over all of them."""
    rng = np.random.default_rng(0)
    passed = []
    for precision, recall in ((0.5, 0.9), (0.5, 0.6), (0.8, 0.9), (0.97, 0.7)):
        counts = judged(rng, rate, precision, recall, users, alike)
        sizes = np.full(400, rate), np.full(400, 1 - rate)
        low = precision_bound(*counts, sizes)[1]
        recall_low = rate_bound(*counts[:2])[1]
        assert (low > precision).mean() <= 0.07
        assert (recall_low > recall).mean() <= 0.07
        if precision == 0.5:
            passed.append(np.minimum(low, recall_low) >= 0.5)
            assert passed[-1].mean() <= 0.07
    assert np.mean(passed) <= 0.05


def test_a_difference_of_two_groups_by_hand():
    """Ratios 0.8 and 0.5; residuals are 0.2 of 2 and 0.1 of 2, and Student's t has one degree."""
    numerator = np.array([0.6, 1.0, 0.4, 0.6])
    first = np.array([True, True, False, False])
    value, low, high = ratio_difference(numerator, np.ones(4), (first, ~first))
    error = np.sqrt(2 * 2 * 0.1**2 + 2 * 2 * 0.05**2)
    assert value == pytest.approx(0.3)
    assert (high - value, value - low) == pytest.approx([12.7062 * error] * 2, rel=1e-5)
    value, low, high = ratio_difference(numerator, np.ones(4), (first, ~first), times=3)
    error = np.sqrt(2 * 2 * 0.1**2 + 9 * 2 * 2 * 0.05**2)
    assert value == pytest.approx(0.8 - 3 * 0.5)
    assert (high - value, value - low) == pytest.approx([12.7062 * error] * 2, rel=1e-5)


def test_who_is_in_both_groups_is_compared_with_themselves():
    rng = np.random.default_rng(0)
    everybody = np.ones(50, dtype=bool)
    numerator = rng.random(50)
    assert ratio_difference(numerator, np.ones(50), (everybody, everybody)) == (0, 0, 0)


def test_the_difference_of_groups_covers_the_truth():
    """Of groups of 20 and 200 users, of whom some weigh ten times what others do."""
    rng = np.random.default_rng(0)
    small = np.arange(220) < 20
    missed = 0
    for _ in range(1000):
        n = rng.lognormal(0, 1, 220)
        ratio = np.where(small, 0.9, 0.95) + rng.normal(0, 0.1, 220)
        _, low, high = ratio_difference(n * ratio, n, (small, ~small))
        missed += not low <= -0.05 <= high
    assert 0.02 < missed / 1000 < 0.08
