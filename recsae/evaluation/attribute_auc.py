"""Attribute AUC: how well the best unit of a code predicts an attribute, beside a probe."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse

from recsae.capture.cases import spread
from recsae.concepts.attributes.probes import clustered_aucs, logistic_probes
from recsae.concepts.attributes.table import ItemAttributes
from recsae.concepts.attributes.tasks import MAX_TASK_CASES, Task, attribute_tasks, task_truth

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.sae.codes import Codes


def best_unit_aucs(
    code: scipy.sparse.csr_matrix,
    truth: NDArray[np.bool_],
    heldout_code: scipy.sparse.csr_matrix,
    heldout_truth: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The unit with the best ROC-AUC on construction cases for each task, and its held-out AUC."""
    best = unit_aucs(code, truth).argmax(0)
    heldout_aucs = unit_aucs(heldout_code[:, best], heldout_truth)
    return best, heldout_aucs[np.arange(len(best)), np.arange(len(best))]


def unit_aucs(code: scipy.sparse.csr_matrix, truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """``(n_units, n_tasks)`` ROC-AUC of every unit's activation for every task.

    Mann-Whitney on ranks; the zeros of a sparse column share one rank and are never written out;
    ties count one half.
    """
    by_unit = code.tocsc()
    n, m = by_unit.shape
    unit = np.repeat(np.arange(m), np.diff(by_unit.indptr))
    order = np.lexsort((by_unit.data, unit))
    active = np.diff(by_unit.indptr)
    zeros = n - active
    rank = np.arange(1, len(unit) + 1) + np.repeat(zeros - by_unit.indptr[:-1], active)
    value = by_unit.data[order]  # equal values of a unit share their mean rank
    differs = (np.diff(value, prepend=np.nan) != 0) | (np.diff(unit, prepend=-1) != 0)
    tied = np.cumsum(differs) - 1
    ranks = np.empty(len(unit))
    ranks[order] = (np.bincount(tied, rank) / np.bincount(tied))[tied]
    yes = truth.astype(np.float64)
    ranked = scipy.sparse.csc_matrix((ranks, by_unit.indices, by_unit.indptr), shape=(n, m))
    present = scipy.sparse.csc_matrix((np.ones(len(unit)), by_unit.indices, by_unit.indptr), (n, m))
    among_active = np.asarray(present.T @ yes)
    positives = yes.sum(0)
    total = np.asarray(ranked.T @ yes) + (positives - among_active) * (zeros[:, None] + 1) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return (total - positives * (positives + 1) / 2) / (positives * (n - positives))  # type: ignore[no-any-return]


class ProbedTasks(NamedTuple):
    """Attributes as tasks on construction cases, and what reads each best from the states."""

    tasks: list[Task]
    cases: Cases
    """At most 30,000, evenly spread."""
    truth: NDArray[np.bool_]
    """``(n, n_tasks)`` the answers."""
    probes: NDArray[np.float64]
    """``(n_tasks, d)`` logistic regressions, see :func:`logistic_probes`."""


def probed_tasks(attributes: ItemAttributes, construction: Cases) -> ProbedTasks:
    """The tasks of some attributes and their probes, fitted once."""
    key = (attributes, "probed tasks")
    if key not in construction.counted:
        tasks = attribute_tasks(attributes, construction)
        some = construction.take(spread(len(construction), MAX_TASK_CASES))
        truth = task_truth(attributes, tasks, some)
        probes = logistic_probes(some.states, truth)
        construction.counted[key] = ProbedTasks(tasks, some, truth, probes)
    kept: ProbedTasks = construction.counted[key]
    return kept


def supervised_aucs(
    probes: NDArray[np.float64],
    heldout_states: NDArray[np.float32],
    heldout_truth: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Held-out ROC-AUC per task of probes ``(n_tasks, d)`` of the hidden state: the upper bound."""
    values = heldout_states.astype(np.float64) @ probes.T
    return clustered_aucs(values, heldout_truth, np.arange(len(values))).auc


def attribute_table(
    attributes: ItemAttributes,
    construction: Cases,
    heldout: Cases,
    codes: Mapping[str, Codes],
) -> pd.DataFrame:
    """One row per attribute: view, prevalence, best unit and AUC of every code, supervised AUC."""
    tasks, _, truth, probes = probed_tasks(attributes, construction)
    rows = spread(len(construction), MAX_TASK_CASES)
    heldout_rows = spread(len(heldout), MAX_TASK_CASES)
    heldout = heldout.take(heldout_rows)
    heldout_truth = task_truth(attributes, tasks, heldout)
    names = [": ".join(attributes.names[task.column]) for task in tasks]
    table = pd.DataFrame({"attribute": names, "site": [task.view for task in tasks]})
    table["prevalence"] = heldout_truth.mean(0) if tasks else []
    for name, (code, heldout_code) in codes.items():
        best, auc = best_unit_aucs(code[rows], truth, heldout_code[heldout_rows], heldout_truth)
        table[f"auc_{name}"] = auc
        if name == "sae":
            table["best_latent"] = best
    table["auc_supervised"] = supervised_aucs(probes, heldout.states, heldout_truth)
    return table
