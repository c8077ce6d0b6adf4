"""The RecSAE paper's score, on codes of a few rows worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from helpers import toy
from recsae.concepts.dictionary import ConceptDictionary
from recsae.concepts.label_steps import Predictions
from recsae.core import columns as C
from recsae.evaluation.recsae_protocol import activation_levels, recsae_scores

N = 40


class Says:
    """A labeler whose label of latent j is true on given rows, the same for all cases."""

    def __init__(self, *truths):
        self.truths = np.array(truths).T

    def predict(self, labels, cases):
        n = len(labels)
        levels = toy.sparse(self.truths[cases.sequence]).tocsc()
        return Predictions(levels, np.arange(n), np.ones(n, dtype=np.int64))


def scores(code, *truths, known=None, seed=0):
    """Scores by latent; construction cases are the held-out ones unless given."""
    code = np.array(code, dtype=float).T
    known = code if known is None else np.array(known, dtype=float).T
    dictionary = ConceptDictionary(pd.DataFrame({C.LATENT: range(code.shape[1])}), pd.DataFrame())
    sides = [
        (toy.sparse(c), toy.cases(list(range(len(c))), [[1]] * len(c), [[1]] * len(c)))
        for c in (known, code)
    ]
    table = recsae_scores(*sides, dictionary, Says(*truths), seed)
    return table.set_index(C.LATENT)


def column(*values):
    return [*values, *[0] * (N - len(values))]


TEN = column(*range(1, 11))  # alone it has the levels 1 to 10; 5 to 10 are high
ACTIVE = [value > 0 for value in TEN]
ALWAYS = [True] * N


def test_levels_are_deciles_of_all_positive_activations():
    levels = activation_levels(
        toy.sparse([[1, 0], [0, 2], [3, 0], [4, 5], [0, 6], [7, 8], [9, 10]])
    )
    assert levels.of(np.arange(1, 11)).tolist() == list(range(1, 11))


def test_levels_of_other_activations():
    levels = activation_levels(toy.sparse(np.arange(1, 11)[:, None]))
    assert levels.of(np.array([0.5, 5.2, 99])).tolist() == [1, 5, 10]
    assert activation_levels(toy.sparse([[0]])).of(np.array([3.0])).tolist() == [1]


def test_levels_of_ties_and_of_nothing():
    assert activation_levels(toy.sparse([[2, 2, 2, 2]])).of(np.array([2.0])).tolist() == [10]
    assert activation_levels(toy.sparse([[0, 0]])).of(np.zeros(0)).tolist() == []


def test_levels_are_pooled_over_latents():
    """The small values of one latent are low because those of the other are large."""
    small, large = column(*[1] * 10), column(*[0] * 10, *range(5, 25))
    found = scores([small, large], ALWAYS, ALWAYS)
    assert list(found.index) == [1]


@pytest.mark.parametrize("inverted", [False, True])
def test_a_true_label_is_right_every_time(inverted):
    truth = [a != inverted for a in ACTIVE]  # the level of each truth value is looked up
    assert scores([TEN], truth).loc[0].tolist() == [1.0, 1.0, 1.0]


def test_a_label_that_is_always_true_says_no():
    """16 cases of mean level (5 + ... + 10) / 16 = 2.8: predicted inactive."""
    assert scores([TEN], ALWAYS).loc[0].tolist() == [0.0, 1.0, 0.5]


def test_one_high_row_passes_by_always_answering_no():
    """The paper's weak point: five negatives against one positive."""
    one = column(*[0] * 10, 100)
    found = scores([TEN, one], ACTIVE, ALWAYS)
    assert found.loc[1].tolist() == [0.0, 1.0, pytest.approx(5 / 6)]
    found = scores([TEN, one], ACTIVE, [v > 0 for v in one])
    assert found.loc[1].tolist() == [1.0, 1.0, 1.0]


def test_latents_without_a_high_row_are_dropped():
    low, never = column(*[0] * 20, 0.5, 0.4), column()
    assert list(scores([TEN, low, never], ACTIVE, ALWAYS, ALWAYS).index) == [0]
    assert scores([never], ALWAYS).empty
    assert list(scores([never], ALWAYS).columns) == [C.RECALL, C.SPECIFICITY, "confidence"]


def test_a_latent_that_is_active_everywhere_has_no_negatives():
    found = scores([list(range(1, N + 1))], ALWAYS).loc[0]
    assert found[C.RECALL] == found["confidence"] == 1.0
    assert np.isnan(found[C.SPECIFICITY])


def test_the_expected_level_is_that_of_construction_cases():
    """There the label was false on all high rows, so on held-out cases it is always wrong."""
    rising = list(range(1, N + 1))
    assert scores([TEN], ACTIVE, known=[rising]).loc[0].tolist() == [0.0, 0.0, 0.0]
    nothing = scores([TEN], ACTIVE, known=[column()]).loc[0]
    assert nothing.tolist() == [0.0, 1.0, 0.5]


def test_at_most_five_of_the_ten_highest_are_verified():
    """The label is true on the ten highest rows alone; lower high rows would be missed."""
    many = column(*range(20, 0, -1))
    truth = [i < 10 for i in range(N)]
    found = {tuple(scores([many], truth, seed=s).loc[0]) for s in range(20)}
    assert found == {(1.0, 1.0, 1.0)}


def test_draws_depend_on_the_seed_alone():
    rng = np.random.default_rng(0)
    code = (rng.random((12, N)) * (rng.random((12, N)) < 0.4)).tolist()
    truths = (rng.random((12, N)) < 0.5).tolist()
    first = scores(code, *truths, seed=3)
    pd.testing.assert_frame_equal(first, scores(code, *truths, seed=3))
    assert not first.equals(scores(code, *truths, seed=4))
