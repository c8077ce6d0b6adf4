"""Matching latents: small dictionaries by hand, every pair at once, and any order of latents."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from helpers.toy import sparse
from recsae.core.errors import InvalidInput
from recsae.sae import matching
from recsae.sae.matching import (
    alike_by_activity,
    best_by_activity,
    best_by_direction,
    one_to_one,
)

SEEDS = st.integers(0, 2**32 - 1)


def matched(one, two, at_least=0.9, best=best_by_direction):
    return one_to_one(best(one, two), best(two, one), at_least).tolist()


def random_code(rng, n_cases, n):
    dense = np.where(rng.random((n_cases, n)) < 0.2, rng.random((n_cases, n)), 0)
    return sparse(dense)


@pytest.mark.parametrize("at_once", [1, 2, 512])
def test_all_pairs_that_are_active_alike(monkeypatch, at_once):
    monkeypatch.setattr("recsae.sae.matching.LATENTS_AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    one, two = random_code(rng, 300, 5), random_code(rng, 300, 4)
    two = sparse(np.column_stack([two.toarray(), 2 * one[:, [3]].toarray(), one[:, [3]].toarray()]))
    both = np.corrcoef(one.toarray().T, two.toarray().T)[:5, 5:]
    found, (mine, other) = alike_by_activity(one, two, 0.05)
    assert found.other.tolist() == best_by_activity(one, two).other.tolist()
    assert list(zip(mine, other, strict=True)) == [tuple(p) for p in np.argwhere(both > 0.05)]
    assert [part.tolist() for part in alike_by_activity(one, two)[1]] == [[3, 3], [4, 5]]
    assert [len(part) for part in alike_by_activity(one, two[:, :0])[1]] == [0, 0]


# -- by direction ----------------------------------------------------------------------------------

THREE = np.array([[1.0, 0, 0], [0, 2, 0], [0, 0, 3]])


def test_a_permuted_dictionary_is_all_matched():
    assert matched(THREE, THREE[[2, 0, 1]]) == [1, 2, 0]


def test_a_direction_that_was_removed_has_no_match():
    assert matched(THREE, THREE[[2, 0]]) == [1, -1, 0]


def test_a_new_direction_is_nobodys_match():
    new = np.r_[THREE, [[1.0, 1, 0]]]
    assert matched(THREE, new) == [0, 1, 2]
    assert matched(new, THREE) == [0, 1, 2, -1]


def test_the_length_of_directions_does_not_count_but_their_sign_does():
    found = best_by_direction(THREE, [[5.0, 0, 0], [0, -1, 0]])
    assert found.other.tolist() == [0, -1, -1]
    assert found.similarity.tolist() == [1, 0, 0]


def test_a_direction_of_no_length_is_like_nothing():
    assert best_by_direction([[0.0, 0, 0]], THREE).other.tolist() == [-1]


def test_nothing_matches_an_empty_dictionary():
    none = np.zeros((0, 3))
    assert matched(THREE, none) == [-1, -1, -1]
    assert matched(none, THREE) == []


def test_a_match_is_mutual_and_above_the_limit():
    one, two = [[1.0, 0], [0.8, 0.6]], [[0.96, 0.28]]
    assert best_by_direction(one, two).similarity == pytest.approx([0.96, 0.936])
    assert matched(one, two) == [0, -1]
    assert matched(one, two, at_least=0.97) == [-1, -1]


def test_parts_of_a_dictionary_are_compared_like_the_whole(monkeypatch):
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(23, 5)), rng.normal(size=(31, 5))
    unit = [d / np.linalg.norm(d, axis=1, keepdims=True) for d in (one, two)]
    cosine = unit[0] @ unit[1].T
    monkeypatch.setattr(matching, "LATENTS_AT_ONCE", 7)
    found = best_by_direction(one, two)
    np.testing.assert_array_equal(found.other, cosine.argmax(1))
    np.testing.assert_allclose(found.similarity, cosine.max(1))


def test_directions_of_different_widths_are_refused():
    with pytest.raises(InvalidInput, match="3 and of 2 dimensions"):
        best_by_direction(THREE, [[1.0, 0]])


# -- by activity -----------------------------------------------------------------------------------

CODE = sparse([[1, 0, 0], [2, 0, 0], [0, 3, 0], [0, 0, 1], [0, 0, 4], [0, 1, 0]])


def test_latents_are_known_by_when_they_are_active():
    other = sparse(5 * CODE.toarray()[:, [1, 2, 0]])
    assert matched(CODE, other, best=best_by_activity) == [2, 0, 1]


def test_a_latent_that_is_never_active_or_never_together_with_another_is_like_nothing():
    other = sparse([[0, 0], [0, 0], [1, 0], [0, 0], [0, 0], [0, 0]])
    found = best_by_activity(CODE, other)
    assert found.other.tolist() == [-1, 0, -1]
    assert best_by_activity(other, CODE).other.tolist() == [1, -1]


def test_a_latent_that_never_changes_is_like_nothing():
    always = sparse(np.full((6, 1), 0.1))
    assert best_by_activity(always, CODE).similarity.tolist() == [0]
    assert best_by_activity(CODE, always).similarity.tolist() == [0, 0, 0]


def test_correlations_are_pearsons_and_parts_are_compared_like_the_whole(monkeypatch):
    rng = np.random.default_rng(0)
    one, two = random_code(rng, 80, 13), random_code(rng, 80, 9)
    everything = np.corrcoef(one.toarray().T, two.toarray().T)[:13, 13:]
    monkeypatch.setattr(matching, "LATENTS_AT_ONCE", 4)
    found = best_by_activity(one, two)
    np.testing.assert_array_equal(found.other, everything.argmax(1))
    np.testing.assert_allclose(found.similarity, everything.max(1), rtol=1e-6)


def test_no_table_of_all_pairs_is_made():
    n = 8_192
    one = scipy.sparse.csr_matrix((np.ones(n), (np.arange(n), np.arange(n))), (n, n))
    tracemalloc.start()
    found = best_by_activity(one, one[:, ::-1])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found.other == np.arange(n)[::-1]).all()
    assert found.similarity == pytest.approx(1)
    assert peak < n * n * 8 / 2


def test_codes_of_different_cases_are_refused():
    with pytest.raises(InvalidInput, match="6 and of 5 cases"):
        best_by_activity(CODE, CODE[:5])


# -- any dictionaries ------------------------------------------------------------------------------


@given(SEEDS, st.sampled_from(["direction", "activity"]))
def test_matches_follow_latents_into_any_order(seed, how):
    rng = np.random.default_rng(seed)
    if how == "direction":
        best, one = best_by_direction, rng.normal(size=(12, 6))
        two = one[:9] + 0.3 * rng.normal(size=(9, 6))
    else:
        best, one = best_by_activity, random_code(rng, 60, 12)
        two = sparse(one.toarray()[:, :9] * rng.uniform(0.5, 2, (60, 9)))
    order, other_order = rng.permutation(12), rng.permutation(9)
    found = np.array(matched(one, two, 0.5, best))
    if how == "direction":
        moved = matched(one[order], two[other_order], 0.5, best)
    else:
        moved = matched(one[:, order], two[:, other_order], 0.5, best)
    assert [other_order[m] if m >= 0 else -1 for m in moved] == found[order].tolist()


@given(SEEDS)
def test_matches_are_one_to_one_the_same_from_both_sides(seed):
    rng = np.random.default_rng(seed)
    one, two = rng.normal(size=(15, 3)), rng.normal(size=(11, 3))
    there, back = matched(one, two, 0.5), matched(two, one, 0.5)
    assert [(i, j) for i, j in enumerate(there) if j >= 0] == sorted(
        (j, i) for i, j in enumerate(back) if j >= 0
    )
