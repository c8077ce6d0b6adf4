"""Attributes known by single units, against scikit-learn and against planted truth."""

import numpy as np
import pytest
import scipy.sparse
from sklearn.metrics import roc_auc_score

from helpers import toy
from helpers.runs import planted, planted_run
from recsae.capture.cases import read_cases
from recsae.capture.store import ActivationStore
from recsae.concepts.attributes.probes import logistic_probes
from recsae.concepts.attributes.table import ItemAttributes
from recsae.concepts.attributes.tasks import attribute_tasks, task_truth
from recsae.concepts.attributes.values import item_attributes
from recsae.evaluation.attribute_auc import (
    attribute_table,
    best_unit_aucs,
    supervised_aucs,
    unit_aucs,
)

pytestmark = pytest.mark.end_to_end


def random_code(rng, n, m, density):
    """Values in steps of a half, so that many are tied; one column is never active."""
    code = np.round(rng.random((n, m)) * 4) / 2 * (rng.random((n, m)) < density)
    code[:, 0] = 0
    return code


@pytest.mark.parametrize("density", [0.02, 0.3, 1.0])
def test_aucs_of_units_are_scikit_learns(density):
    rng = np.random.default_rng(int(density * 100))
    code, truth = random_code(rng, 300, 9, density), rng.random((300, 4)) < [0.05, 0.3, 0.5, 0.9]
    found = unit_aucs(toy.sparse(code), truth)
    assert found.shape == (9, 4)
    for unit in range(9):
        for task in range(4):
            expected = roc_auc_score(truth[:, task], code[:, unit])
            assert found[unit, task] == pytest.approx(expected, abs=1e-9), (unit, task)
    assert found[0] == pytest.approx(0.5)


def test_aucs_by_hand():
    code = toy.sparse([[3.0], [0], [1], [0]])
    truth = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], dtype=bool)
    # pairs of (yes, no): task 0: 3>1, 3>0, 0<1, 0=0 -> 2.5 of 4; task 1: 0<3, 0<1 twice -> 0
    assert unit_aucs(code, truth).tolist() == [[0.625, 0.0]]


def test_the_best_unit_is_chosen_on_construction_cases():
    """Even where another one turns out better on the held-out ones."""
    truth = np.array([[1], [1], [0], [0]], dtype=bool)
    known = toy.sparse([[0, 2], [1, 2], [1, 0], [1, 0]])  # unit 1 is perfect
    test = toy.sparse([[2, 0], [2, 1], [0, 1], [0, 0]])  # here unit 0 is
    best, auc = best_unit_aucs(known, truth, test, truth)
    assert best.tolist() == [1]
    assert auc.tolist() == [0.5]


def test_supervised_directions():
    rng = np.random.default_rng(0)
    states = rng.normal(size=(600, 5)).astype(np.float32)
    truth = np.stack(
        [states @ [1, -2, 0, 3, 0] > 0, rng.random(600) < 0.5, np.ones(600, dtype=bool)], axis=1
    )
    probes = logistic_probes(states[:300], truth[:300])
    known, noise, constant = supervised_aucs(probes, states[300:], truth[300:])
    assert known > 0.99
    assert 0.4 < noise < 0.6
    assert np.isnan(constant)


# -- planted truth ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def known():
    return read("activations")


@pytest.fixture(scope="module")
def heldout():
    return read("heldout")


def read(name):
    store = ActivationStore(planted_run() / name)
    return read_cases(store, planted().sequences(), planted().catalog)


@pytest.fixture(scope="module")
def attributes(known):
    return item_attributes(planted().catalog, known)


def test_tasks_of_planted_genres(attributes, known):
    """Every genre is asked for, where the state knows it: among several items, not the last one."""
    tasks = attribute_tasks(attributes, known)
    names = [attributes.names[task.column] for task in tasks]
    assert {value for name, value in names if name == "genre"} == set(planted().concepts)
    assert "title term" not in {name for name, _ in names}
    views = {task.view for task, name in zip(tasks, names, strict=True) if name[0] == "genre"}
    assert views <= {"last5", "top10", "top1"}
    assert [t.column for t in tasks] == sorted({t.column for t in tasks})


def test_the_answers_to_the_tasks(attributes, known):
    few = known.take(np.arange(0, len(known), 97))
    tasks = attribute_tasks(attributes, known)
    found = task_truth(attributes, tasks, few)
    for column, task in enumerate(tasks):
        has = attributes.matrix[:, [task.column]].toarray().ravel() > 0
        for row in range(len(few)):
            items, least = {
                "last": (few.last_items[row, :1], 1),
                "last5": (few.last_items[row], 3),
                "top1": (few.top_items[row, :1], 1),
                "top10": (few.top_items[row], 5),
            }[task.view]
            assert found[row, column] == (has[items].sum() >= least)
    assert task_truth(attributes, [], few).shape == (len(few), 0)


def test_rare_values_are_not_asked_for(attributes, known):
    assert attribute_tasks(attributes, known.take(np.arange(80))) == []


def test_the_most_frequent_are_asked_for(attributes, known):
    everything = attribute_tasks(attributes, known)
    few = attribute_tasks(attributes, known, limit=3)
    share = task_truth(attributes, everything, known).mean(0)
    chosen = [everything.index(task) for task in few]
    assert sorted(chosen) == sorted(np.argsort(-share, kind="stable")[:3])


def test_true_directions_know_their_genres_as_well_as_a_probe(attributes, known, heldout):
    codes = {
        "sae": (planted().true_code(known), planted().true_code(heldout)),
        "random": tuple(
            scipy.sparse.random(len(c), 8, density=0.3, format="csr", random_state=1)
            for c in (known, heldout)
        ),
    }
    table = attribute_table(attributes, known, heldout, codes)
    assert list(table.columns) == [
        *("attribute", "site", "prevalence", "auc_sae", "best_latent", "auc_random"),
        "auc_supervised",
    ]
    genres = table[table["attribute"].str.startswith("genre: ")]
    assert len(genres) == 6
    names = [planted().concepts[latent] for latent in genres["best_latent"]]
    assert [f"genre: {name}" for name in names] == genres["attribute"].tolist()
    assert genres["auc_sae"].min() > 0.85
    assert (genres["auc_sae"] > genres["auc_supervised"] - 0.1).all()
    assert genres["auc_supervised"].max() <= 1
    assert genres["auc_random"].between(0.4, 0.6).all()
    assert genres["prevalence"].between(0.01, 0.9).all()


def test_a_table_without_tasks(heldout):
    nothing = ItemAttributes(scipy.sparse.csr_matrix((planted().catalog.n_items, 0)), ())
    few = heldout.take(np.arange(60))
    table = attribute_table(nothing, few, few, {"sae": (planted().true_code(few),) * 2})
    assert len(table) == 0
