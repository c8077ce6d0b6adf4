"""What latents are active on: rates of items by hand, and cases drawn from all active ones."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from helpers.toy import cases, random_cases, sparse
from recsae.core import columns as C
from recsae.evaluation import active_on as module
from recsae.evaluation.active_on import N_DRAWN, N_ITEMS, active_items, drawn_cases

VIEWS = ("last", "last5", "top1")


def rates(table, latent, view):
    rows = table[(table[C.LATENT] == latent) & (table["view"] == view)]
    return rows[[C.ITEM, "n_active", "n_cases"]].to_numpy().tolist()


def test_rates_by_hand():
    # histories newest first; latent 0 is active on cases 0, 1 and 3, latent 1 never
    last = [[1, 2], [1, 3, 3], [2, 1], [3, 2, 3, 3], [4], [2, 3]]
    top = [[5, 6], [5, 7], [6, 5], [6, 5], [7, 5], [0, 0]]
    code = sparse([[1, 0], [2, 0], [0, 0], [1, 0], [0, 0], [0, 0]])
    table = active_items(code, cases([0, 0, 1, 1, 2, 3], last, top))
    # item 2 is the last of two cases, neither active; item 4 likewise
    assert rates(table, 0, "last") == [["m1", 2, 2], ["m3", 1, 1]]
    # item 3 stands in 1, 3 (thrice in all: a case counts once) and 5, item 1 in 0, 1 and 2; item 2
    # in 0, 2, 3 and 5, of which half are active as everywhere: it tells nothing
    assert rates(table, 0, "last5") == [["m1", 2, 3], ["m3", 2, 3]]
    # item 6 is first on two cases, one active: no more than the latent's own rate
    assert rates(table, 0, "top1") == [["m5", 2, 2]]
    assert table.loc[table["view"] == "last5", "rate"].tolist() == [pytest.approx(2 / 3)] * 2
    assert table[C.TITLE].tolist() == ["Alien", "Star Trek"] * 2 + ["Good, the Bad, The"]
    assert set(table[C.LATENT]) == {0}


def test_what_tells_most_comes_first():
    # item 1: active on 30 of 40; item 2: on its only case; item 3: on 10 of 60
    last = [[1]] * 40 + [[2]] + [[3]] * 60
    active = np.r_[np.ones(30), np.zeros(10), 1, np.ones(10), np.zeros(50)]
    table = active_items(sparse(active[:, None]), cases([0] * 101, last, [[1]] * 101))
    assert rates(table, 0, "last") == [["m1", 30, 40], ["m2", 1, 1]]
    assert rates(table, 0, "top1") == []  # one recommendation everywhere tells nothing


def test_five_items_at_most_in_order_of_the_f1(monkeypatch):
    rng = np.random.default_rng(1)
    held = random_cases(rng, 400, 30)
    code = scipy.sparse.random(400, 7, 0.2, "csr", np.float32, rng)
    table = active_items(code, held)
    dense = code.toarray() > 0
    for (latent, view), rows in table.groupby([C.LATENT, "view"]):
        items = {"last": held.last_items[:, :1], "last5": held.last_items}.get(
            view, held.top_items[:, :1]
        )
        there = {f"m{i}": (items == i).any(1) for i in range(1, 9)}
        both = {name: (x & dense[:, latent]).sum() for name, x in there.items()}
        f1 = {n: 2 * both[n] / (x.sum() + dense[:, latent].sum()) for n, x in there.items()}
        better = [n for n, x in there.items() if both[n] > x.sum() * dense[:, latent].mean()]
        best = sorted(better, key=lambda n: (-f1[n], n))[:N_ITEMS]
        assert rows[C.ITEM].tolist() == best
        assert rows["n_active"].tolist() == [both[n] for n in best]
        assert rows["n_cases"].tolist() == [there[n].sum() for n in best]
    monkeypatch.setattr(module, "LATENTS_AT_ONCE", 2)
    assert active_items(code, held).equals(table)


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_counts_are_within_bounds(seed, density):
    rng = np.random.default_rng(seed)
    held = random_cases(rng, 60, 8)
    code = scipy.sparse.random(60, 5, density, "csr", np.float32, rng)
    table, drawn = active_items(code, held), drawn_cases(code, held)
    n_active = np.diff(code.tocsc().indptr)
    assert (table["n_active"] <= table["n_cases"]).all()
    assert (table["n_active"] <= n_active[table[C.LATENT]]).all()
    assert (table["rate"] > n_active[table[C.LATENT]] / 60).all()
    assert table["rate"].tolist() == (table["n_active"] / table["n_cases"]).tolist()
    assert table.groupby([C.LATENT, "view"]).size().max() <= N_ITEMS or table.empty
    assert (code.toarray()[drawn.case, drawn.latent] == drawn.activation).all()
    pairs = set(zip(drawn.latent.tolist(), held.user[drawn.case].tolist(), strict=True))
    assert len(pairs) == len(drawn.latent)  # each user once
    for latent in range(5):
        users = np.unique(held.user[code[:, [latent]].toarray()[:, 0] > 0])
        assert (drawn.latent == latent).sum() == min(N_DRAWN, len(users))


def test_nothing_is_ever_active():
    held = random_cases(np.random.default_rng(0), 10, 3)
    table = active_items(sparse(np.zeros((10, 3))), held)
    assert table.empty
    assert list(table) == [C.LATENT, "view", C.ITEM, C.TITLE, "n_active", "n_cases", "rate"]
    assert len(drawn_cases(sparse(np.zeros((10, 3))), held).case) == 0


def test_drawn_from_all_and_not_the_strongest():
    n = 2000
    code = sparse(np.tile(np.arange(n, 0, -1)[:, None], 400))
    drawn = drawn_cases(code, cases(list(range(n)), [[1]] * n, [[1]] * n))
    assert len(drawn.case) == 400 * N_DRAWN
    assert drawn.case.mean() == pytest.approx(n / 2, rel=0.06)  # four standard errors
    again = drawn_cases(code, cases(list(range(n)), [[1]] * n, [[1]] * n))
    assert (again.case == drawn.case).all()
