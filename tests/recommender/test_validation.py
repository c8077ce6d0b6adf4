"""A stated score is compared with that of a sample of the cases, or of all where that is unsure."""

from dataclasses import replace

import numpy as np
import pytest

from recsae.core.errors import CannotOpenModel, NotEnoughData
from recsae.recommender.evaluation import evaluate, keep_groups
from recsae.recommender.protocol import StatedScore
from recsae.recommender.validation import compare_with_stated
from recsae.testing import PlantedRecommender

N_USERS = 3000


class Stating(PlantedRecommender):
    """A recommender of known truth whose checkpoint states a score."""

    stated: StatedScore | None = None

    def stated_score(self):
        return self.stated


@pytest.fixture(scope="module")
def planted():
    return Stating(n_users=N_USERS, n_items=60, n_concepts=4, width=8)


def compared(planted, value, every_case=False, **more):
    planted.stated = StatedScore("ndcg@10", value, **more)
    return compare_with_stated(planted, every_case=every_case)


def own_score(planted):
    return float(evaluate(planted, planted.evaluation("valid"))["ndcg@10"].mean())


def test_the_same_score_is_found_by_a_sample(planted):
    own = own_score(planted)
    found = compared(planted, round(own, 4))
    assert (found.n_cases, found.n_all, found.note) == (512, N_USERS, "")
    assert abs(found.found - own) < 0.05
    whole = compared(planted, round(own, 4), every_case=True)
    assert (whole.n_cases, whole.note) == (N_USERS, "")
    assert whole.found == pytest.approx(own, abs=1e-12)
    assert whole.to_dict()["stated"] == round(own, 4)


@pytest.mark.parametrize("factor", [0.2, 0.9, 1.1, 3.0])
def test_another_score_is_refused_after_all_cases(planted, factor):
    with pytest.raises(CannotOpenModel, match=rf"Planted was trained on.*\({N_USERS:,} cases\)"):
        compared(planted, factor * own_score(planted), every_case=factor in (0.9, 1.1))


def test_a_score_near_nothing_is_compared_on_all_cases(planted):
    with pytest.raises(CannotOpenModel, match=f"{N_USERS:,} cases"):
        compared(planted, 0.01)


def test_a_small_difference_is_a_note(planted):
    found = compared(planted, 1.01 * own_score(planted), every_case=True)
    assert "may differ a little" in found.note


def test_what_is_drawn_at_random_is_compared_roughly(planted):
    own = own_score(planted)
    roughly = compared(planted, own + 0.005, every_case=True, by_chance=True)
    assert "could only be tried roughly" in roughly.note
    with pytest.raises(CannotOpenModel):
        compared(planted, own / 2, by_chance=True)
    easier = compared(planted, own / 2, split_by_chance=True)
    assert "drawn otherwise, and metrics are too good" in easier.note
    with pytest.raises(CannotOpenModel):
        compared(planted, own * 2, split_by_chance=True)


def test_reasons_for_no_comparison(planted, monkeypatch):
    planted.stated = None
    assert compare_with_stated(planted) is None
    assert "Nobody knows: whether these" in compared(planted, 0.1, unknown="nobody knows").note

    def empty(split):
        raise NotEnoughData("nothing there")

    monkeypatch.setattr(planted, "evaluation", empty, raising=False)
    found = compared(planted, 0.1)
    assert found.note.startswith("No interactions are kept for validation: whether")
    assert found.found is None


def test_groups_keep_their_cases_and_candidates(planted):
    cases = planted.evaluation("valid")
    n = len(cases.rows)
    pairs = np.stack([np.repeat(np.arange(n), 3), np.tile([1, 2, 3], n)], axis=1)
    cases = replace(cases, groups=np.arange(n) // 2, candidates=pairs)
    some = keep_groups(cases, np.array([1, 4]))
    assert some.groups.tolist() == [0, 0, 1, 1]
    assert some.rows.tolist() == cases.rows[[2, 3, 8, 9]].tolist()
    assert some.candidates.tolist() == [[i, j] for i in range(4) for j in (1, 2, 3)]
