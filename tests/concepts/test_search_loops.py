"""The compiled loops of the search for labels, against the same in plain NumPy."""

import itertools

import numpy as np
import pytest
import scipy.sparse

from recsae.concepts import search_loops as loops
from recsae.concepts.attributes.names import VIEWS
from recsae.concepts.predicates import Columns, Predicates, Table, f1_of
from recsae.concepts.search import Choice, truth

N, M, VALUES = 300, 6, 4
NO_LIMIT = 10_000


def made(seed: int) -> tuple[Predicates, np.ndarray, scipy.sparse.csc_matrix]:
    """Predicates of three views on random cases, whether each is true ``(n, S)``, and latents that
    follow two of them each."""
    rng = np.random.default_rng(seed)
    view = np.repeat([list(VIEWS).index(name) for name in ("last", "last5", "top1")], VALUES)
    columns = Columns.of(view, np.tile(np.arange(VALUES), 3))
    n_steps = np.diff(columns.start)
    reached = np.minimum(rng.geometric(0.5, (N, len(view))) - 1, n_steps)
    there = np.zeros((N, columns.start[-1]), dtype=np.int8)
    row, column = np.nonzero(reached)
    there[row, columns.start[column] + reached[row, column] - 1] = 1
    table = scipy.sparse.csr_matrix(there)
    true = reached[:, columns.column] >= columns.step
    pairs = rng.integers(0, true.shape[1], (M, 2))
    active = (true[:, pairs[:, 0]] & true[:, pairs[:, 1]]) ^ (rng.random((N, M)) < 0.1)
    by = [Table(t.indptr.astype(np.int64), t.indices) for t in (table, table.tocsc())]
    return Predicates(columns, *by), true, scipy.sparse.csc_matrix(active * 1.0)


def spans(table):
    return table.indptr, table.indices


@pytest.mark.parametrize("seed", range(5))
def test_the_best_single_predicates(seed):
    predicates, true, active = made(seed)
    columns, rng, n_predicates = predicates.columns, np.random.default_rng(seed), true.shape[1]
    total, broad = true.sum(0), rng.choice([0, 0.05], (2, n_predicates))
    group, deniable = rng.integers(-1, 2, n_predicates), rng.random(n_predicates) < 0.5
    narrow = np.flatnonzero(rng.random(n_predicates) < 0.3)
    best, negated = np.zeros((M, 2), dtype=np.int64), np.zeros((M, 2), dtype=np.int64)
    begin, alone = np.zeros((M, 3), dtype=np.int64), np.zeros((M, len(narrow)), dtype=np.int32)
    loops.best_singles(
        *(*spans(predicates.reached), *spans(active), columns.start, total, broad, group, deniable),
        *(narrow, best, negated, begin, alone),
    )
    for j, fires in enumerate(active.toarray().T > 0):
        both = true[fires].sum(0)
        assert (alone[j] == both[narrow]).all()
        plain = f1_of(both, total, fires.sum()) - broad[0]
        opposite = f1_of(fires.sum() - both, N - total, fires.sum()) - broad[1]
        opposite[~deniable] = -np.inf
        for number in (0, 1):
            options = {
                (value[group == number].max(), sign) for sign, value in enumerate((plain, opposite))
            }
            highest, _ = max(options)
            found = (plain, opposite)[negated[j, number]][best[j, number]]
            assert group[best[j, number]] == number
            assert found == pytest.approx(highest, abs=2e-9)
        of_column = np.maximum.reduceat(np.where(group >= 0, plain, -1), columns.start[:-1])
        expected = np.sort(of_column)[::-1][:3]
        assert np.where(group >= 0, plain, -1)[begin[j]] == pytest.approx(expected)
        assert len(set(columns.column[begin[j]])) == 3


@pytest.mark.parametrize("seed", range(5))
def test_the_best_second_predicates(seed):
    predicates, true, active = made(seed)
    columns, rng, n_predicates = predicates.columns, np.random.default_rng(seed), true.shape[1]
    total, deniable = true.sum(0), rng.random(n_predicates) < 0.5
    fires = active.toarray().T > 0
    alone = np.stack([true[row].sum(0) for row in fires]).astype(np.int32)
    value, pairs = np.full((2, M), -np.inf), np.full((2, M, 3), -1)
    firsts = rng.choice(n_predicates, 3, replace=False)
    highest = np.full((2, M), -np.inf)
    for first in firsts:
        joinable = rng.random(n_predicates) < 0.5
        rows = np.flatnonzero(true[:, first]).astype(np.int32)
        loops.extend(
            *(*spans(predicates.reached), columns.start, total, deniable, joinable, rows),
            *(np.arange(M), *spans(active), alone, 0.2, NO_LIMIT, first, value, pairs),
        )
        for j, second in itertools.product(range(M), range(n_predicates)):
            one, other, a = true[:, first], true[:, second], fires[j]
            options = [(0, one & other)] + ([(0, one & ~other)] if deniable[second] else [])
            apart = min((one & a).sum(), (other & a).sum()) - (one & other & a).sum()
            if joinable[second] and apart >= 0.2 * a.sum():
                options.append((1, one | other))
            for kind, says in options:
                f1 = f1_of((says & a).sum(), says.sum(), a.sum())
                highest[kind, j] = max(highest[kind, j], f1)
    assert value == pytest.approx(highest, abs=1e-8)
    for kind, j in np.argwhere(pairs[..., 1] >= 0):
        first, second, negated = pairs[kind, j]
        other = true[:, second] ^ bool(negated)
        says = (true[:, first] | other) if kind else (true[:, first] & other)
        assert f1_of((says & fires[j]).sum(), says.sum(), fires[j].sum()) == value[kind, j]


def test_counts_of_some_cases_stand_for_all():
    """With half of the cases looked at, the F1 of a pair is about what it is."""
    predicates, true, active = made(0)
    total, none = true.sum(0), np.zeros(true.shape[1], dtype=bool)
    values = []
    for limit in (NO_LIMIT, 60):
        value, pairs = np.full((2, M), -np.inf), np.full((2, M, 3), -1)
        rows = np.flatnonzero(true[:, 4]).astype(np.int32)
        alone = np.zeros((M, len(total)), dtype=np.int32)
        table = *spans(predicates.reached), predicates.columns.start, total
        of = np.arange(M), *spans(active), alone
        loops.extend(*table, none, none, rows, *of, 0.2, limit, 4, value, pairs)
        values.append(value[0])
    assert values[0] == pytest.approx(values[1], abs=0.15)
    assert (values[0] != values[1]).any()


def test_the_gain_and_its_error_are_those_of_a_linearised_ratio():
    rng = np.random.default_rng(0)
    new, old, active = rng.random((3, N)) < [[0.4], [0.3], [0.2]]
    user = np.sort(rng.integers(0, 40, N))

    def f1_and_terms(says):
        total = says.sum() + active.sum()
        f1 = 2 * (says & active).sum() / total
        return f1, (2 * (says & active) - f1 * (says * 1 + active)) / total

    (f1, terms), (f1_before, terms_before) = f1_and_terms(new), f1_and_terms(old)
    error = np.sqrt(np.square(np.bincount(user, terms - terms_before)).sum())
    gain = loops.gain_and_error(new, old, user, np.flatnonzero(active))
    assert gain == pytest.approx((f1 - f1_before, error))
    nothing = np.zeros(0, dtype=np.int64)
    assert loops.gain_and_error(np.zeros(N, bool), np.zeros(N, bool), user, nothing) == (0, 0)


@pytest.mark.parametrize("errors", [0.0, 3.0])
def test_a_pair_must_beat_the_best_single_predicate_clearly(errors):
    predicates, true, active = made(1)
    user, rng = np.arange(N) // 5, np.random.default_rng(1)
    columns, n_predicates = predicates.columns, true.shape[1]
    first, second = rng.integers(0, n_predicates, (2, M, 4))
    zero = np.zeros((M, 4), dtype=np.int64)
    finalists = Choice(
        columns.column[first], columns.step[first], zero,
        np.where(np.arange(4) < 2, -1, columns.column[second]), columns.step[second], zero,
        np.where(np.arange(4) == 3, 1, zero), zero - 1, zero, zero,
    )  # fmt: skip
    cost = rng.choice([0, 0.02], (M, 4))
    best, net = np.zeros(M, dtype=np.int64), np.zeros(M)
    table = *spans(predicates.by_column), columns.start, user
    loops.confirm(*table, *spans(active), np.stack(finalists), cost, errors, best, net)
    for j, fires in enumerate(active.toarray().T > 0):
        says = truth(predicates, finalists.at(j))
        one, other = true[:, first[j]].T, true[:, second[j]].T
        assert (says == np.stack([one[0], one[1], one[2] & other[2], one[3] | other[3]])).all()
        worth = f1_of((says & fires).sum(1), says.sum(1), fires.sum()) - cost[j]
        single, pair = worth[:2].argmax(), 2 + worth[2:].argmax()
        gain, error = loops.gain_and_error(says[pair], says[single], user, np.flatnonzero(fires))
        clear = worth[pair] > worth[single] and gain > errors * error
        assert best[j] == (pair if clear else single)
        assert net[j] == pytest.approx(worth[best[j]])


def test_choices_of_three_and_denied_ones():
    predicates, true, _ = made(2)
    columns = predicates.columns
    a, b, c = 3, 9, 20
    chosen = Choice(*np.array([
        [columns.column[a]], [columns.step[a]], [1], [columns.column[b]], [columns.step[b]], [0],
        [0], [columns.column[c]], [columns.step[c]], [1],
    ]))  # fmt: skip
    assert (truth(predicates, chosen)[0] == (~true[:, a] & true[:, b] & ~true[:, c])).all()


@pytest.mark.parametrize("shape", [(40, 12), (7, 0), (0, 5)])
def test_keep_gives_columns_their_new_numbers(shape):
    dense = np.random.default_rng(0).random(shape) < 0.3
    by_row = scipy.sparse.csr_array(dense)
    indptr, indices = by_row.indptr.astype(np.int64), by_row.indices.astype(np.uint16)
    kept = np.arange(dense.shape[1])[::2]
    place = np.full(dense.shape[1], -1)
    place[kept] = np.arange(len(kept))
    expected = scipy.sparse.csr_array(dense[:, kept])
    starts, found = np.zeros_like(indptr), np.empty(expected.nnz, dtype=np.uint16)
    loops.keep_columns(indptr, indices, place, starts, found)
    assert starts.tolist() == expected.indptr.tolist()
    assert found.tolist() == expected.indices.tolist()
