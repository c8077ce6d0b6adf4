"""Which cases are shown, which item is marked, and what the answers amount to."""

import numpy as np
import pytest

from helpers import toy
from helpers.judges import Judge
from helpers.llm_server import data_of
from recsae.core import columns as C
from recsae.core.intervals import balanced_accuracy_bound
from recsae.evaluation.language.judging import (
    Trial,
    fuzzing_trial,
    judge,
    judgement,
)
from recsae.evaluation.language.prompts import FUZZ, LEVEL
from recsae.evaluation.language.recsae_protocol import paper_scores, paper_summary
from recsae.evaluation.language.sampling import CaseSampler, rises
from recsae.evaluation.recsae_protocol import Drawn, Picked


def sampler(activations, user, states=None, seed=0):
    """One latent on cases that differ in nothing else."""
    n = len(activations)
    made = toy.cases(user, [[1]] * n, [[1]] * n, states=states)
    return CaseSampler(toy.sparse(np.array([activations]).T), made, seed)


def no_examples(n):
    return np.full(n, -1)


# -- sampling ----------------------------------------------------------------------------------
def test_actives_are_spread_over_quantiles():
    values = np.r_[np.arange(1, 101), np.zeros(50)]
    found = sampler(values, list(range(150))).active(0, 5)
    assert values[found].tolist() == [1, 26, 51, 75, 100]


def test_each_user_gives_one_case_where_there_are_enough_users():
    user = np.repeat(np.arange(10), 20)
    rng = np.random.default_rng(0)
    one = sampler(rng.uniform(0.1, 1, 200), user.tolist())
    assert sorted(user[one.active(0, 10)]) == list(range(10))
    counts = np.bincount(user[one.active(0, 15)])
    assert counts.sum() == 15
    assert counts.max() == 2


def test_fewer_than_asked_are_all_taken_and_none_gives_none():
    assert sorted(sampler([0, 3, 0, 1], [0, 0, 1, 1]).active(0, 10)) == [1, 3]
    assert sampler([0, 0], [0, 1]).active(0, 10).tolist() == []


def test_inactives_are_half_random_and_half_near():
    """Actives point along x; of the others three do nearly so."""
    states = np.array([[1, 0]] * 5 + [[1, 0.1]] * 3 + [[0, 1]] * 92)
    one = sampler([1] * 5 + [0] * 95, list(range(100)), states)
    found = one.inactive(0, one.unit_states(np.array([0])), 6)
    assert len(set(found)) == 6
    assert found.min() >= 5
    assert sorted(found[3:]) == [5, 6, 7]


def test_sampling_depends_on_the_seed_alone():
    def drawn(seed):
        values = np.random.default_rng(1).random(200) * (np.arange(200) % 2)
        one = sampler(values, list(range(200)), seed=seed)
        few = one.random(5)
        quiet = one.inactive(0, one.unit_states(few), 6)
        return [x.tolist() for x in (few, one.more_active(0, few, 7), quiet, one.active(0, 7))]

    assert drawn(0) == drawn(0)
    assert all(a != b for a, b in zip(drawn(0)[:3], drawn(1)[:3], strict=True))


def test_every_case_is_drawn_as_often_as_any_other():
    """10 of 37 at random, and of the 12 active ones 4 more: over 2,000 seeds."""
    values = np.where(np.arange(37) % 3 == 1, np.arange(37), 0)
    drawn, more, one = np.zeros(37), np.zeros(37), sampler(values, list(range(37)))
    for one.seed in range(2000):
        few = one.random(10)
        assert len(set(few)) == 10
        drawn[few] += 1
        more[one.more_active(0, np.zeros(0, dtype=np.int64), 4)] += 1
    np.testing.assert_allclose(drawn / 2000, 10 / 37, atol=0.05)
    np.testing.assert_allclose(more[values > 0] / 2000, 4 / 12, atol=0.05)
    assert more[values == 0].sum() == 0


def test_more_active_ones_are_others_and_of_all_strengths():
    values = np.r_[np.arange(1.0, 101), np.zeros(50)]
    one = sampler(values, list(range(150)))
    besides = np.arange(50, 150)  # of the active ones the weaker half is left
    found = one.more_active(0, besides, 5)
    assert len(found) == 5
    assert (found // 10).tolist() == [0, 1, 2, 3, 4]
    assert one.more_active(0, np.arange(98), 5).tolist() == [98, 99]
    assert one.more_active(0, np.arange(98), 0).tolist() == []
    assert one.random(1000).tolist() == list(range(150))


# -- which item drives a latent ----------------------------------------------------------------
def test_rises_along_a_sequence():
    made = toy.cases([0] * 5 + [1] * 2, [[1]] * 7, [[1]] * 7)
    level = np.array([0, 2, 0, 1, 4, 3, 3], dtype=np.float32)
    raised, counts = rises(level, made, np.array([4, 6]), 6)
    nan = np.nan
    np.testing.assert_equal(raised, [[3, 1, -2, 2, 0, nan], [0, 3, nan, nan, nan, nan]])
    assert counts.tolist() == [[True, True, False, False, False, False], [True] * 2 + [False] * 4]


def test_positions_that_are_not_stored_are_unknown():
    made = toy.cases([0] * 5, [[1]] * 5, [[1]] * 5).take(np.array([0, 1, 3, 4]))
    raised, counts = rises(np.ones(4, dtype=np.float32), made, np.array([3]), 5)
    np.testing.assert_equal(raised, [[0, np.nan, np.nan, np.nan, 1]])
    assert counts.tolist() == [[True, True, False, False, False]]


def histories(items, levels):
    """One user per row of items, with the latent's level after each of them."""
    made = toy.sequences(*[[*row, 1] for row in items])
    n = sum(map(len, items))
    user = [u for u, row in enumerate(items) for _ in row]
    cases = toy.cases(user, [[1]] * n, [[1]] * n)
    object.__setattr__(cases, "sequences", made)
    return CaseSampler(toy.sparse(np.concatenate(levels)[:, None]), cases, 0)


def test_right_marks_are_on_what_raised_most_since_the_latent_was_off():
    """Item 5 raised it more, but that was taken back; item 2 never raised it."""
    one = histories([[5, 2, 3, 4, 2]] * 8, [[9, 0, 1, 4, 4]] * 8)
    trial = fuzzing_trial(one, 0, 40)
    ends = one.cases.position[trial.rows] == 4
    items = [5, 2, 3, 4, 2][::-1]
    right = {items[m] for m in trial.marked[ends & trial.truth]}
    wrong = {items[m] for m in trial.marked[ends & ~trial.truth]}
    assert right == {4}
    assert wrong == {2}
    assert trial.truth.sum() * 2 == len(trial.rows)


def test_no_mark_without_an_item_that_did_not_raise():
    assert len(fuzzing_trial(histories([[1, 2]] * 4, [[1, 2]] * 4), 0, 40).rows) == 0
    same = histories([[3, 3]] * 4, [[1, 1]] * 4)  # the same item both times
    assert len(fuzzing_trial(same, 0, 40).rows) == 0


# -- asking ------------------------------------------------------------------------------------
def test_answers_find_their_cases():
    """Items are 1 or 4; the judge says 10 to item 4, whatever the truth."""
    items = np.random.default_rng(0).choice([1, 4], 23)
    made = toy.cases(list(range(23)), items[:, None], [[1]] * 23)
    object.__setattr__(made, "sequences", toy.sequences(*[[i, 1] for i in items.tolist()]))
    trials = [
        ("first", Trial(np.arange(23), np.arange(23) < 9, no_examples(23))),
        ("second", Trial(np.arange(5), np.arange(5) < 2, no_examples(5))),
    ]
    thing = Judge(lambda lines: {s["id"]: 10 * ("Thing" in s["items"][0]) for s in lines[1:]})
    said = judge(thing, LEVEL, trials, made)
    assert [(s / 10).tolist() for s in said] == [(items == 4).tolist(), (items[:5] == 4).tolist()]
    assert len(thing.prompts) == 3 + 1
    assert max(len(data_of(p)) for p in thing.prompts) - 1 <= 10


def test_every_question_is_balanced():
    truth = np.arange(40) < 20
    made = toy.cases(list(range(40)), [[1]] * 40, [[1]] * 40)
    object.__setattr__(
        made, "sequences", toy.sequences(*[[4 if t else 1, 1] for t in truth.tolist()])
    )
    counted = Judge(lambda lines: "")
    judge(counted, LEVEL, [("d", Trial(np.arange(40), truth, no_examples(40)))], made)
    assert [sum("Thing" in p for p in q.split("\n")) for q in counted.prompts] == [5] * 4


def test_the_truth_changes_no_byte_of_the_questions():
    rng = np.random.default_rng(0)
    made = toy.random_cases(rng, 60, 30)
    asked = []
    for _ in range(2):
        first, second = Judge(lambda lines: ""), Judge(lambda lines: "")
        trial = Trial(np.arange(10), np.arange(10) < 5, no_examples(10))
        other = trial._replace(truth=rng.permutation(trial.truth))
        judge(first, LEVEL, [("d", trial)], made)
        judge(second, LEVEL, [("d", other)], made)
        asked += [first.prompts, second.prompts]
    assert all(prompts == asked[0] for prompts in asked)
    assert len(asked[0]) == 1


def test_marks_are_objects_in_the_history():
    one = histories([[5, 2, 3]], [[1, 1, 1]])
    trial = Trial(np.array([2, 2]), np.array([True, False]), np.array([0, 2]))
    marked = Judge(lambda lines: "")
    judge(marked, FUZZ, [("d", trial)], one.cases)
    found = [
        [item["marked"][:9] if isinstance(item, dict) else None for item in line["items"]]
        for line in data_of(marked.prompts[0])[1:]
    ]
    assert sorted(found, key=str) == [["Good, the", None, None], [None, None, "Star Trek"]]


def test_levels_are_asked_about_one_recommendation():
    made = toy.cases([0, 1], [[1]] * 2, [[2, 3, 4]] * 2)
    trial = Trial(np.arange(2), np.array([True, False]), no_examples(2))
    level = Judge(lambda lines: {s["id"]: 7 for s in lines[1:]})
    assert judge(level, LEVEL, [("d", trial)], made)[0].tolist() == [7, 7]
    assert all(len(s["recommended"]) == 1 for s in data_of(level.prompts[0])[1:])


@pytest.mark.parametrize("reply", ["", "no idea", '{"ids": "wrong"}', '["yes"]'])
def test_a_reply_that_cannot_be_read_is_no_answer(reply):
    made = toy.cases([0, 1], [[1]] * 2, [[1]] * 2)
    trial = Trial(np.arange(2), np.array([True, False]), no_examples(2))
    said = judge(Judge(lambda lines: reply), LEVEL, [("d", trial)], made)[0]
    assert np.isnan(said).all()
    found = judgement(trial, said, made).to_dict()
    assert (found["n_asked"], found["n_parsed"], found["n_failed"]) == (2, 0, 2)
    assert found["balanced_accuracy"] is found["ci_low"] is None


# -- judgements --------------------------------------------------------------------------------
def many(n_users, top=None):
    """Two cases per user, one active and one not."""
    user = np.repeat(np.arange(n_users), 2).tolist()
    made = toy.cases(user, [[1]] * len(user), [[t] for t in top or [1] * len(user)])
    truth = np.arange(len(user)) % 2 == 0
    return Trial(np.arange(len(user)), truth, no_examples(len(user))), made


def test_counts_by_hand():
    """Eight cases; one positive and one negative without an answer."""
    trial, made = many(4)
    said = np.array([1, 0, 1, 1, 0, 0, np.nan, np.nan])
    assert judgement(trial, said, made).to_dict() == {
        "n_asked": 8,
        "n_parsed": 6,
        "n_failed": 2,
        "true_positives": 2,
        "false_negatives": 1,
        "true_negatives": 2,
        "false_positives": 1,
        "balanced_accuracy": pytest.approx(2 / 3),
        "ci_low": None,
    }


def test_the_bound_is_over_users():
    trial, made = many(12)
    said = trial.truth.astype(float)
    said[0], said[3] = 0, np.nan
    per_user = np.ones((12, 1))
    hits, answered = per_user.copy(), per_user.copy()
    hits[0], answered[1] = 0, 0
    expected = balanced_accuracy_bound(hits, per_user, answered, answered)
    found = judgement(trial, said, made).to_dict()
    assert found["balanced_accuracy"] == pytest.approx(expected[0][0])
    assert found["ci_low"] == pytest.approx(expected[1][0])
    assert found["ci_low"] < found["balanced_accuracy"]
    said[:6] = np.nan
    assert judgement(trial, said, made).ci_low is None  # nine users


def test_what_was_learned_by_heart_does_not_pass():
    """Right only where the recommendation was that of an example: without those, at chance."""
    trial, made = many(40, top=[2] * 40 + [1] * 40)
    said = trial.truth.astype(float)
    said[40:] = (np.arange(40) // 2 % 2).astype(float)
    plain, without = (judgement(trial, said, made, seen) for seen in (None, np.array([2])))
    assert plain.balanced_accuracy == without.balanced_accuracy == 0.75
    assert without.ci_low < 0.5 < plain.ci_low
    nothing_left = judgement(trial, said, made, np.array([1, 2]))
    assert nothing_left.ci_low is None


# -- the paper's protocol ----------------------------------------------------------------------
def picked(latent, row):
    return Picked(np.array(latent), np.array(row), np.zeros(len(row), dtype=np.int64))


def test_levels_above_five_are_active():
    """Latent 0: two of three high and all of two inactive right, one high without a level;
    latent 2 has no readable level, latent 3 no high sequence, and nobody explained latent 1."""
    high = picked([0, 0, 0, 0, 1, 2], [0, 1, 2, 3, 0, 0])
    quiet = picked([0, 0, 1, 2, 3], [4, 5, 4, 4, 4])
    items = toy.sequences(*[[i, 1] for i in (1, 2, 3, 4, 5, 6)])
    made = toy.cases(list(range(6)), [[1]] * 6, [[7]] * 6)
    object.__setattr__(made, "sequences", items)
    level = {"Alien": 6, "Star Wars": 10, "Star Trek": 5, "The Thing": 11, "Good": 5, "Grease": 0}

    def say(lines):
        if lines[0]["description"] == "two":
            return "cannot say"
        return {
            line["id"]: next(v for k, v in level.items() if line["items"][0].startswith(k))
            for line in lines[1:]
        }

    drawn = Drawn((picked([], []), picked([], [])), (high, quiet))
    sentences = {0: "zero", 2: "two", 3: "three"}
    found = paper_scores(Judge(say), sentences, drawn, made, 4)
    confidence = pytest.approx(4 / 5)
    assert {latent: score.to_dict() for latent, score in found.items()} == {
        0: {
            C.RECALL: pytest.approx(2 / 3),
            C.SPECIFICITY: 1.0,
            "confidence": confidence,
            "n_asked": 6,
            "n_failed": 1,
        }
    }
    assert paper_summary(found).to_dict() == {
        "n": 1,
        "at_0_8": 1,
        "at_0_9": 0,
        "mean_recall": pytest.approx(2 / 3),
        "mean_specificity": 1.0,
        "mean_confidence": confidence,
    }
    assert paper_summary({}).mean_confidence is None
