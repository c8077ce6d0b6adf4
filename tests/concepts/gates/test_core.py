"""The core of a planted recommender: its concepts, their gates, and what shows it is no chance."""

import numpy as np
import pytest
import scipy.sparse

from helpers.runs import planted
from recsae.concepts.attributes.table import ItemAttributes
from recsae.concepts.gates import core as cores
from recsae.concepts.gates import fit
from recsae.concepts.gates.core import FoundCore, find_core
from recsae.concepts.gates.statements import BROADEST, RAREST
from recsae.core.errors import InvalidInput
from recsae.run.record import Run
from recsae.run.workspace import Workspace


@pytest.fixture(scope="module")
def work(core_run):
    return Workspace(Run(core_run), planted(), finished=True)


@pytest.fixture(scope="module")
def asked(work):
    return cores._Asked(work.labeler, work.labeler.sample_of(work.construction))


def truth(side, statements, j):
    """Whether a statement is true of each case of a side, from the rows of its predicate."""
    true = np.zeros(len(side.states), dtype=bool)
    true[side.predicates.rows(int(statements.column[j]), int(statements.step[j]))] = True
    return true ^ bool(statements.negated[j])


def test_candidates_are_true_of_some_and_not_of_most(asked):
    statements = asked.candidates
    assert len(statements) > 50
    assert statements.rate.min() >= RAREST
    assert statements.rate.max() <= BROADEST
    n = sum(len(side.states) for side in asked.sides)
    for j in range(0, len(statements), 17):
        number = sum(truth(side, statements, j).sum() for side in asked.sides)
        assert number / n == pytest.approx(statements.rate[j])


def test_a_gate_is_fishers_discriminant_and_opens_as_often_as_the_statement_is_true(asked):
    side, statements = asked.sides[0], asked.candidates
    gates = fit._fit(statements, (side,))
    x = side.states.astype(np.float64)
    spread = np.cov(x.T, bias=True)
    spread += fit.RIDGE * np.trace(spread) / len(spread) * np.eye(len(spread))
    for j in range(0, len(statements), 17):
        y = truth(side, statements, j)
        by_hand = np.linalg.solve(spread, (x - x.mean(0)).T @ (y - y.mean()))
        cosine = gates.weight[j] @ by_hand / np.linalg.norm(gates.weight[j])
        assert cosine / np.linalg.norm(by_hand) == pytest.approx(1, abs=1e-6)
        is_open = x @ gates.weight[j] > gates.bound[j]
        assert is_open.mean() == pytest.approx(statements.rate[j], abs=0.005)


def test_what_is_held_is_told_of_users_it_was_not_fitted_on(asked):
    search, confirm = asked.sides
    gates = fit._fit(asked.candidates, (search,))
    hits, opened, true = fit._tried(asked.candidates, gates, confirm)
    for j in range(0, len(asked.candidates), 17):
        y = truth(confirm, asked.candidates, j)
        is_open = confirm.states @ gates.weight[j].astype(np.float32) > np.float32(gates.bound[j])
        told = [is_open & y, is_open, y]
        assert [hits[j], opened[j], true[j]] == pytest.approx([x.mean() for x in told], abs=0.002)
    precise = (hits / opened - true) / (1 - true) >= 0.55
    complete = (hits / true - opened) / (1 - opened) >= 0.55
    assert len(asked.learned.statements) == (precise & complete).sum() > 0


def test_the_core_are_the_planted_concepts_and_their_gates_are_right(work):
    core = work.core.core
    assert {s.value for s in core.statements} == set(planted().concepts)
    assert {s.attribute for s in core.statements} == {"genre"}
    assert np.linalg.norm(core.decoder, axis=1) == pytest.approx(np.ones(len(core.decoder)))
    scores = work.label_scores.iloc[: len(core.statements)]
    assert (scores["status"] == "verified").all()
    assert scores["f1"].min() > 0.9
    code = work.sae_codes.heldout[:, : len(core.statements)].toarray()
    z = np.maximum(work.heldout.states @ core.weight.T - core.bound, 0)
    assert code * float(work.sae.scale) == pytest.approx(z, abs=1e-4)


def test_with_attributes_permuted_less_is_held(work):
    """Communities and title terms, which are made from the log, are held less; genres are not."""
    found = work.core
    held = found.n_learnable / found.n_candidates
    assert found.n_permuted / found.n_permuted_candidates < held / 2


def test_attributes_that_are_asked_for_come_first(work):
    asked_for = find_core(work.labeler, work.construction, work.metric, 0, ["genre"])
    first = asked_for.core.statements[: len(planted().concepts)]
    assert {s.value for s in first} == set(planted().concepts)
    assert {s.attribute for s in first} == {"genre"}
    with pytest.raises(InvalidInput, match=r"No attribute is named 'genres'\. Did you mean 'genre"):
        find_core(work.labeler, work.construction, work.metric, 0, ["genres"])


def test_the_same_core_each_time_and_from_its_files(work, tmp_path):
    again = find_core(work.labeler, work.construction, work.metric)
    again.save(tmp_path, "x")
    for one in (FoundCore.load(tmp_path), work.core):
        assert one.core.statements == again.core.statements
        assert one.at_random.statements == again.at_random.statements
        for part in ("weight", "bound", "decoder"):
            assert np.array_equal(getattr(one.core, part), getattr(again.core, part))
        assert one.n_learnable == again.n_learnable
    assert FoundCore.is_there(tmp_path, "x")
    assert not FoundCore.is_there(tmp_path, "y")


def test_what_a_gate_costs_by_what_it_speaks_of_and_how_right_it_is():
    names = (("genre", "Horror"), ("fans of", "i1 | i2"), ("popularity", "niche"))
    attributes = ItemAttributes(scipy.sparse.csr_matrix((5, 3), dtype=np.int8), names)
    value, negated = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 0, 1, 0, 1], dtype=bool)
    price = cores._price(attributes, value, negated, np.ones(6))
    assert price.tolist() == [1.0, 1.3, 1.3, 1.6, 1.6, 1.6]
    assert np.allclose(cores._price(attributes, value, negated, np.full(6, 0.5)), 4 * price)


@pytest.mark.parametrize(("least", "covered"), [(0.65, True), (1.01, False)])
def test_values_that_are_not_chosen_are_covered_if_their_gates_are_right(
    work, asked, monkeypatch, least, covered
):
    monkeypatch.setattr(cores, "N_CORE", 2)
    monkeypatch.setattr(cores, "RARE", 1.0)
    monkeypatch.setattr(cores, "RIGHT_OF_RARE", least)
    chosen = cores._chosen(asked, work.metric, 0, ())
    assert len(chosen) > 2 if covered else len(chosen) == 2
    assert (asked.learned.f1[chosen[2:]] >= least).all()
