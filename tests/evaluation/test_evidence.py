"""Evidence: how often a latent is active, with which others, and where its label is wrong."""

import numpy as np
import pytest
import scipy.sparse

from helpers.runs import planted
from helpers.toy import cases, random_cases, sparse
from recsae.concepts.label_steps import Predictions
from recsae.core import columns as C
from recsae.core.errors import ArtifactMismatch
from recsae.evaluation import evidence as module
from recsae.evaluation.evidence import (
    TABLES,
    Evidence,
    active_cases,
    build_evidence,
    counterexamples,
    fire_together,
    firing,
)
from recsae.pipeline.stages.evidence import evidence_stage
from recsae.run.record import Run
from recsae.run.workspace import Workspace

pytestmark = pytest.mark.end_to_end


def says(steps, column, threshold) -> Predictions:
    return Predictions(
        scipy.sparse.csc_matrix(np.array(steps, dtype=np.int8)),
        np.array(column, dtype=np.int64),
        np.array(threshold, dtype=np.int64),
    )


def made(users):
    return cases(users, [[1]] * len(users), [[i % 8 + 1] for i in range(len(users))])


def test_how_often_by_hand():
    # latent 0: cases 0, 1 (user 0) and 3 (user 1); latent 1: case 4 (user 2); latent 2: never
    code = sparse([[1, 0, 0], [2, 0, 0], [0, 0, 0], [3, 0, 0], [0, 4, 0]])
    table = firing(code, made([0, 0, 1, 1, 2]))
    assert table["n_active"].tolist() == [3, 1, 0]
    assert table[C.FIRE_RATE].tolist() == [3 / 5, 1 / 5, 0]
    assert table["n_users"].tolist() == [2, 1, 0]
    assert table["user_share"].tolist() == [pytest.approx(2 / 3), pytest.approx(1 / 3), 0]
    assert table["mean_activation"].tolist()[:2] == [2, 4]
    assert np.isnan(table["mean_activation"][2])


def test_together_by_hand(monkeypatch):
    monkeypatch.setattr(module, "MIN_TOGETHER", 1)
    # 0 and 1 are active on the same two of four cases, 2 on the others, 3 always
    code = sparse([[1, 9, 0, 1], [1, 9, 0, 1], [0, 0, 1, 1], [0, 0, 1, 1]])
    table = fire_together(code)
    rows = dict(iter(table.groupby([C.LATENT, "kind"])))
    assert rows[0, "with"]["other"].tolist() == [1]  # not 3, which says nothing
    assert rows[0, "with"]["phi"].tolist() == [pytest.approx(1)]
    assert rows[0, "with"]["lift"].tolist() == [2]  # on 2 cases; by chance on 1
    assert rows[0, "with"]["n_together"].tolist() == [2]
    assert rows[0, "instead"]["other"].tolist() == [2]
    assert rows[0, "instead"]["phi"].tolist() == [pytest.approx(-1)]
    assert rows[0, "instead"]["lift"].tolist() == [0]
    assert 3 not in set(table[C.LATENT])


def test_together_needs_cases_enough():
    both = np.zeros((400, 3))
    both[:19, :2] = 1  # 19 times together: too few
    assert fire_together(sparse(both)).empty
    both[19, :2] = 1
    table = fire_together(sparse(both))
    assert table[[C.LATENT, "other"]].to_numpy().tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("chunk", [2, 256])
def test_correlations_are_numpys(chunk, monkeypatch):
    monkeypatch.setattr(module, "LATENTS_AT_ONCE", chunk)
    rng = np.random.default_rng(0)
    dense = (rng.random((600, 9)) < 0.3) * 1.0
    dense[:, 1] = dense[:, 0] * (rng.random(600) < 0.8)
    truth = np.corrcoef(dense.T)
    table = fire_together(sparse(dense))
    assert np.allclose(table["phi"], truth[table[C.LATENT], table["other"]], atol=1e-6)
    for latent, rows in table[table["kind"] == "with"].groupby(C.LATENT):
        others = np.delete(truth[latent], latent)
        best = np.sort(others[others > 0])[::-1][:5]
        assert np.allclose(rows["phi"], best, atol=1e-6)
    assert table.groupby([C.LATENT, "kind"]).size().max() <= 5


def of(table, latent, kind):
    return table[(table[C.LATENT] == latent) & (table[C.KIND] == kind)]


def test_counterexamples_by_hand():
    users = [0, 0, 1, 2, 3, 4]
    steps = [[5], [4], [3], [1], [0], [2]]
    code = sparse([[0, 0], [0, 0], [7, 0], [1, 0], [2, 0], [0, 0]])
    found = counterexamples(code, says(steps, [0, 0], [2, 2]), made(users))
    missed = of(found, 0, "missed")
    # the label says yes on 0, 1, 2, 5; 2 is active; 1 is of the same user as 0
    assert missed[C.CASE].tolist() == [0, 5]
    assert missed["level"].tolist() == [5, 2]
    assert missed[C.ACTIVATION].tolist() == [0, 0]
    assert missed[C.USER].tolist() == ["u0", "u4"]
    assert missed[C.THRESHOLD].tolist() == [2, 2]
    wrong = of(found, 0, "unexpected")
    assert wrong[C.CASE].tolist() == [4, 3]  # strongest first; on 2 the label says yes
    assert wrong[C.ACTIVATION].tolist() == [2, 1]
    assert wrong["level"].tolist() == [0, 1]
    assert wrong[C.ITEMS].tolist() == [["m1"], ["m1"]]
    assert wrong[C.TOP_ITEM].tolist() == ["m5", "m4"]
    assert set(found[C.LATENT]) == {0}  # the one that is never active is neither right nor wrong


def test_a_label_that_is_always_right_has_none():
    found = counterexamples(
        sparse([[1], [0], [3]]), says([[1], [0], [1]], [0], [1]), made([0, 1, 2])
    )
    assert found.empty
    assert list(found.columns[:3]) == [C.LATENT, C.KIND, C.CASE]


def test_a_label_that_says_yes_everywhere():
    found = counterexamples(
        sparse([[1], [0], [3]]), says([[1], [0], [1]], [0], [0]), made([0, 1, 2])
    )
    assert found[[C.KIND, C.CASE]].to_numpy().tolist() == [["missed", 1]]


def test_counterexamples_are_what_they_say():
    rng = np.random.default_rng(3)
    n, m = 3000, 12
    made_up = random_cases(rng, n, 150)
    code = scipy.sparse.random(n, m, 0.1, "csr", np.float32, rng)
    steps = rng.integers(0, 6, (n, 4)) * (rng.random((n, 4)) < 0.5)
    column, threshold = rng.integers(0, 4, m), rng.integers(1, 5, m)
    found = counterexamples(code, says(steps, column, threshold), made_up)
    dense, says_yes = code.toarray(), steps[:, column] >= threshold
    for latent in range(m):
        missed, wrong = of(found, latent, "missed"), of(found, latent, "unexpected")
        for rows in (missed, wrong):
            assert len(rows) == 3
            assert rows[C.USER].is_unique
        assert (dense[missed[C.CASE], latent] == 0).all()
        assert says_yes[missed[C.CASE], latent].all()
        could = steps[says_yes[:, latent] & (dense[:, latent] == 0), column[latent]]
        assert missed["level"].tolist() == [could.max()] * 3  # ties enough for three users
        assert not says_yes[wrong[C.CASE], latent].any()
        best = np.where(says_yes[:, latent], 0, dense[:, latent])
        assert wrong[C.ACTIVATION].tolist() == sorted(wrong[C.ACTIVATION], reverse=True)
        assert wrong[C.ACTIVATION].iloc[0] == best.max()


def test_ties_are_not_always_of_the_first_users():
    n = 900
    steps, code = np.ones((n, 1)), np.zeros((n, 1))
    code[0] = 1
    found = counterexamples(sparse(code), says(steps, [0], [1]), made(list(range(n))))
    assert found[C.CASE].min() > 3


def test_few_users_with_many_cases():
    """The third user is far down the list."""
    users = [0] * 400 + [1] * 400 + [2]
    code = np.zeros((801, 1))
    code[0] = 1
    step = np.r_[np.full(800, 2), 1][:, None]
    found = counterexamples(sparse(code), says(step, [0], [1]), made(users))
    assert sorted(found[C.USER]) == ["u0", "u1", "u2"]


def test_drawn_cases_are_described():
    last, top = [[1], [2, 1], [3]], [[5, 6, 7, 8], [6, 5, 0, 0], [7, 8, 5, 6]]
    held = cases([0, 0, 1], last, top)
    table = active_cases(
        sparse([[0, 0], [2, 0], [3, 0]]), says([[1], [0], [4]], [0, 0], [2, 2]), held
    )
    table = table.sort_values(C.CASE)
    assert table[C.LATENT].tolist() == [0, 0]  # the other latent is never active
    assert table[C.CASE].tolist() == [1, 2]
    assert table[C.ACTIVATION].tolist() == [2, 3]
    assert (table["level"].tolist(), table[C.THRESHOLD].tolist()) == ([0, 4], [2, 2])
    assert table[C.USER].tolist() == ["u0", "u1"]
    assert table[C.ITEMS].tolist() == [["m1", "m1"], ["m1"]]
    assert table["titles"].tolist() == [["Alien", "Alien"], ["Alien"]]
    names = ["Good, the Bad, The", "Grease", "Star Born", "Alien"]
    assert table["recommended"].tolist() == [names[1::-1], [names[2], names[3], names[0]]]


def test_a_code_that_is_never_active():
    held = random_cases(np.random.default_rng(0), 20, 3)
    evidence = build_evidence(
        sparse(np.zeros((20, 2))), says(np.ones((20, 1)), [0, 0], [1, 1]), held
    )
    assert evidence.active_items.empty
    assert evidence.active_cases.empty
    assert evidence.by_latent()[1]["active_on"] == evidence.by_latent()[1]["drawn"] == []


def test_save_load_and_one_latent(tmp_path):
    made_up = random_cases(np.random.default_rng(0), 60, 6)
    code = sparse(np.eye(60, 4) + 1 * (np.arange(60)[:, None] > 30))
    evidence = build_evidence(code, says(np.ones((60, 1)), [0] * 4, [1] * 4), made_up)
    evidence.save(tmp_path)
    again = Evidence.load(tmp_path)
    one = again.by_latent()[2]
    assert one["firing"]["n_active"] == 30
    assert [x["other"] for x in one["with"]] == [0, 1, 3]
    assert one["instead"] == one["unexpected"] == []
    assert len(one["missed"]) == 3
    assert len(one["drawn"]) == min(5, one["firing"]["n_users"]) > 3
    assert all(item["n_active"] <= min(item["n_cases"], 30) for item in one["active_on"])
    assert set(again.by_latent()) == {0, 1, 2, 3}
    (tmp_path / TABLES[1]).unlink()
    with pytest.raises(ArtifactMismatch):
        Evidence.load(tmp_path)


def test_of_a_run(planted_run):
    work = Workspace(Run(planted_run), planted(), None)
    evidence = evidence_stage(work)
    fired = evidence.firing.set_index(C.LATENT)["n_active"]
    scores = work.label_scores.set_index(C.LATENT)
    assert fired.tolist() == scores[C.N_POS].tolist()
    perfect = scores.index[(scores[C.RECALL] == 1) & (scores[C.PRECISION] == 1)]
    assert not evidence.counterexamples[C.LATENT].isin(perfect).any()
    wrong = of(evidence.counterexamples, scores[C.RECALL].idxmin(), "unexpected")
    assert len(wrong)
