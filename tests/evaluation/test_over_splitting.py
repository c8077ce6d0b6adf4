"""Over-splitting and occlusion on examples where both are planted."""

import numpy as np
import pytest

from helpers import toy
from recsae.evaluation.over_splitting import CodedCases, occlusion, splitting


def sides(make):
    return make(np.random.default_rng(0)), make(np.random.default_rng(1))


def splits(rng):
    """Task 0 lies in eight latents, one each time; 1 in latent 8; 2 in 9 to 16, all together."""
    n = 4000
    truth = rng.random((n, 3)) < 0.3
    code = np.zeros((n, 20))
    code[np.arange(n), rng.integers(0, 8, n)] = truth[:, 0]
    code[:, 8] = 5 * truth[:, 1]
    code[:, 9:17] = truth[:, [2]] * (rng.random((n, 1)) < 0.5)
    code[:, 17:] = rng.random((n, 3)) < 0.05
    return CodedCases(toy.sparse(code), truth, rng.normal(size=(n, 2)).astype(np.float32))


def test_an_attribute_over_eight_latents_is_over_split():
    found = splitting(*sides(splits))
    assert found.over_split.tolist() == [True, False, False]
    # of the positives an eighth is found per latent: AUC = .5 + j / 16
    for width in (1, 2, 4, 8):
        assert found.aucs[width][0] == pytest.approx(0.5 + width / 16, abs=0.02)
    assert found.aucs[8][1] == pytest.approx(1)
    assert found.aucs[1][2] == pytest.approx(found.aucs[8][2], abs=0.02)
    assert found.overlap[0] == 0
    assert found.overlap[2] > 0.9  # copies of one latent are no parts of it


def test_latents_of_any_size_count_alike_and_dead_ones_not_at_all():
    construction, heldout = sides(splits)
    size = np.geomspace(1e-3, 1e3, 20)
    scaled = [
        CodedCases(toy.sparse(s.code.toarray() * size), s.truth, s.states)
        for s in (construction, heldout)
    ]
    plain, other = splitting(construction, heldout), splitting(*scaled)
    assert other.aucs[8] == pytest.approx(plain.aucs[8], abs=1e-6)
    dead = [s._replace(code=toy.sparse(np.c_[s.code.toarray(), np.zeros(4000)])) for s in scaled]
    assert splitting(*dead).aucs[16] == pytest.approx(plain.aucs[16], abs=1e-6)


def hidden(rng, weak_latent=False, alike=False):
    """Two attributes that often come together, one moving the states twenty times as far.

    Latent 0 follows the strong one. A third attribute stands alone, with latent 1.
    """
    n = 4000
    strong, alone = rng.random(n) < 0.3, rng.random(n) < 0.3
    weak = np.where(strong, rng.random(n) < 0.8, rng.random(n) < 0.1)
    directions = np.array([[10.0, 0, 0], [10.0, 0, 0] if alike else [0, 0.5, 0], [0, 0, 2]])
    truth = np.stack([strong, weak, alone], axis=1).astype(bool)
    states = truth @ directions + 0.05 * rng.normal(size=(n, 3))
    code = np.c_[10 * strong, 2 * alone, 0.5 * weak if weak_latent else np.zeros(n)]
    return CodedCases(toy.sparse(code), truth, states.astype(np.float32))


def test_the_weaker_of_two_attributes_is_occluded():
    construction, heldout = sides(hidden)
    found = occlusion(construction, heldout, np.array([0, 0, 1]))
    assert found.occluded_by == [None, 0, None]
    assert found.separation_auc[1] > 0.99
    assert np.isnan(found.separation_auc[[0, 2]]).all()


def test_with_a_latent_of_its_own_it_is_not():
    construction, heldout = sides(lambda rng: hidden(rng, weak_latent=True))
    assert occlusion(construction, heldout, np.array([0, 2, 1])).occluded_by == [None, None, None]


def test_what_the_states_do_not_tell_apart_is_not_hidden():
    """Both attributes move the states alike: the dictionary cannot be blamed."""
    construction, heldout = sides(lambda rng: hidden(rng, alike=True))
    assert occlusion(construction, heldout, np.array([0, 0, 1])).occluded_by[1] is None


def test_the_stronger_one_is_never_occluded():
    """Even where its best latent is that of the weaker one."""
    construction, heldout = sides(lambda rng: hidden(rng, weak_latent=True))
    assert occlusion(construction, heldout, np.array([2, 2, 1])).occluded_by == [None, None, None]
