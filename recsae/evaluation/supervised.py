"""The supervised yardstick: how near an SAE's latents come to directions made from the answers.

After Makelov, Lange & Nanda 2024, "Towards principled evaluations of sparse autoencoders for
interpretability and control": for every attribute a class-mean direction and a logistic probe
stand beside the SAE's best latent, judged by interpretability (does its value tell the
attribute?), approximation (how much of the scores does it explain?) and control (does editing
along it change the lists as intended?). Two ways of failing are flagged: an attribute split over
many latents, and an attribute hidden behind a stronger one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from recsae.concepts.attributes.probes import (
    balanced_accuracies,
    best_thresholds,
    clustered_aucs,
)
from recsae.evaluation.attribute_auc import best_unit_aucs
from recsae.evaluation.control import Control, control
from recsae.evaluation.explained import explained_by_all, explained_by_one
from recsae.evaluation.splitting import OVERLAP, SPLIT_AT, SPLIT_GAIN, Coded, occlusion, splitting
from recsae.sae.baselines import BASELINES
from recsae.sae.codes import sparse_code

if TYPE_CHECKING:
    import scipy.sparse
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.concepts.attributes.table import ItemAttributes
    from recsae.concepts.attributes.tasks import Task
    from recsae.recommender.protocol import LinearHead
    from recsae.sae.baselines import LinearCode

    Floats = NDArray[np.float64]
    Truth = NDArray[np.bool_]

MAX_CASES = 30_000
METHODS = ("sae", "class_mean", "probe")


class Half(NamedTuple):
    """Construction or held-out cases with the answers and the SAE's activations."""

    cases: Cases
    truth: Truth
    code: scipy.sparse.csr_matrix


class Yardstick(NamedTuple):
    """What every part of the comparison is made from."""

    attributes: ItemAttributes
    tasks: list[Task]
    known: Half
    test: Half
    latents: NDArray[np.int64]  # the best of each task, on construction cases
    directions: dict[str, Floats]  # (n_tasks, d) for each method
    head: LinearHead | None  # None where scores are not linear in the states
    metric: Floats  # (d, d) of the scores' variance, see score_metric
    baselines: dict[str, LinearCode]  # with as many active units per state as the SAE


def yardstick_table(y: Yardstick, turned: Control | None) -> pd.DataFrame:
    """One row per attribute; everything is measured on held-out cases.

    Columns, where M is ``sae`` (the best latent), ``class_mean`` or ``probe``:

    - ``attribute, site, prevalence, best_latent``;
    - ``auc_M, auc_low_M, balanced_accuracy_M``: of the activation or projection, and of
      ``auc_neurons, auc_random, auc_pca`` the best unit;
    - ``explained_M``: share of score variance that this one value explains;
    - ``lift_M, off_target_M, ndcg_kept_M``: change of the attribute's share in the top 10 after an
      edit, mean absolute change of the other attributes, NDCG@10 kept; see
      :mod:`recsae.evaluation.control`. Missing where scores are not linear in the states.
      ``share_before`` is the unedited share;
    - ``auc_latents_1`` to ``auc_latents_16, overlap, over_split``, and ``occluded_by,
      told_apart_auc``: see :mod:`recsae.evaluation.splitting`.
    """
    names = [_name(y.attributes, task) for task in y.tasks]
    table = pd.DataFrame({"attribute": names, "site": [task.view for task in y.tasks]})
    if not y.tasks:
        return table
    table["prevalence"] = y.test.truth.mean(0)
    table["best_latent"] = y.latents
    for method in METHODS:
        values, tested = _values(y, y.known, method), _values(y, y.test, method)
        aucs = clustered_aucs(tested, y.test.truth, y.test.cases.user)
        table[f"auc_{method}"], table[f"auc_low_{method}"] = aucs.auc, aucs.low()
        thresholds = best_thresholds(values, y.known.truth)
        table[f"balanced_accuracy_{method}"] = balanced_accuracies(tested, y.test.truth, thresholds)
        known, test = (values, y.known.cases.states), (tested, y.test.cases.states)
        table[f"explained_{method}"] = explained_by_one(known, test, y.metric)
    for name, code in y.baselines.items():
        codes = [
            sparse_code(code.encode_sparse, side.cases.states, code.n_latents)
            for side in (y.known, y.test)
        ]
        table[f"auc_{name}"] = best_unit_aucs(codes[0], y.known.truth, codes[1], y.test.truth)[1]
    if turned is not None:
        table = table.assign(**_control_columns(y, turned))
    sides = _coded(y.known), _coded(y.test)
    split, hidden = splitting(*sides), occlusion(*sides, y.latents)
    hidden["occluded_by"] = [None if by is None else names[by] for by in hidden["occluded_by"]]
    return table.assign(**split, **hidden)


def _coded(side: Half) -> Coded:
    return Coded(side.code, side.truth, side.cases.states)


def _values(y: Yardstick, side: Half, method: str) -> Floats:
    """``(n, n_tasks)`` activations of the best latents, or projections on directions."""
    if method == "sae":
        return np.asarray(side.code[:, y.latents].toarray(), dtype=np.float64)
    return side.cases.states.astype(np.float64) @ y.directions[method].T


def yardstick_control(y: Yardstick) -> Control | None:
    """Edits along every direction, at one norm; None where scores are not linear in the states."""
    if y.head is None or not y.tasks:
        return None
    values = y.attributes.matrix[:, [task.column for task in y.tasks]].toarray()
    directions = np.concatenate([y.directions[method] for method in METHODS])
    return control(directions, values.astype(float), y.known.cases, y.test.cases, y.head)


def _control_columns(y: Yardstick, turned: Control) -> dict[str, Floats]:
    m = len(y.tasks)
    own = np.arange(m)
    found = {"share_before": turned.before}
    for number, method in enumerate(METHODS):
        part = slice(number * m, (number + 1) * m)
        change = turned.after[part] - turned.before
        found[f"lift_{method}"] = change[own, own]
        others = np.abs(change).sum(1) - np.abs(change[own, own])
        found[f"off_target_{method}"] = others / (m - 1) if m > 1 else np.full(m, np.nan)
        found[f"ndcg_kept_{method}"] = turned.ndcg_kept[part]
    return found


def yardstick_summary(
    y: Yardstick, table: pd.DataFrame, turned: Control | None, site: str
) -> dict[str, Any]:
    """What the table says in all, ready for JSON; see :func:`yardstick_table`."""
    found: dict[str, Any] = {}
    if not y.tasks:
        return found
    measures = ["auc", "balanced_accuracy", "explained"]
    if turned is not None:
        measures += ["lift", "off_target", "ndcg_kept"]
    for measure in measures:
        means = {m: plain_value(table[f"{measure}_{m}"].mean()) for m in METHODS}
        found[f"mean_{measure}"] = means
    codes = ("sae", *BASELINES, "class_mean", "probe")
    found["mean_auc"] = {name: plain_value(table[f"auc_{name}"].mean()) for name in codes}
    known, test = y.known.cases.states, y.test.cases.states
    sources = {m: (_values(y, y.known, m), _values(y, y.test, m)) for m in METHODS}
    sources["answers"] = (y.known.truth.astype(float), y.test.truth.astype(float))
    found["explained_together"] = {
        name: explained_by_all((values, known), (tested, test), y.metric)
        for name, (values, tested) in sources.items()
    }
    found |= {"n_latents": len(set(y.latents.tolist())), "width": len(y.metric)}
    if turned is None:
        found["control"] = {
            "skipped": f"Scores are not linear in the states at {site!r}: an edit there has "
            "no norm that could be made the same for every direction."
        }
    else:
        found["control"] = {"dose": turned.dose, "n_cases": turned.n_cases}
    found["over_split"] = table.loc[table["over_split"], "attribute"].tolist()
    found["occluded"] = table.loc[table["occluded_by"].notna(), "attribute"].tolist()
    found["rules"] = {
        "over_split": f"{SPLIT_AT} latents together tell it by more than {SPLIT_GAIN} of AUC "
        f"better than one, and share less than {OVERLAP} of their activity",
        "occluded": "its best latent tells another attribute better, one that moves the states "
        "more, while a probe tells the two apart",
    }
    return found


def _name(attributes: ItemAttributes, task: Task) -> str:
    return ": ".join(attributes.names[task.column])


def plain_value(value: Any) -> Any:
    """What JSON can hold; None for what is unknown."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not np.isfinite(value) else value
