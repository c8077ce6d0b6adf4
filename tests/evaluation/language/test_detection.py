"""Precision and recall of a description at the rate of its latent, from the few cases asked."""

import numpy as np
import pytest

from helpers import toy
from helpers.judges import Judge
from helpers.llm_server import about_of, data_of
from recsae.concepts.status import SUPPORTED, UNSUPPORTED, UNTESTED, VERIFIED
from recsae.evaluation.language.detection import (
    DetectionTrial,
    detect,
    detection,
    detection_trial,
)
from recsae.evaluation.language.sampling import CaseSampler


def population(active, user=None, top=None):
    """Cases that differ in their users and recommendations alone."""
    n = len(active)
    made = toy.cases(
        list(range(n)) if user is None else user, [[1]] * n, [[t] for t in top or [1] * n]
    )
    return made, CaseSampler(toy.sparse(np.asarray(active, dtype=float)[:, None]), made, 0)


# -- which cases are asked ---------------------------------------------------------------------
def test_latents_share_the_random_cases_and_get_more_active_ones():
    active = np.zeros((200, 2))
    active[:100, 0], active[:7, 1] = 1, 1
    made = toy.cases(list(range(200)), [[1]] * 200, [[1]] * 200)
    sampler = CaseSampler(toy.sparse(active), made, 0)
    common, rare = (detection_trial(sampler, j, 50, 10) for j in (0, 1))
    assert len(common.rows) == 50
    assert set(common.rows) <= set(rare.rows)
    assert set(rare.rows) - set(common.rows) <= set(range(7))
    assert set(range(7)) <= set(rare.rows)  # there are no more
    assert rare.active.tolist() == (active[:, 1] > 0).tolist()
    assert len(np.unique(rare.rows)) == len(rare.rows)


def test_nothing_is_asked_where_a_latent_is_never_active():
    made, sampler = population([0, 0, 0])
    trial = detection_trial(sampler, 0, 10, 4)
    assert len(trial.rows) == 0
    found = detection(trial, np.zeros(0), made)
    assert (found.status, found.precision, found.recall) == (UNTESTED, None, None)
    assert found.precision_low_at_best is None


# -- asking ------------------------------------------------------------------------------------
NAMES = {1: "Alien", 4: "Thing", 6: "Grease"}


def shown(items):
    """One case for each of the items, in a history of its own."""
    made = toy.cases(list(range(len(items))), items[:, None], [[1]] * len(items))
    object.__setattr__(made, "sequences", toy.sequences(*[[i, 1] for i in items.tolist()]))
    return made


def by_words(lines):
    """The judge says that a description matches what has its word in the history."""
    about = [line for line in lines if "description" in line]
    return {
        line["id"]: [a["id"] for a in about if a["description"] in line["items"][0]]
        for line in lines[len(about) :]
    }


@pytest.mark.parametrize("size", [1, 2, 20])
def test_answers_find_their_cases_and_descriptions(size):
    items = np.random.default_rng(0).choice([1, 4, 6], 33)
    made = shown(items)
    rows = {7: np.arange(33), 2: np.arange(3, 20), 5: np.array([0, 4, 32]), 9: np.arange(33)}
    trials = {j: DetectionTrial(r, items == 4) for j, r in rows.items()}
    said = {7: "Thing", 2: "Grease", 5: "Alien", 9: "Thing"}
    judge = Judge(by_words, descriptions=size, batch=5)
    found = detect(judge, said, trials, made)
    of = {name: item for item, name in NAMES.items()}
    assert {j: v.tolist() for j, v in found.items()} == {
        j: (items[rows[j]] == of[said[j]]).tolist() for j in said
    }
    n_about = [len(about_of(p)[0]) for p in judge.prompts]
    assert max(n_about) == min(size, 3)  # the same sentence is asked once
    assert max(len(about_of(p)[1]) for p in judge.prompts) <= 5


def test_the_truth_changes_no_byte_of_the_questions():
    made = shown(np.random.default_rng(0).choice([1, 4, 6], 30))
    prompts = []
    for seed in range(3):
        active = np.random.default_rng(seed).random(30) < 0.5
        judge = Judge(lambda lines: "")
        detect(judge, {0: "Thing"}, {0: DetectionTrial(np.arange(30), active)}, made)
        prompts.append(judge.prompts)
    assert prompts[0] == prompts[1] == prompts[2]
    assert set(data_of(prompts[0][0])[0]) == {"id", "description"}
    assert all(set(s) == {"id", "items", "recommended"} for s in data_of(prompts[0][0])[1:])


@pytest.mark.parametrize("reply", ["", "no idea", "{}", '["yes"]'])
def test_a_reply_that_cannot_be_read_is_no_answer(reply):
    made = shown(np.array([1, 4, 6]))
    trial = DetectionTrial(np.arange(3), np.array([True, False, False]))
    said = detect(Judge(lambda lines: reply), {0: "Thing"}, {0: trial}, made)[0]
    assert np.isnan(said).all()
    found = detection(trial, said, made)
    assert (found.n_asked, found.n_parsed, found.n_failed) == (3, 0, 3)
    assert found.status == UNTESTED
    assert found.precision is found.recall is found.precision_low is found.f1 is None


# -- what the answers amount to ----------------------------------------------------------------
def test_figures_are_those_of_all_cases_by_hand():
    """1,000 cases, 40 active. Of 20 active ones 15 are found: recall .75, so 30 of the 40. Of 96
    inactive ones 2 match: 20 of the 960. Precision is 30 of 50."""
    active = np.arange(1000) < 40
    made, _ = population(active)
    trial = DetectionTrial(np.r_[np.arange(20), np.arange(100, 196)], active)
    answers = np.r_[np.arange(20) < 15, np.arange(96) < 2].astype(float)
    found = detection(trial, answers, made)
    assert (found.recall, found.precision) == (0.75, pytest.approx(30 / 50))
    assert found.f1 == pytest.approx(2 * 0.75 * 0.6 / 1.35)
    assert (found.n_active, found.n_inactive, found.n_asked, found.n_failed) == (40, 960, 116, 0)
    assert (found.true_positives, found.false_negatives) == (15, 5)
    assert (found.true_negatives, found.false_positives) == (94, 2)
    assert found.recall_low == pytest.approx(0.55, abs=0.01)
    assert found.precision_low < 0.5 < found.precision_low_at_best
    assert found.status == SUPPORTED
    assert detection(trial, np.r_[np.ones(20), np.zeros(96)], made).status == VERIFIED
    assert detection(trial, np.r_[np.arange(20) < 9, np.zeros(96)], made).status == UNSUPPORTED


def test_answers_that_cannot_be_read_count_on_neither_side():
    active = np.arange(1000) < 40
    made, _ = population(active)
    trial = DetectionTrial(np.r_[np.arange(20), np.arange(100, 196)], active)
    answers = np.r_[np.arange(20) < 15, np.arange(96) < 2].astype(float)
    answers[[0, 1, 2, 3, 16, 20, 22, 23]] = np.nan
    found = detection(trial, answers, made)
    assert (found.n_asked, found.n_parsed, found.n_failed) == (116, 108, 8)
    assert found.recall == pytest.approx(11 / 15)
    alarms = 1 / 93
    assert found.precision == pytest.approx(40 * 11 / 15 / (40 * 11 / 15 + 960 * alarms))


def test_no_alarm_among_few_cases_is_not_none():
    """A latent on half a per cent of the cases: 20 inactive cases show nothing, 1,500 do."""
    active = np.arange(4000) < 20
    made, _ = population(active)
    for n, enough in ((20, False), (1500, True)):
        trial = DetectionTrial(np.r_[np.arange(20), np.arange(100, 100 + n)], active)
        found = detection(trial, np.r_[np.ones(20), np.zeros(n)], made)
        assert (found.precision, found.recall) == (1, 1)
        assert found.precision_low == found.precision_low_at_best
        assert (found.precision_low >= 0.5) is enough
        assert found.status == (VERIFIED if enough else SUPPORTED)


def test_a_judge_that_always_says_yes_is_as_precise_as_the_rate():
    active = np.arange(200) < 120
    made, _ = population(active)
    trial = DetectionTrial(np.arange(200), active)
    found = detection(trial, np.ones(200), made)
    assert (found.precision, found.recall) == (pytest.approx(0.6), 1)
    assert found.precision_low < 0.6
    assert found.status == UNSUPPORTED  # above .5, and no better than the rate
    assert detection(trial, np.zeros(200), made).to_dict()["precision"] is None


@pytest.mark.parametrize("side", [0, 1])
def test_few_users_on_a_side_test_nothing(side):
    active = np.tile([True, False], 100)
    user = np.repeat(np.arange(100), 2)
    made, _ = population(active, user=user.tolist())
    rows = np.flatnonzero((user < 9) | (active == bool(side)))
    found = detection(DetectionTrial(rows, active), active[rows].astype(float), made)
    assert found.precision_low is found.recall_low is found.precision_low_at_best is None
    assert found.status == UNTESTED


def test_what_was_learned_by_heart_does_not_pass():
    """Found only where the recommendation was that of an example."""
    active = np.arange(400) < 80
    made, _ = population(active, top=[2] * 60 + [1] * 340)
    trial = DetectionTrial(np.arange(400), active)
    answers = (np.arange(400) < 60).astype(float)
    plain, without = (detection(trial, answers, made, seen) for seen in (None, np.array([2])))
    assert (plain.status, without.status) == (VERIFIED, SUPPORTED)
    assert (plain.recall, plain.precision) == (without.recall, without.precision) == (0.75, 1)
    assert without.recall_low == pytest.approx(0, abs=1e-9)
    nothing_left = detection(trial, answers, made, np.array([1, 2]))
    assert nothing_left.recall_low is nothing_left.precision_low_at_best is None
    assert nothing_left.status == SUPPORTED


# -- a judge whose precision and recall are known -----------------------------------------------
def found_by(precision, recall, n_draws, rate=0.05, n=6000, n_users=300, alike=0.0):
    """What several draws of cases say of a judge that is planted on all of them.

    Users differ in length, and a share ``alike`` of the alarms is of a tenth of the users.
    """
    rng = np.random.default_rng(0)
    user = np.sort(
        np.r_[np.arange(n_users), (n_users * rng.random(n - n_users) ** 1.5).astype(int)]
    )
    active = rng.random(n) < rate
    yes = np.zeros(n, dtype=bool)
    yes[rng.permutation(np.flatnonzero(active))[: round(recall * active.sum())]] = True
    n_alarms = round(yes.sum() * (1 - precision) / precision)
    weight = np.where(user % 10 == 0, 1 + 9 * alike / (1 - alike + 1e-9), 1.0) * ~active
    yes[rng.choice(n, n_alarms, replace=False, p=weight / weight.sum())] = True
    made, sampler = population(active, user=user.tolist())
    for seed in range(n_draws):
        sampler.seed = seed
        trial = detection_trial(sampler, 0, 1000, 20)
        yield detection(trial, yes[trial.rows].astype(float), made)


@pytest.mark.end_to_end
@pytest.mark.parametrize(("precision", "recall"), [(0.5, 0.9), (0.8, 0.6), (0.95, 0.95)])
def test_estimates_are_right_on_average_and_bounds_below_the_truth(precision, recall):
    found = list(found_by(precision, recall, 200))
    assert np.mean([f.recall for f in found]) == pytest.approx(recall, abs=0.02)
    ratios = [(1 - f.precision) / f.precision for f in found]
    assert np.mean(ratios) == pytest.approx((1 - precision) / precision, rel=0.1)
    assert np.mean([f.precision_low <= precision for f in found]) >= 0.95
    assert np.mean([f.recall_low <= recall for f in found]) >= 0.95


@pytest.mark.end_to_end
@pytest.mark.parametrize("alike", [0.0, 0.5])
def test_a_judge_right_half_of_the_times_is_seldom_verified(alike):
    found = list(found_by(0.5, 0.9, 200, alike=alike))
    assert np.mean([f.status == VERIFIED for f in found]) <= 0.05
    better = list(found_by(0.9, 0.9, 50, alike=alike))
    assert np.mean([f.status == VERIFIED for f in better]) >= 0.9
