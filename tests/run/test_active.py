"""How many latents are active: the fewest that keep enough of the ranking."""

import json

import numpy as np
import pytest
import torch

from helpers.runs import planted
from recsae.capture.cases import ndcg_of_states
from recsae.core.errors import NotEnoughData
from recsae.recommender.metrics import ndcg_of_lists
from recsae.run.active import ENOUGH, fewest_that_keep_enough, ndcg_kept
from recsae.run.record import Run
from recsae.run.workspace import Workspace


@pytest.fixture(scope="module")
def work(core_run):
    return Workspace(Run(core_run), planted(), None)


class Trained:
    """Stands for SAEs of which it is known what they keep, and notes which were trained."""

    def __init__(self, kept, too_many=99):
        self.kept, self.too_many, self.trained, self.measured = kept, too_many, [], []

    def train(self, k):
        if k >= self.too_many:
            raise NotEnoughData("too few")
        self.trained.append(k)
        return k

    def kept_by(self, k):
        self.measured.append(k)
        return self.kept[k]


def fewest(trained, tmp_path, tried=(8, 16, 32), made_from="this"):
    notes = tmp_path / "tried.json"
    return fewest_that_keep_enough(tried, trained.train, trained.kept_by, notes, made_from)


@pytest.mark.parametrize(
    ("kept", "chosen"),
    [
        ({8: 0.95}, 8),
        ({8: 0.9499, 16: 0.96}, 16),
        ({8: 0.5, 16: 0.6, 32: 0.7}, 32),
        ({8: None}, 8),
    ],
)
def test_the_fewest_that_keep_enough(tmp_path, kept, chosen):
    assert fewest(Trained(kept), tmp_path) == chosen
    said = json.loads((tmp_path / "tried.json").read_text())["kept"]
    assert said == {str(k): share for k, share in kept.items()}


def test_what_was_tried_is_not_trained_again(tmp_path):
    fewest(Trained({8: 0.5, 16: 0.97}), tmp_path)
    again = Trained({})
    assert fewest(again, tmp_path) == 16
    assert (again.trained, again.measured) == ([16], [])
    other = Trained({8: 0.97})  # of other states
    assert fewest(other, tmp_path, made_from="that") == 8
    assert other.measured == [8]


def test_a_given_number_is_taken_whatever_it_keeps(tmp_path):
    assert fewest(Trained({4: 0.1}), tmp_path, tried=(4,)) == 4


def test_too_few_states_for_more_leave_what_there_is(tmp_path):
    assert fewest(Trained({8: 0.5}, too_many=16), tmp_path) == 8
    with pytest.raises(NotEnoughData):
        fewest(Trained({}, too_many=8), tmp_path / "new")


def test_ndcg_kept_is_that_of_the_reconstruction(work):
    some = work.construction
    rebuilt = work.sae(torch.from_numpy(some.states)).detach()
    by_hand = ndcg_of_states(rebuilt, some, work.head).mean()
    base = ndcg_of_lists(some.top_items.astype(np.int64), some.targets).mean()
    assert ndcg_kept(work.sae, some, work.head) == pytest.approx(by_hand / base, abs=1e-6)
    assert ndcg_kept(work.sae, some, None) is None


def test_a_run_keeps_enough(work):
    kept = json.loads((work.folder / "sae/tried.json").read_text())["kept"]
    assert list(kept) == [str(work.sae.config.k)]
    assert kept[str(work.sae.config.k)] >= ENOUGH
