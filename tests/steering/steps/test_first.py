"""Re-rankings that begin with the first items of all cases make the lists that all scores make."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers import toy
from helpers.two_directions import CATALOG, N_ITEMS, cases, table
from recsae.recommender.protocol import LinearHead
from recsae.steering.steered_scores import HeadScorer
from recsae.steering.steps import first, ranking
from recsae.steering.steps.applied import Applied
from recsae.steering.steps.first import FirstItems
from recsae.steering.steps.pools import CalibratedP
from recsae.steering.steps.ranking import Ranking, Reorder

NONE = float("-inf")
WEIGHTS = torch.arange(N_ITEMS + 1) % 3 * 1.0
RARE = (torch.arange(N_ITEMS + 1) == 7) * 1.0
NOBODY = torch.zeros(N_ITEMS + 1)
MANY = torch.arange(N_ITEMS + 1) / 10.0
BETTER = CalibratedP(1.2, -0.3, torch.linspace(-1, 1, N_ITEMS + 1))
TURN = torch.tensor([1.0, -2.0, 1.0])


def whole(head):
    """A head with small whole numbers, so that scores are exact and many are equal."""
    return LinearHead((3 * head.items).round(), torch.arange(N_ITEMS + 1.0) % 2)


@pytest.fixture(params=[False, True], ids=["all", "unseen"])
def scorer(request):
    some = replace(cases(60), filters_seen=request.param, counted={})
    states = np.rint(3 * some.states).astype(np.float32)
    return HeadScorer(replace(some, states=states, counted={}), None, whole(table()))


def steps():
    for temperature, calibrated in ((None, None), (2.0, None), (2.0, BETTER)):
        for weights in (WEIGHTS, RARE, NOBODY):
            for candidates in (None, 10, 25):
                yield weights, temperature, candidates, "scores", calibrated
    yield MANY, 2.0, None, "scores", None
    yield MANY, None, 20, "scores", None
    for edits, weights in (("candidates", WEIGHTS), ("pushes", torch.zeros(0))):
        for calibrated in (None, BETTER):
            yield weights, 2.0, 24, edits, calibrated


@pytest.mark.parametrize("in_one_row", [10, 1000])
@pytest.mark.parametrize("n_kept", [15, 512])
@pytest.mark.parametrize("step", list(steps()))
def test_lists_are_those_of_all_scores(scorer, step, n_kept, in_one_row, monkeypatch):
    """Where 15 are kept, most weights have fewer than ten items among them."""
    weights, temperature, candidates, edits, calibrated = step
    monkeypatch.setattr(first, "CASES_AT_ONCE", 7)
    monkeypatch.setattr(first, "IN_ONE_ROW", in_one_row)
    known = FirstItems(scorer, 2.0, n_kept)
    for gain in (0.0, 0.05, 2.0):
        reorder = Reorder.of(weights, gain, temperature, candidates, edits, calibrated)
        if n_kept < (candidates or 0 if reorder.in_order or candidates else N_ITEMS):
            continue  # which begin with more
        edit = None if edits == "scores" else (lambda states, _: states + TURN)
        done = Applied(edit=edit, ranking=Ranking(None, (reorder,)))
        found = done.lists(scorer, 10, {}, known)
        assert np.array_equal(found, done.lists(scorer, 10))


def test_what_pools_cannot_be_made_of(scorer):
    known = FirstItems(scorer, 2.0, 512)
    assert not Reorder.of(MANY, 0.1).begins_with(known)  # any item can come up
    assert not Reorder.of(WEIGHTS, 0.1, 3.0).begins_with(known)  # of another softmax
    assert not Reorder.of(WEIGHTS, 0.1, 2.0, 513).begins_with(known)
    assert Reorder.of(WEIGHTS, 0.1, 2.0, 512).begins_with(known)


def test_the_best_of_items_that_are_rare_among_the_first(scorer):
    """By hand: of all scores, those of the items that count."""
    has = torch.zeros(N_ITEMS + 1, dtype=torch.bool)
    has[[3, 9, 30]] = True
    part = slice(5, 20)
    known = FirstItems(scorer, 2.0, 15).of(part)
    scores = scorer.scores(part)
    found = known.best_of(has, 2)
    seen = scorer.cases.seen
    for row, case in enumerate(range(5, 20)):
        history = seen.take(slice(case, case + 1)).pairs()[1].tolist() if seen else []
        left = [i for i in (3, 9, 30) if i not in history]
        best = sorted(left, key=lambda i: (-float(scores[row, i]), i))[:2]
        real = found.values[row] > NONE
        assert found.indices[row][real].tolist() == best
        assert found.values[row][real].tolist() == scores[row, best].tolist()


def test_so_many_cases_are_kept(scorer, monkeypatch):
    assert FirstItems.fit(scorer, 512)
    monkeypatch.setattr(first, "MAX_KEPT", 60 * (N_ITEMS + 1) - 1)
    assert not FirstItems.fit(scorer, 512)
    assert FirstItems.fit(scorer, N_ITEMS)


@pytest.mark.parametrize("weights", [MANY, WEIGHTS])
def test_no_list_depends_on_the_other_cases(weights, monkeypatch):
    """The first users had the items of the largest weight: the next ones are theirs alone."""
    monkeypatch.setattr(ranking, "N_FIRST", 12)
    rng = np.random.default_rng(0)
    best = torch.nonzero(weights == weights.max())[:, 0].tolist()
    others = [i for i in range(1, N_ITEMS + 1) if i not in best]
    had = [[*best, *rng.permutation(others)[:4]] for _ in range(6)]
    some = toy.cases_of(*had, *(rng.permutation(others)[:6] for _ in range(6)), items=CATALOG)
    states = np.rint(3 * rng.normal(size=(len(some), 3))).astype(np.float32)
    some = replace(some, states=states, filters_seen=True, counted={})
    scorer = HeadScorer(some, None, whole(table()))
    step = Reorder.of(weights, 3.0, 2.0, calibrated=BETTER)
    done = Applied(ranking=Ranking(None, (step,)))
    found = done.lists(scorer, 10)
    assert np.array_equal(done.lists(scorer, 10, {}, FirstItems(scorer, 2.0, 12)), found)
    for case in range(len(some)):
        alone = HeadScorer(some.take(np.array([case])), None, scorer.head)
        assert np.array_equal(done.lists(alone, 10)[0], found[case])


def test_no_cases(scorer):
    nobody = HeadScorer(scorer.cases.take(np.zeros(0, np.int64)), None, scorer.head)
    for weights in (MANY, WEIGHTS):
        step = Reorder.of(weights, 3.0, 2.0, calibrated=BETTER)
        assert Applied(ranking=Ranking(None, (step,))).lists(nobody, 10).shape == (0, 10)
