"""Attributes as tasks: which values to predict, each in the view where the states know it best."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsae.capture.cases import spread
from recsae.concepts.attributes.names import ERA, FANS, HALF, LENGTH, PERIOD, REPEAT, TERM
from recsae.concepts.attributes.probes import discriminants
from recsae.concepts.attributes.table import ItemAttributes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases

TARGETS = {"last": 1, "last5": 3, "top1": 1, "top10": 5}
"""The views that are tried; an attribute is present if so many of a view's items have it."""
MAX_TASK_CASES = 30_000
"""Cases at most on which tasks are chosen and predicted, evenly spread: bounds the time."""
MAX_TASKS = 60
"""Attributes at most, the most frequent ones: bounds the number of probes."""
MIN_TASK_CASES = 50
"""Positive and negative cases at least, in either half of the users, for a probe to be fitted."""
NOT_ASKED = (TERM, FANS, ERA, HALF, PERIOD, REPEAT, LENGTH)
"""Attributes that make no tasks, since they overlap with others or say nothing of items."""


class Task(NamedTuple):
    """One attribute in one view, as a yes or no for every case."""

    column: int
    """The value's column of the ItemAttributes."""
    view: str


def attribute_tasks(
    attributes: ItemAttributes,
    cases: Cases,
    limit: int | None = MAX_TASKS,
    skip: tuple[str, ...] = NOT_ASKED,
) -> list[Task]:
    """The attributes to predict, each in the view where the state knows it best.

    Chosen on construction cases: a closed-form linear probe is fitted on the first half of the
    users and compared on the second. ``skip`` names attributes that are left out, title terms
    and communities by default; of the values the ``limit`` most frequent are kept.
    """
    cases = cases.take(spread(len(cases), MAX_TASK_CASES))
    search = cases.user < cases.n_users // 2
    confirm = ~search
    states = cases.states.astype(np.float64)
    best: dict[int, tuple[float, str, float]] = {}
    for view in TARGETS:
        truth = _truth(attributes, cases, view)
        usable = np.ones(truth.shape[1], dtype=bool)
        for half in (search, confirm):
            usable &= truth[half].sum(0) >= MIN_TASK_CASES
            usable &= (~truth[half]).sum(0) >= MIN_TASK_CASES
        usable &= np.array([name[0] not in skip for name in attributes.names], dtype=bool)
        columns = np.flatnonzero(usable)
        if not len(columns):
            continue
        directions = discriminants(cases.states[search], truth[search][:, columns])
        aucs = _aucs_of_values(states[confirm] @ directions.T, truth[confirm][:, columns])
        for column, auc in zip(columns.tolist(), aucs.tolist(), strict=True):
            if auc > best.get(column, (0.0,))[0]:
                best[column] = (auc, view, float(truth[:, column].mean()))
    frequent = sorted(best, key=lambda c: (-best[c][2], c))[:limit]
    return [Task(column, best[column][1]) for column in sorted(frequent)]


def task_truth(attributes: ItemAttributes, tasks: list[Task], cases: Cases) -> NDArray[np.bool_]:
    """Answers to the tasks for every case, ``(n, n_tasks)``."""
    by_view = {view: _truth(attributes, cases, view) for view in {t.view for t in tasks}}
    columns = [by_view[task.view][:, task.column] for task in tasks]
    return np.stack(columns, axis=1) if columns else np.zeros((len(cases), 0), dtype=bool)


def _truth(attributes: ItemAttributes, cases: Cases, view: str) -> NDArray[np.bool_]:
    return np.asarray(attributes.counts(cases, view).toarray() >= TARGETS[view])


def _aucs_of_values(values: NDArray[np.float64], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """ROC-AUC per column of dense values, ties broken by order."""
    n = len(values)
    ranks = np.empty_like(values)
    order = values.argsort(0, kind="stable")
    np.put_along_axis(ranks, order, np.arange(1, n + 1, dtype=float)[:, None], axis=0)
    positives = truth.sum(0)
    return ((ranks * truth).sum(0) - positives * (positives + 1) / 2) / (  # type: ignore[no-any-return]
        positives * (n - positives)
    )
