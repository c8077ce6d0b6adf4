"""Lists under filters and re-rankings, by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import toy
from recsae.recommender.lists import History, one_history
from recsae.steering.calibration.shares import ItemShares
from recsae.steering.steps.ranking import (
    MAX_WEIGHTS,
    N_FIRST,
    Beside,
    Calibrated,
    CalibratedP,
    Ranking,
    Reorder,
)

NONE = float("-inf")
SCORES = torch.tensor([[NONE, 5.0, 4.0, 3.0, 2.0, 1.0]])
WANTED = torch.tensor([0.0, 0, 0, 0, 1, 1])


def lists(*reorders, banned=None, scores=SCORES, k=3):
    return Ranking(banned, reorders).lists(scores, k).tolist()


def test_a_constant():
    assert lists(Reorder.of(WANTED, 0.0)) == [[1, 2, 3]]
    assert lists(Reorder.of(WANTED, 2.5)) == [[1, 4, 2]]  # 5, 4.5, 4
    assert lists(Reorder.of(WANTED, 9.0)) == [[4, 5, 1]]
    assert lists(Reorder.of(-WANTED, 9.0), k=5) == [[1, 2, 3, 4, 5]]


def test_a_constant_within_the_first_items():
    """Item 4 is the fourth, item 5 none of the first four."""
    assert lists(Reorder.of(WANTED, 9.0, candidates=4)) == [[4, 1, 2]]
    assert lists(Reorder.of(WANTED, 9.0, candidates=3)) == [[1, 2, 3]]
    assert lists(Reorder.of(WANTED, 9.0, candidates=3), k=5) == [[1, 2, 3, 0, 0]]


def test_a_filter():
    banned = torch.tensor([False, True, False, True, False, False])
    assert lists(banned=banned) == [[2, 4, 5]]
    assert lists(banned=banned, k=5) == [[2, 4, 5, 0, 0]]


def test_what_is_filtered_is_no_candidate():
    banned = torch.tensor([False, True, False, False, False, False])
    assert lists(Reorder.of(WANTED, 9.0, candidates=3), banned=banned) == [[4, 2, 3]]


def test_by_probability_the_lower_places_go_first():
    """p is .4, .3, .2, .06, .04; the discounts are 1, .63, .5. With a gain of .1 for items 4 and 5
    the first place is still item 1 (.4 against .16), the second item 2 (.19 against .14), and the
    third item 4 (.13 against .1). With a gain of .5 items 4, 5 and 1 are taken, and item 1, which
    is most likely, still comes first."""
    p = torch.tensor([[0.0, 0.4, 0.3, 0.2, 0.06, 0.04]])
    scores = 2 * p.log()  # at a temperature of 2
    assert lists(Reorder.of(WANTED, 0.0, 2.0), scores=scores) == [[1, 2, 3]]
    assert lists(Reorder.of(WANTED, 0.1, 2.0), scores=scores) == [[1, 2, 4]]
    assert lists(Reorder.of(WANTED, 0.5, 2.0), scores=scores) == [[1, 4, 5]]


@settings(deadline=None)
@given(st.integers(0, 99), st.sampled_from([0.0, 0.01, 0.1, 1.0]))
def test_by_probability_the_likeliest_of_a_list_come_first(seed, gain):
    """So that no other order of the same items has more expected NDCG."""
    generator = torch.Generator().manual_seed(seed)
    scores, weights = torch.randn(5, 40, generator=generator), torch.randn(40, generator=generator)
    found = Ranking(None, (Reorder.of(weights, gain, 0.5),)).lists(scores, 10)
    taken = scores.gather(1, found)
    assert torch.equal(taken, taken.sort(dim=1, descending=True).values)


def test_by_probability_within_the_first_items_their_probabilities_add_up_to_one():
    """In the third place item 4 needs half of .2 - .06 more than item 3, or of that over .96."""
    p = torch.tensor([[0.0, 0.4, 0.3, 0.2, 0.06, 0.04]])
    third = (0.2 - 0.06) / math.log2(4)
    for share, candidates in ((1.0, None), (0.96, 4)):
        for gain, last in ((1.01 * third / share, 4), (0.99 * third / share, 3)):
            step = Reorder.of(WANTED, gain, 2.0, candidates)
            assert lists(step, scores=2 * p.log())[0][2] == last


P = torch.tensor([[0.0, 0.4, 0.3, 0.2, 0.06, 0.04]])
TURNED = torch.tensor([[NONE, 0.0, 0.0, 1.0, 2.0, 3.0]])
"""After which items 4 and 5 come first."""


@pytest.fixture
def halves(monkeypatch):
    """Half of however few candidates are found by either query."""
    monkeypatch.setattr("recsae.steering.steps.ranking.found_turned", lambda n: n // 2)


@pytest.mark.usefixtures("halves")
def test_candidates_of_two_queries():
    """Items 1 and 2 by the unedited scores, 5 and 4 by the others; item 3 is found by none. The
    probabilities of the four add up to one."""
    found = Reorder.of(WANTED, 0.0, 1.0, 4, "candidates")
    pool = found.pool(TURNED, 3, P.log())
    assert pool.items.tolist() == [[1, 2, 4, 5]]
    p = torch.exp(pool.scores - pool.total)
    torch.testing.assert_close(p, torch.tensor([[0.4, 0.3, 0.06, 0.04]]) / 0.8)
    ranking = Ranking(None, (found,))
    assert ranking.needs_own
    assert ranking.lists(TURNED, 5, Beside(own=P.log())).tolist() == [[1, 2, 4, 5, 0]]
    wide = Ranking(None, (Reorder.of(WANTED, 9.0, 1.0, 40, "candidates"),))
    assert wide.lists(TURNED, 2, Beside(own=P.log())).tolist() == [[4, 5]]
    banned = Ranking(torch.tensor([False, True, False, False, False, True]), (found,))
    assert banned.lists(TURNED, 5, Beside(own=P.log())).tolist() == [[2, 3, 4, 0, 0]]


@pytest.mark.usefixtures("halves")
def test_what_is_pushed_takes_the_lower_places():
    """Pushes are turned less own scores: 3 + 3.2 for item 5, 2 + 2.8 for item 4. With a gain of .04
    the first place is still item 1 (.4 + .04 against .04 + .25), the second is item 5 (.03 + .25
    against .19 + .05 of item 2), and the third item 4 (.03 + .19 against .15 + .05 of item 2). The
    likelier of these two comes first."""
    pushed = Reorder.of(torch.zeros(0), 0.04, 1.0, 10, "pushes")
    ranking = Ranking(None, (pushed,))
    own = P.log()
    pushes = TURNED[0, 1:] - own[0, 1:]
    assert pushes.tolist() == pytest.approx([0.916, 1.204, 2.609, 4.813, 6.219], abs=1e-3)
    assert ranking.lists(TURNED, 3, Beside(own=own)).tolist() == [[1, 4, 5]]
    assert ranking.lists(own, 3, Beside(own=own)).tolist() == [[1, 2, 3]]  # nothing is pushed
    # what all items are pushed by alike changes nothing
    assert ranking.lists(TURNED + 7.0, 3, Beside(own=own)).tolist() == [[1, 4, 5]]


def test_constants_add_up_and_probability_comes_last():
    other = torch.tensor([0.0, 0, 0, 1, 0, 0])
    first, second = Reorder.of(WANTED, 2.5), Reorder.of(other, 1.7)
    assert lists(first, second) == [[1, 3, 4]]  # 5, 4.7, 4.5
    together = lists(first, second, Reorder.of(WANTED, 0.0, 1.0))
    assert together == [[1, 3, 4]]


@settings(deadline=None)
@given(st.integers(0, 99), st.sampled_from([0.0, 0.1, 2.0]), st.sampled_from([None, 0.7]))
def test_the_first_of_each_weight_are_enough(seed, gain, temperature):
    """Lists out of pools are those out of all items, where weights differ little."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(20, 60, generator=generator)
    scores[:, 0] = NONE
    scores[torch.rand(20, 60, generator=generator) < 0.4] = NONE
    weights = torch.randint(-1, 2, (60,), generator=generator).float()
    step = Reorder.of(weights, gain, temperature)
    assert step.width(5) == 15
    if temperature is None:
        added = scores + gain * weights
        values, whole = added.sort(dim=1, descending=True, stable=True)
        whole = whole.masked_fill(values == NONE, 0)[:, :5]
    else:
        p, left, places = torch.softmax(scores / temperature, 1), scores > NONE, []
        p = p.masked_fill(~left, NONE)
        for place in range(5):
            value = (p / math.log2(place + 2) + gain * weights).masked_fill(~left, NONE)
            best = value.max(1, keepdim=True)
            places.append(best.indices.masked_fill(best.values == NONE, 0))
            left.scatter_(1, best.indices, False)
        whole = torch.cat(places, 1)
        whole = whole.gather(1, p.gather(1, whole).argsort(dim=1, descending=True, stable=True))
    assert torch.equal(Ranking(None, (step,)).lists(scores, 5), whole)


def test_weights_that_differ_everywhere():
    weights = torch.arange(900.0) / 900
    scores = torch.randn(4, 900, generator=torch.Generator().manual_seed(0))
    assert len(weights.unique()) > MAX_WEIGHTS
    constant, likely = Reorder.of(weights, 1.3), Reorder.of(weights, 1e-4, 1.0)
    assert (constant.width(10), likely.width(10)) == (None, N_FIRST + 10)
    whole = (scores + 1.3 * weights).topk(10).indices
    assert torch.equal(Ranking(None, (constant,)).lists(scores, 10), whole)
    found = Ranking(None, (likely,)).lists(scores, 10)
    assert all(len(set(row)) == 10 for row in found.tolist())
    assert (Ranking(None, (likely._replace(gain=9.0),)).lists(scores, 10) == 899).any(1).all()


def test_no_item_comes_twice_where_it_is_among_the_first_and_the_most_useful():
    scores = torch.arange(400.0, 0, -1)[None].clone()
    weights = torch.arange(400.0).flip(0)  # the first by score are the most useful too
    found = Ranking(None, (Reorder.of(weights, 1.0, 50.0),)).lists(scores, 10)
    assert found.tolist() == [list(range(10))]


@pytest.mark.parametrize("temperature", [None, 1.0])
def test_where_nothing_is_left_lists_are_empty(temperature):
    nothing = torch.full((1, 6), NONE)
    assert lists(Reorder.of(WANTED, 1.0, temperature), scores=nothing) == [[0, 0, 0]]


GENRES = ItemShares.of("genre", ("A", "B"), toy.sparse([[0, 0], *[[1, 0]] * 3, *[[0, 1]] * 2]))
"""Items 1 to 3 are of the first genre, 4 and 5 of the second."""


def calibrated(by, strength, candidates=10, k=3, history=(1, 5), scores=SCORES, **more):
    step = Calibrated(GENRES, by, strength, 1.0, candidates)
    return (
        Ranking(None, (), step, **more)
        .lists(scores, k, Beside(one_history(list(history))))
        .tolist()
    )


@pytest.mark.parametrize("by", ["greedy", "per-user"])
def test_a_calibrated_list_has_the_history_s_genres(by):
    """p is .64, .23, .09, .03 and .01; the history has half of each genre. Greedily item 4 comes in
    for item 3, and as the least likely it comes last. By a strength for the user it gains 4.6 times
    .5 on 2.3, and the others lose .35."""
    assert calibrated(by, 0.0) == [[1, 2, 3]]
    assert calibrated(by, 0.5) == [[1, 2, 4] if by == "greedy" else [1, 4, 2]]
    assert {4, 5} < set(calibrated(by, 9.0, history=(4,))[0])
    assert calibrated(by, 9.0, history=(2, 3)) == [[1, 2, 3]]


@pytest.mark.parametrize("by", ["greedy", "per-user"])
def test_a_calibrated_list_stays_within_the_candidates(by):
    assert calibrated(by, 9.0, candidates=3) == [[1, 2, 3]]
    assert calibrated(by, 9.0, candidates=3, k=6)[0][5] == 0  # as many as the list has, anyway


@pytest.mark.parametrize("by", ["greedy", "per-user"])
@given(st.integers(0, 1000))
@settings(deadline=None)
def test_calibration_goes_row_by_row(by, seed):
    """Rows in another order have their lists in that order, and no item comes twice."""
    rng = torch.Generator().manual_seed(seed)
    scores = torch.randn(5, 6, generator=rng)
    scores[:, 0] = NONE
    held = toy.sequences([1, 2], [4], [5, 5, 1], [3], [2, 4])
    histories = History(held, torch.arange(5).numpy(), held.lengths)
    ranking = Ranking(None, (), Calibrated(GENRES, by, 0.2, 1.0, 5))
    found, order = ranking.lists(scores, 4, Beside(histories)), torch.randperm(5, generator=rng)
    again = ranking.lists(scores[order], 4, Beside(histories.take(order.numpy())))
    assert torch.equal(again, found[order])
    assert all(len(set(row)) == 4 for row in found.tolist())
    one = ranking.lists(scores[2:3], 4, Beside(one_history([5, 5, 1])))
    assert torch.equal(one, found[2:3])


def test_what_is_filtered_is_not_calibrated_with_and_constants_come_first():
    banned = torch.tensor([False, False, False, False, True, False])
    step = Calibrated(GENRES, "greedy", 9.0, 1.0, 10)
    history = one_history([1, 5])
    assert Ranking(banned, (), step).lists(SCORES, 3, Beside(history)).tolist() == [[1, 2, 5]]
    constant = Reorder.of(torch.tensor([0.0, 0, 0, 9, 0, 0]), 1.0)
    assert Ranking(banned, (constant,), step).lists(SCORES, 3, Beside(history)).tolist() == [
        [3, 1, 5]
    ]


def test_after_the_tenth_place_a_list_is_in_the_order_of_scores():
    """Twelve items of the first genre, then three of the second, which are wanted."""
    genres = ItemShares.of("genre", ("A", "B"), toy.sparse([[0, 0], *[[1, 0]] * 12, *[[0, 1]] * 3]))
    scores = torch.cat([torch.tensor([NONE]), torch.arange(15, 0, -1.0)])[None]
    step = Calibrated(genres, "greedy", 9.0, 1.0, 15)
    found = Ranking(None, (), step).lists(scores, 15, Beside(one_history([13]))).tolist()[0]
    assert found[:10] == [1, 2, 3, 4, 5, 6, 7, 13, 14, 15]
    assert found[10:] == [8, 9, 10, 11, 12]


def test_a_calibration_without_histories_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="needs the histories"):
        Ranking(None, (), Calibrated(GENRES, "greedy", 1.0, 1.0, 10)).lists(SCORES, 3)


def test_calibrated_probabilities():
    """p is .5, .25, .15 and .1 outside: to the power of 2, times the place, times e for item 3."""
    log_p = torch.tensor([[0.5, 0.25, 0.15]]).log()
    powers = CalibratedP(2.0, 1.0, torch.tensor([0.0, 0, 0, 1]))
    own = torch.tensor([[0.5**2, 0.25**2 * 2, 0.15**2 * 3 * math.e]])
    found = powers.of(log_p, torch.tensor([[2, 1, 3]]))
    torch.testing.assert_close(found, own / (own.sum() + 0.1))


def test_a_calibration_can_change_the_order_and_none_of_it_does_not():
    p = torch.tensor([[0.0, 0.4, 0.3, 0.2, 0.06, 0.04]])
    same = CalibratedP(1.0, 0.0, torch.zeros(6))
    popular = CalibratedP(1.0, 0.0, torch.tensor([0.0, 0, 0, 9, 0, 0]))
    for calibrated, expected in ((same, [1, 2, 3]), (popular, [3, 1, 2])):
        step = Reorder.of(WANTED, 0.0, 2.0, calibrated=calibrated)
        assert not step.in_order
        assert lists(step, scores=2 * p.log()) == [expected]


def test_what_is_left_out_has_no_calibrated_probability():
    log_p = torch.tensor([[-1.0, NONE], [NONE, NONE]])
    found = CalibratedP(0.5, -1.0, torch.ones(2)).of(log_p, torch.tensor([[1, 0], [1, 0]]))
    assert 0 < found[0, 0] < 1
    assert found[0, 1] == 0
    assert found[1].tolist() == [0, 0]
