"""Probes of hidden states: hand-worked directions, AUCs beside scikit-learn's, honest errors."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from recsae.concepts.attributes.probes import (
    balanced_accuracies,
    best_thresholds,
    class_means,
    clustered_aucs,
    discriminants,
    logistic_probes,
    probe_aucs,
)

BOTH = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], dtype=bool)


def test_class_means_by_hand():
    states = np.array([[4, 1], [2, 1], [0, 3], [0, 1]], dtype=np.float32)
    # task 0: (3, 1) - (0, 2); task 1: (1, 1) - (2, 2)
    assert class_means(states, BOTH).tolist() == [[3, -1], [-1, -1]]


@pytest.mark.parametrize("values", [[3.0, 1.0, 2.0, 0.0], [1.0, 0.0, 1.0, 0.0], [2.0, 2, 2, 2]])
def test_aucs_are_scikit_learns(values):
    values = np.array(values)[:, None].repeat(2, axis=1)
    found = clustered_aucs(values, BOTH, np.arange(4))
    expected = [roc_auc_score(BOTH[:, task], values[:, task]) for task in range(2)]
    assert found.auc == pytest.approx(expected)


def test_errors_are_those_of_the_formula():
    """DeLong's shares from pairs of cases, added up per user."""
    rng = np.random.default_rng(3)
    values, yes = rng.integers(0, 5, 40).astype(float), rng.random(40) < 0.3
    user = np.sort(rng.integers(0, 8, 40))
    wins = (values[yes][:, None] > values[~yes]) + (values[yes][:, None] == values[~yes]) / 2
    share = np.empty(40)
    share[yes] = (wins.mean(1) - wins.mean()) / yes.sum()
    share[~yes] = (wins.mean(0) - wins.mean()) / (~yes).sum()
    n_users = user.max() + 1
    squares = np.square(np.bincount(user, share, minlength=n_users)).sum()
    found = clustered_aucs(values[:, None], yes[:, None], user)
    assert found.auc == pytest.approx(wins.mean())
    assert found.error == pytest.approx(np.sqrt(n_users / (n_users - 1) * squares))


def test_an_answer_that_never_varies_has_no_auc():
    found = clustered_aucs(np.ones((3, 1)), np.ones((3, 1), dtype=bool), np.arange(3))
    assert np.isnan(found.auc).all()
    assert np.isnan(found.low()).all()


def test_a_users_cases_repeated_tell_nothing_new():
    rng = np.random.default_rng(0)
    truth = rng.random((60, 2)) < 0.4
    values, user = truth + rng.normal(size=(60, 2)), np.arange(60)
    once = clustered_aucs(values, truth, user)
    tripled = clustered_aucs(values.repeat(3, 0), truth.repeat(3, 0), user.repeat(3))
    assert tripled.auc == pytest.approx(once.auc)
    assert tripled.error == pytest.approx(once.error)
    as_if_new = clustered_aucs(values.repeat(3, 0), truth.repeat(3, 0), np.arange(180))
    assert (as_if_new.error < 0.6 * once.error).all()


def test_the_lower_bound_holds_where_users_are_alike():
    """True AUC .5: values and answers are drawn per user, five cases each."""
    rng = np.random.default_rng(1)
    truth, values = rng.random((80, 400)) < 0.5, rng.normal(size=(80, 400))
    user = np.arange(80).repeat(5)
    found = clustered_aucs(values.repeat(5, 0), truth.repeat(5, 0), user)
    assert 0.02 <= (found.low() > 0.5).mean() <= 0.08  # 5 % promised


def test_logistic_weights_are_for_raw_states():
    rng = np.random.default_rng(2)
    states = rng.normal(size=(2000, 3)) * [1, 100, 1] + [0, 50, 7]
    states[:, 2] = 7  # never moves
    truth = np.stack([states[:, 0] + states[:, 1] / 100 > 0.5, np.ones(2000, dtype=bool)], axis=1)
    weights = logistic_probes(states.astype(np.float32), truth)
    assert roc_auc_score(truth[:, 0], states @ weights[0]) > 0.999
    assert weights[0, 1] / weights[0, 0] == pytest.approx(0.01, rel=0.1)
    assert not weights[1].any()  # one answer only


def test_a_discriminant_ignores_what_comes_with_the_answer_by_chance():
    """Dimension 1 is twice dimension 0 plus what the answer adds: only the difference tells."""
    rng = np.random.default_rng(3)
    shared, truth = rng.normal(size=4000) * 10, rng.random(4000) < 0.5
    noise = 0.1 * rng.normal(size=4000)
    states = np.stack([shared, 2 * shared + truth + noise], axis=1).astype(np.float32)
    direction = discriminants(states, truth[:, None])[0]
    assert roc_auc_score(truth, states @ direction) > 0.99
    assert roc_auc_score(truth, states[:, 1]) < 0.6


def test_probes_are_tried_on_other_users():
    """The answer depends on the user alone, and so do the states: nothing carries over."""
    rng = np.random.default_rng(4)
    user = np.arange(60).repeat(50)
    own = rng.normal(size=(60, 30))
    random, learned = rng.random(60) < 0.5, own[:, 0] > 0
    truth = np.stack([random, learned], axis=1)[user]
    states = (own[user] + 0.01 * rng.normal(size=(3000, 30))).astype(np.float32)
    found = probe_aucs(states, truth, user)
    assert found.low()[0] < 0.55
    assert found.low()[1] > 0.55


@pytest.mark.parametrize("seed", range(3))
def test_thresholds_are_the_best_there_are(seed):
    rng = np.random.default_rng(seed)
    truth = rng.random((40, 3)) < 0.3
    values = np.round(truth + rng.normal(size=(40, 3)), 1)  # some are tied
    found = best_thresholds(values, truth)
    reached = balanced_accuracies(values, truth, found)
    for task in range(3):
        tried = [
            balanced_accuracy_score(truth[:, task], values[:, task] >= t) for t in values[:, task]
        ]
        assert reached[task] == pytest.approx(max(tried))
