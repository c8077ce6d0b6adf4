"""How much of the score variance a few concepts explain, chosen one after another."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse

from helpers.toy import catalog, head, random_cases, sparse
from recsae.capture.cases import ndcg_of_states
from recsae.evaluation.share import RIDGE, SIZES, named_share
from recsae.recommender.metrics import ndcg_of_lists
from recsae.recommender.score_metric import score_metric

WIDTH = 5
RECOMMENDABLE = catalog().recommendable
RNG = np.random.default_rng(0)
HEAD = head(RNG.normal(size=(9, WIDTH)))


def codes_and_cases(n: int, m: int, mix: np.ndarray, noise: float, seed: int):
    """Activations, and cases whose states are their mixture plus noise, with the lists of those."""
    rng = np.random.default_rng(seed)
    code = rng.uniform(0.5, 2, (n, m)) * (rng.random((n, m)) < 0.3)
    states = code @ mix + 0.7 + noise * rng.normal(size=(n, mix.shape[1]))
    made = random_cases(rng, n, 10, width=mix.shape[1])
    lists = np.argsort(-states @ HEAD.items.numpy()[1:].T, axis=1, kind="stable") + 1
    return sparse(code), replace(made, states=states.astype(np.float32), top_items=lists)


def explained(states: np.ndarray, guess: np.ndarray) -> float:
    """1 - sum ||E_c (x - x_hat)||^2 / sum ||E_c (x - mean)||^2, through the scores themselves."""
    items = HEAD.items.numpy()[RECOMMENDABLE].astype(np.float64)

    def centred(x: np.ndarray) -> np.ndarray:
        scores = x @ items.T
        return scores - scores.mean(1, keepdims=True)

    lost, spread = centred(states - guess), centred(states - states.mean(0))
    return 1 - np.square(lost).sum() / np.square(spread).sum()


def least_squares(
    code: np.ndarray, states: np.ndarray, test: np.ndarray, ridge: bool
) -> np.ndarray:
    """Ridge by the normal equations with an intercept, as a textbook writes it."""
    mean, state_mean = code.mean(0), states.mean(0)
    gram = (code - mean).T @ (code - mean) / len(code)
    penalty = RIDGE * np.trace(gram) / len(gram) if ridge else 0.0
    weights = np.linalg.solve(
        gram + penalty * np.eye(len(gram)), (code - mean).T @ (states - state_mean) / len(code)
    )
    return (test - mean) @ weights + state_mean


def test_the_metric_is_what_an_error_does_to_scores():
    error = np.random.default_rng(1).normal(size=WIDTH)
    scores = HEAD.items.numpy()[1:].astype(np.float64) @ error
    metric = score_metric(HEAD, RECOMMENDABLE, WIDTH)
    assert error @ metric @ error == pytest.approx(
        np.square(scores - scores.mean()).sum(), rel=1e-5
    )


def test_the_metric_does_not_see_what_all_items_share_nor_padding():
    table = HEAD.items.numpy()
    shifted = table + np.arange(WIDTH)
    shifted[0] = 1e6
    one = score_metric(HEAD, RECOMMENDABLE, WIDTH)
    np.testing.assert_allclose(score_metric(head(shifted), RECOMMENDABLE, WIDTH), one, atol=1e-4)
    assert np.array_equal(score_metric(None, RECOMMENDABLE, 3), np.eye(3))


def values(found):
    return {size: share.value for size, share in found.shares.items()}


def test_the_size_of_an_activation_does_not_matter():
    mix = RNG.normal(size=(12, WIDTH))
    fit, test = (codes_and_cases(400, 12, mix, 0.5, seed) for seed in (1, 2))
    size = scipy.sparse.diags(10.0 ** np.arange(-3, 9, dtype=np.float64))
    scaled = [((code @ size).tocsr(), made) for code, made in (fit, test)]
    one, other = (named_share(*both, np.arange(12), HEAD) for both in ((fit, test), scaled))
    assert values(other) == pytest.approx(values(one), abs=1e-5)


def test_the_interval_is_that_of_a_bootstrap_over_users():
    mix = RNG.normal(size=(6, WIDTH))
    fit, test = (codes_and_cases(400, 6, mix, 1.0, seed) for seed in (1, 2))
    found = named_share(fit, test, np.arange(6), HEAD).shares[8]
    states, user = test[1].states.astype(np.float64), test[1].user
    fitted = (code.toarray().astype(np.float64) for code in (fit[0], test[0]))
    train, other = fitted
    guess = least_squares(train, fit[1].states.astype(np.float64), other, ridge=True)
    metric = score_metric(HEAD, RECOMMENDABLE, WIDTH)
    lost, total = (
        np.bincount(user, np.einsum("nd,de,ne->n", v, metric, v))
        for v in (states - guess, states - states.mean(0))
    )
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(len(lost), np.full(len(lost), 1 / len(lost)), 4000)
    error = np.std(1 - (drawn @ lost) / (drawn @ total))
    value, low, high = found.interval()
    assert low < value < high
    assert (high - low) / (2 * 1.96) == pytest.approx(error, rel=0.25)


@pytest.mark.parametrize("size", [3, 8])
def test_states_that_are_linear_in_the_activations_are_explained_wholly(size):
    mix = RNG.normal(size=(size, WIDTH))
    found = named_share(
        codes_and_cases(600, size, mix, 0.0, 1),
        codes_and_cases(300, size, mix, 0.0, 2),
        np.arange(size),
        HEAD,
    )
    assert values(found) == pytest.approx(dict.fromkeys(SIZES, 1.0), abs=1e-6)
    assert found.ndcg_kept.value == pytest.approx(1, abs=0.01)
    assert sorted(found.chosen) == list(range(size))


def test_one_concept_by_hand():
    # d = 1: activations 0 and 2 in equal parts, states 1 and 4. mean 1, variance 1, covariance 1.5;
    # the weight is 1.5 / (1 + RIDGE): held-out states 1 and 5 at activations 0 and 2 become
    # 2.5 -+ 1.5 / (1 + RIDGE), against a mean of 3.
    def both(states):
        made = random_cases(np.random.default_rng(0), 2, 1, width=1)
        array = np.array(states, dtype=np.float32)[:, None]
        return sparse([[0.0], [2.0]]), replace(made, states=array)

    w = 1.5 / (1 + RIDGE)
    lost = (1 - (2.5 - w)) ** 2 + (5 - (2.5 + w)) ** 2
    found = named_share(both([1, 4]), both([1, 5]), np.array([0]), None)
    assert values(found)[8] == pytest.approx(1 - lost / 8, rel=1e-6)
    assert np.isnan(found.ndcg_kept.value)  # without a linear head there are no lists


@pytest.mark.parametrize("candidates", [range(12), [3, 5, 8, 11]])
def test_share_and_ndcg_equal_textbook_ridge_on_the_chosen_ones(candidates):
    mix = RNG.normal(size=(12, WIDTH))
    fit, test = (codes_and_cases(400, 12, mix, 0.5, seed) for seed in (1, 2))
    found = named_share(fit, test, np.array(candidates), HEAD)
    assert set(found.chosen) == set(candidates)
    for size in SIZES:
        picked = found.chosen[:size]
        guess = least_squares(
            fit[0].toarray()[:, picked].astype(np.float64),
            fit[1].states.astype(np.float64),
            test[0].toarray()[:, picked].astype(np.float64),
            ridge=True,
        )
        assert values(found)[size] == pytest.approx(explained(test[1].states, guess), abs=1e-5)
    before = ndcg_of_states(test[1].states, test[1], HEAD).mean()
    after = ndcg_of_states(guess.astype(np.float32), test[1], HEAD).mean()
    assert found.ndcg_kept.value == pytest.approx(after / before, abs=1e-3)
    captured = replace(test[1], top_items=test[1].top_items[:, ::-1])
    other = named_share(fit, (test[0], captured), np.array(candidates), HEAD)
    before = ndcg_of_lists(captured.top_items, captured.targets).mean()
    assert values(other) == values(found)
    assert other.ndcg_kept.value == pytest.approx(after / before, abs=1e-3)


def test_each_choice_is_the_one_that_explains_most():
    """Against trying every concept at every step by least squares."""
    mix = RNG.normal(size=(7, WIDTH)) * np.array([1, 3, 0.3, 2, 0.1, 1.5, 0.7])[:, None]
    code, made = codes_and_cases(300, 7, mix, 0.3, 3)
    found = named_share((code, made), (code, made), np.arange(7), HEAD)
    dense, states = code.toarray().astype(np.float64), made.states.astype(np.float64)

    def share(picked: list[int]) -> float:
        part = dense[:, picked]
        return explained(states, least_squares(part, states, part, ridge=False))

    chosen: list[int] = []
    for _ in range(7):
        rest = [j for j in range(7) if j not in chosen]
        chosen.append(max(rest, key=lambda j: share([*chosen, j])))
    assert found.chosen == chosen
    best_pair = max(share(list(p)) for p in itertools.combinations(range(7), 2))
    assert share(found.chosen[:2]) >= 0.9 * best_pair


def test_a_concept_that_says_the_same_as_another_is_not_chosen_twice():
    mix = RNG.normal(size=(3, WIDTH))
    code, made = codes_and_cases(200, 3, mix, 0.1, 4)
    doubled = sparse(np.hstack([code.toarray(), 2 * code.toarray()]))
    found = named_share((doubled, made), (doubled, made), np.arange(6), HEAD)
    assert sorted(j % 3 for j in found.chosen) == [0, 1, 2]


def test_at_most_32_are_chosen():
    mix = RNG.normal(size=(40, WIDTH))
    fit, test = (codes_and_cases(500, 40, mix, 0.2, seed) for seed in (1, 2))
    found = named_share(fit, test, np.arange(40), HEAD)
    assert len(found.chosen) == len(set(found.chosen)) == 32
    assert values(found)[8] < values(found)[16] < values(found)[32] < 1


@pytest.mark.parametrize("candidates", [[], [2]], ids=["none", "one that is never active"])
def test_nothing_to_explain_with(candidates):
    mix = RNG.normal(size=(3, WIDTH))
    fit, test = (codes_and_cases(100, 3, mix, 0.2, seed) for seed in (1, 2))
    silent = fit[0].toarray()
    silent[:, 2] = 0
    found = named_share((sparse(silent), fit[1]), test, np.array(candidates, dtype=np.int64), HEAD)
    assert values(found) == {8: 0.0, 16: 0.0, 32: 0.0}
    assert (found.ndcg_kept.value, found.chosen) == (0.0, [])


def test_concepts_that_have_nothing_to_do_with_the_states():
    rng = np.random.default_rng(5)
    _, made = codes_and_cases(400, 3, RNG.normal(size=(3, WIDTH)), 0.2, 1)
    noise = sparse(rng.random((400, 8)) * (rng.random((400, 8)) < 0.3))
    found = named_share((noise, made), (noise[::-1], made), np.arange(8), HEAD)
    assert -0.1 < values(found)[8] < 0.05
    assert np.isfinite(found.ndcg_kept.value)
