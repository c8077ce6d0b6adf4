"""Lists before and after, and the recommender's own evaluation, on a model of one table."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from helpers.toy import UserTable, cases, catalog, head, sequences
from recsae.capture.cases import read_cases
from recsae.capture.fill import capture
from recsae.capture.windows import windows_of
from recsae.evaluation import reconstruction as accuracy
from recsae.evaluation.reconstruction import (
    compare_lists,
    fewest_latents,
    heldout_accuracy,
    heldout_by_running,
)
from recsae.recommender.evaluation import evaluate
from recsae.recommender.lists import top_of_states
from recsae.recommender.metrics import ndcg_of_lists
from recsae.recommender.protocol import EvaluationCases
from recsae.sae.config import make_config
from recsae.sae.editing import insert_reconstruction
from recsae.sae.model import SAE
from recsae.testing import PlantedRecommender

ALL = ("recall", "precision", "hit", "mrr", "ndcg")


class Table:
    """Scores of the next item after each item, at random; padding would always win."""

    max_length = 3

    def __init__(self, *histories: list[int]) -> None:
        self.catalog = catalog()
        self.table = torch.from_numpy(
            np.random.default_rng(0).permutation(81).reshape(9, 9)
        ).float()
        self.table[:, 0] = 1000
        self.histories = sequences(*histories)
        self.batches = []

    def sequences(self):
        return self.histories

    def score(self, batch):
        self.batches.append(batch)
        last = batch.items[torch.arange(len(batch.lengths)), batch.lengths - 1]
        return self.table[last]


def evaluation(rows, ends, targets, groups=None, candidates=None, topk=(2, 5)) -> EvaluationCases:
    groups = np.arange(len(rows)) if groups is None else np.array(groups)
    arrays = (np.array(x, dtype=np.int64) for x in (rows, ends, targets))
    pairs = None if candidates is None else np.array(candidates)
    return EvaluationCases(*arrays, groups, pairs, ALL, topk, "test")


def rank_of(scores: torch.Tensor, target: int, among) -> int:
    return 1 + sum(float(scores[i]) > float(scores[target]) for i in among)


def one_target(rank: int, k: int) -> dict[str, float]:
    inside = rank <= k
    return {
        "recall": float(inside),
        "precision": inside / k,
        "hit": float(inside),
        "mrr": inside / rank,
        "ndcg": inside / np.log2(rank + 1),
    }


HISTORIES = [[1, 2, 3, 4, 5], [6, 7], [8, 1, 2, 8]]


def test_full_ranking(monkeypatch):
    monkeypatch.setattr("recsae.recommender.evaluation.GROUPS_AT_ONCE", 2)
    model = Table(*HISTORIES)
    rows, ends = [0, 1, 2, 0], [4, 1, 3, 2]
    targets = [HISTORIES[r][e] for r, e in zip(rows, ends, strict=True)]
    seen = []
    found = evaluate(model, evaluation(rows, ends, targets), lambda *what: seen.append(what[:2]))
    for case, (row, end, target) in enumerate(zip(rows, ends, targets, strict=True)):
        rank = rank_of(model.table[HISTORIES[row][end - 1]], target, range(1, 9))
        for k in (2, 5):
            for name, value in one_target(rank, k).items():
                assert found[f"{name}@{k}"][case] == pytest.approx(value)
    assert seen == [(2, 4), (4, 4)]
    assert model.batches[0].items.tolist() == [
        [2, 3, 4],
        [6, 0, 0],
    ]  # the last three before the end


def test_longer_lists_than_there_are_items():
    model = Table([1, 2])
    found = evaluate(model, evaluation([0], [1], [2], topk=(50,)))
    assert found["recall@50"].tolist() == [1]
    assert found["precision@50"] == pytest.approx([1 / 50])


def test_sampled_candidates_are_ranked_among_themselves():
    model = Table(*HISTORIES)
    candidates = {0: [5, 1, 8], 1: [7, 2, 3, 4]}
    pairs = [(case, item) for case, items in candidates.items() for item in items]
    found = evaluate(model, evaluation([0, 1], [4, 1], [5, 7], candidates=pairs[::-1]))
    for case, (last, target) in enumerate([(4, 5), (6, 7)]):
        rank = rank_of(model.table[last], target, candidates[case])
        assert found["ndcg@2"][case] == pytest.approx(one_target(rank, 2)["ndcg"])
        assert found["recall@5"][case] == 1


def test_sampled_candidates_of_one_user_are_ranked_together():
    """Two test items of a user, each scored by its own case, in one list."""
    model = Table([1, 2, 3, 4])
    pairs = [(0, 3), (0, 6), (1, 4), (1, 7), (1, 8)]
    found = evaluate(model, evaluation([0, 0], [2, 3], [3, 4], groups=[0, 0], candidates=pairs))
    score = {item: float(model.table[2 if case == 0 else 3, item]) for case, item in pairs}
    order = sorted(score, key=lambda i: -score[i])
    gains = [1 / np.log2(r + 2) if item in (3, 4) else 0 for r, item in enumerate(order)]
    assert found["ndcg@5"] == pytest.approx([sum(gains) / (1 + 1 / np.log2(3))])
    assert found["recall@2"] == pytest.approx([len({3, 4} & set(order[:2])) / 2])
    assert len(found["recall@2"]) == 1


def user_table() -> UserTable:
    """Two users who like high numbers and low numbers; a third of whom nothing is tested."""
    table = [[9, 9], *([i, -i] for i in range(1, 9))]
    histories = sequences([8, 7, 3, 6, 1], [2, 1, 2, 4], [5, 6])
    return UserTable(histories, [3, 2, 2], [[0, 0], [1, 0], [0, 1], [1, 1]], table)


@pytest.mark.parametrize("batch", [1, 512])
def test_several_targets_of_a_user_and_a_hidden_history(batch, monkeypatch):
    monkeypatch.setattr("recsae.recommender.evaluation.GROUPS_AT_ONCE", batch)
    found = evaluate(user_table(), user_table().evaluation())
    # 8 7 3 are hidden: 6 5 4 2 1, targets 6 and 1. 1 is hidden, 2 is not: 2 3 4 5 .., targets 2, 4
    assert found["recall@3"].tolist() == [0.5, 1.0]
    assert found["recall@10"].tolist() == [1.0, 1.0]
    assert found["precision@3"] == pytest.approx([1 / 3, 2 / 3])
    assert found["mrr@3"].tolist() == [1.0, 1.0]
    ideal = 1 + 1 / np.log2(3)
    assert found["ndcg@3"] == pytest.approx([1 / ideal, 1.5 / ideal])
    assert found["ndcg@10"] == pytest.approx([(1 + 1 / np.log2(6)) / ideal, 1.5 / ideal])


def test_the_history_shown_is_hidden_only_where_the_cases_say_so():
    model = user_table()
    found = evaluate(model, replace(model.evaluation(), filters_seen=False))
    # 8 7 6 .. for targets 6 and 1; 1 2 3 4 .. for targets 2 and 4
    assert found["mrr@3"] == pytest.approx([1 / 3, 1 / 2])
    assert found["recall@3"].tolist() == [0.5, 0.5]


def test_a_target_asked_for_twice_is_one_relevant_item():
    model = user_table()
    cases = replace(model.evaluation(), targets=np.array([6, 6, 2, 4]))
    assert evaluate(model, cases)["recall@3"].tolist() == [1.0, 1.0]


def test_groups_in_any_order():
    model = user_table()
    cases = model.evaluation()
    order = np.array([3, 1, 0, 2])
    mixed = [getattr(cases, name)[order] for name in ("rows", "ends", "targets", "groups")]
    names = ("rows", "ends", "targets", "groups")
    found = evaluate(model, replace(cases, **dict(zip(names, mixed, strict=True))))
    for name, values in evaluate(model, cases).items():
        assert found[name].tolist() == values.tolist()


# at every held-out position


def test_comparison_by_hand():
    made = cases([0, 0, 1], [[1]] * 3, [[1]] * 3, targets=[1, 2, 3])
    before = np.array([[1, 2], [3, 2], [3, 1]])  # ndcg 1, .63, 1
    after = np.array([[1, 2], [2, 3], [1, 2]])  # ndcg 1, 1, 0
    found = compare_lists(made, before, after).to_dict()
    second = 1 / np.log2(3)
    assert found["base"]["ndcg@10"] == pytest.approx((2 + second) / 3)
    assert found["base"]["recall@10"] == 1
    assert found["base"]["mrr@10"] == pytest.approx(2.5 / 3)
    assert found["reconstructed"]["recall@10"] == pytest.approx(2 / 3)
    assert found["ndcg_kept"] == pytest.approx(2 / (2 + second))
    assert found["last_item_ndcg_kept"] == pytest.approx(1 / (1 + second))
    assert found["ndcg_kept_ci"][0] < found["ndcg_kept"] < found["ndcg_kept_ci"][1]
    # overlap: the same list 1; swapped (0 + .9) / 1.9; {3, 1} and {1, 2}: (0 + .9 / 2) / 1.9
    assert found["rbo"] == pytest.approx((1 + 0.9 / 1.9 + 0.45 / 1.9) / 3)
    # Kendall's tau: 1; one pair of 2 x 2 + 1 turned: 1 - 2 / 5; [3, 1] and [1, 2] have 1 in common,
    # so that (3, 1) and (3, 2) are turned: 1 - 4 / 5
    assert found["kendall"] == pytest.approx((1 + 0.6 + 0.2) / 3)
    assert (found["n_users"], found["n_positions"]) == (2, 3)


def lossless(width: int) -> SAE:
    """Both signs of every axis, all of them allowed to be active."""
    sae = SAE(make_config(n_latents=2 * width, k=2 * width), width)
    both = torch.cat([torch.eye(width), -torch.eye(width)])
    with torch.no_grad():
        sae.W_enc.copy_(both)
        sae.W_dec.copy_(both)
    return sae


@pytest.fixture
def model():
    """Forty cases whose lists are those of the head."""
    rng = np.random.default_rng(0)
    table, states = rng.normal(size=(9, 4)), rng.normal(size=(40, 4)).astype(np.float32)
    scores = states @ table.astype(np.float32).T
    scores[:, 0] = -np.inf
    user = np.repeat(np.arange(8), 5).tolist()
    made = cases(
        user,
        [[1]] * 40,
        np.argsort(-scores, axis=1)[:, :8],
        targets=rng.integers(1, 9, 40).tolist(),
        states=states,
    )
    return SimpleNamespace(cases=made, head=head(table))


def test_lossless_reconstruction_keeps_everything(model):
    found = heldout_accuracy(model.cases, lossless(4), model.head).to_dict()
    assert found["ndcg_kept"] == 1
    assert found["ndcg_kept_ci"] == [1, 1]
    assert found["rbo"] == pytest.approx(1)
    assert found["base"] == found["reconstructed"]


def test_lists_of_reconstructions_leave_out_the_history_too(model):
    seen = replace(model.cases, filters_seen=True)  # of item 1 alone
    lists = np.array([[*(i for i in row if i != 1), 0] for row in model.cases.top_items.tolist()])
    seen = replace(seen, top_items=lists.astype(np.int32))
    found = heldout_accuracy(seen, lossless(4), model.head).to_dict()
    assert found["ndcg_kept"] == 1
    assert found["base"] == found["reconstructed"]
    assert heldout_accuracy(model.cases, lossless(4), model.head).lists.base != found["base"]


def test_fewest_latents_that_keep_ndcg(model, monkeypatch):
    """Both signs of each axis are latents, so m of them are the m largest entries of the state."""
    sae = lossless(4)
    best = replace(model.cases, targets=model.cases.top_items[:, 0])
    kept = []
    for m in range(1, 5):
        small = np.abs(best.states).argsort(1)[:, : 4 - m]
        cut = best.states.copy()
        np.put_along_axis(cut, small, 0.0, 1)
        kept.append(
            ndcg_of_lists(top_of_states(cut, model.head, best.catalog), best.targets).mean()
        )
    assert kept == sorted(kept)
    assert kept[2] < 0.99 < kept[3] == 1
    assert fewest_latents(best, sae, model.head) == 4
    assert heldout_accuracy(best, sae, model.head).latents_for_99 == 4
    assert fewest_latents(best, sae, model.head, share=(kept[1] + kept[2]) / 2) == 3
    assert fewest_latents(best, sae, model.head, share=kept[0]) == 1
    varying = SAE(make_config(n_latents=8, k=4, activation="jumprelu"), 4)
    with torch.no_grad():  # all positive pre-activations are active: more here, fewer there
        varying.log_threshold.fill_(-20.0)
        for name in ("W_enc", "W_dec"):
            getattr(varying, name).copy_(getattr(sae, name))
    monkeypatch.setattr(accuracy, "STATES_AT_ONCE", 7)  # parts then differ in width
    assert fewest_latents(best, varying, model.head) == 4
    with torch.no_grad():
        sae.b_enc[0] = -100.0  # what points along the first axis is lost
    assert fewest_latents(best, sae, model.head) is None


def test_reconstruction_that_says_nothing_loses(model):
    sae = lossless(4)
    with torch.no_grad():
        sae.b_enc.fill_(-100.0)
        sae.b_dec.fill_(1.0)
    found = heldout_accuracy(model.cases, sae, model.head).to_dict()
    assert found["rbo"] < 0.9
    assert found["base"] != found["reconstructed"]


def test_the_edit_that_inserts_the_reconstruction(model):
    h = torch.from_numpy(model.cases.states)
    torch.testing.assert_close(insert_reconstruction(lossless(4))(h), h)


def test_running_on_from_the_reconstruction_gives_what_the_head_gives(tmp_path):
    """At every position, whether the model gives all of them in one forward or ranks each."""
    model = PlantedRecommender(n_users=40, n_items=60, n_concepts=4, width=8, length=12)
    sae = lossless(8)
    with torch.no_grad():
        sae.b_enc.fill_(-0.3)  # not lossless any more
    rows, site = np.arange(40), model.sites()[0]
    for every in (True, False):
        place = replace(site, every_position=every)
        model.sites = lambda place=place: [place]
        store = capture(model, rows, tmp_path / str(every))
        cases = read_cases(store, model.sequences(), model.catalog)
        windows = windows_of(model, place, rows, None, seed=0)
        by_head = heldout_accuracy(cases, sae, PlantedRecommender.linear_head(model))
        model.linear_head = lambda: None
        by_running = heldout_by_running(model, cases, sae, site.name, windows)
        del model.linear_head
        assert by_running == by_head
        assert by_head.lists.ndcg_kept != 1
        assert by_head.lists.n_positions == len(cases) > 40


def test_groups_know_their_users():
    """Two cases of user 4 share a group of candidates; user 1 has one of its own."""
    pairs = np.array([[0, 1], [1, 2], [2, 3]])
    rows, ends, targets = np.array([4, 4, 1]), np.array([2, 3, 2]), np.array([1, 2, 3])
    groups = np.array([0, 0, 1])
    cases = EvaluationCases(rows, ends, targets, groups, pairs, ("ndcg",), (10,), "by hand")
    assert cases.group_rows.tolist() == [4, 1]
