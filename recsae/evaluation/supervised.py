"""The SAE's latents beside supervised directions, which are made from the answers.

After Makelov, Lange & Nanda 2024, "Towards principled evaluations of sparse autoencoders for
interpretability and control": for every attribute a class-mean direction and a logistic probe
stand beside the SAE's best latent. All are compared by interpretability (how well does the value
predict the attribute?), approximation (how much of the scores does it explain?) and control (does
editing along it change the lists as intended?). Two ways of failing are flagged: an attribute split
over many latents, and an attribute hidden behind a stronger one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

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
from recsae.evaluation.over_splitting import (
    OVERLAP,
    SPLIT_AT,
    SPLIT_GAIN,
    CodedCases,
    occlusion,
    splitting,
)
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

METHODS: tuple[Literal["sae", "class_mean", "probe"], ...] = ("sae", "class_mean", "probe")
"""The best latent of an attribute, and the two supervised directions beside it."""
LINEAR_ONLY = ("lift", "off_target", "ndcg_kept")
"""Measures of control, which need scores that are linear in the states."""


class LabelledCases(NamedTuple):
    """Construction or held-out cases with the answers and the SAE's activations."""

    cases: Cases
    truth: Truth
    """``(n, n_tasks)``."""
    code: scipy.sparse.csr_matrix
    """``(n, n_latents)``."""


class Directions(NamedTuple):
    """The SAE's best latents and the supervised directions, and all that compares them."""

    attributes: ItemAttributes
    tasks: list[Task]
    construction: LabelledCases
    heldout: LabelledCases
    latents: NDArray[np.int64]
    """``(n_tasks,)`` the best latent of each task, on construction cases."""
    vectors: dict[str, Floats]
    """``(n_tasks, d)`` for each method."""
    head: LinearHead | None
    """None where scores are not linear in the states."""
    metric: Floats
    """``(d, d)`` of the scores' variance, see :mod:`recsae.recommender.score_metric`."""
    baselines: dict[str, LinearCode]
    """With as many active units per state as the SAE."""


@dataclass(frozen=True)
class SupervisedSummary:
    """The table of :func:`supervised_table` in all."""

    means: dict[str, dict[str, float | None]]
    """Of each measure, by method; AUCs also of the baselines."""
    explained_together: dict[str, float]
    """Share of score variance that all attributes explain, by method and by the answers."""
    n_latents: int
    """Different latents among the best ones of the attributes."""
    width: int
    """Hidden size d: so many projections explain everything."""
    control: Control | None
    """None where scores are not linear in the states."""
    site: str
    over_split: list[str]
    """Attributes that are over-split."""
    occluded: list[str]
    """Attributes that are hidden behind another."""

    def to_dict(self) -> dict[str, Any]:
        """The figures as ``supervised.json`` has them."""
        if self.control is None:
            control: dict[str, Any] = {
                "skipped": f"Scores are not linear in the states at {self.site!r}: an edit there "
                "has no norm that could be made the same for every direction."
            }
        else:
            control = {"dose": self.control.edit_norm, "n_cases": self.control.n_cases}
        return {
            **{f"mean_{measure}": means for measure, means in self.means.items()},
            "explained_together": self.explained_together,
            "n_latents": self.n_latents,
            "width": self.width,
            "control": control,
            "over_split": self.over_split,
            "occluded": self.occluded,
            "rules": {
                "over_split": f"{SPLIT_AT} latents together tell it by more than {SPLIT_GAIN} of "
                f"AUC better than one, and share less than {OVERLAP} of their activity",
                "occluded": "its best latent tells another attribute better, one that moves the "
                "states more, while a probe tells the two apart",
            },
        }


def supervised_table(made: Directions, edited: Control | None) -> pd.DataFrame:
    """One row per attribute, everything measured on held-out cases.

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
      told_apart_auc``: see :mod:`recsae.evaluation.over_splitting`.
    """
    names = [_name(made.attributes, task) for task in made.tasks]
    table = pd.DataFrame({"attribute": names, "site": [task.view for task in made.tasks]})
    if not made.tasks:
        return table
    construction, heldout = made.construction, made.heldout
    table["prevalence"] = heldout.truth.mean(0)
    table["best_latent"] = made.latents
    for method in METHODS:
        fitted, tested = _values(made, construction, method), _values(made, heldout, method)
        aucs = clustered_aucs(tested, heldout.truth, heldout.cases.user)
        table[f"auc_{method}"], table[f"auc_low_{method}"] = aucs.auc, aucs.low()
        thresholds = best_thresholds(fitted, construction.truth)
        accuracies = balanced_accuracies(tested, heldout.truth, thresholds)
        table[f"balanced_accuracy_{method}"] = accuracies
        pairs = (fitted, construction.cases.states), (tested, heldout.cases.states)
        table[f"explained_{method}"] = explained_by_one(*pairs, made.metric)
    for name, code in made.baselines.items():
        codes = [
            sparse_code(code.encode_sparse, part.cases.states, code.n_latents)
            for part in (construction, heldout)
        ]
        aucs_of_best = best_unit_aucs(codes[0], construction.truth, codes[1], heldout.truth)[1]
        table[f"auc_{name}"] = aucs_of_best
    if edited is not None:
        table = table.assign(**_control_columns(made, edited))
    coded = _coded(construction), _coded(heldout)
    occluded = occlusion(*coded, made.latents)
    return table.assign(
        **splitting(*coded).to_dict(),
        occluded_by=[None if by is None else names[by] for by in occluded.occluded_by],
        told_apart_auc=occluded.separation_auc,
    )


def _coded(part: LabelledCases) -> CodedCases:
    return CodedCases(part.code, part.truth, part.cases.states)


def _values(made: Directions, part: LabelledCases, method: str) -> Floats:
    """``(n, n_tasks)`` activations of the best latents, or projections on directions."""
    if method == "sae":
        return np.asarray(part.code[:, made.latents].toarray(), dtype=np.float64)
    return part.cases.states.astype(np.float64) @ made.vectors[method].T


def control_by_directions(made: Directions) -> Control | None:
    """Edits along every direction, at one norm; None where scores are not linear in the states."""
    if made.head is None or not made.tasks:
        return None
    values = made.attributes.matrix[:, [task.column for task in made.tasks]].toarray()
    directions = np.concatenate([made.vectors[method] for method in METHODS])
    cases = made.construction.cases, made.heldout.cases
    return control(directions, values.astype(float), *cases, made.head)


def _control_columns(made: Directions, edited: Control) -> dict[str, Floats]:
    m = len(made.tasks)
    own = np.arange(m)
    columns = {"share_before": edited.before}
    for number, method in enumerate(METHODS):
        part = slice(number * m, (number + 1) * m)
        change = edited.after[part] - edited.before
        columns[f"lift_{method}"] = change[own, own]
        others = np.abs(change).sum(1) - np.abs(change[own, own])
        columns[f"off_target_{method}"] = others / (m - 1) if m > 1 else np.full(m, np.nan)
        columns[f"ndcg_kept_{method}"] = edited.ndcg_kept[part]
    return columns


def supervised_summary(
    made: Directions, table: pd.DataFrame, edited: Control | None, site: str
) -> SupervisedSummary | None:
    """Means and totals of :func:`supervised_table`; None without any attribute."""
    if not made.tasks:
        return None
    measures = ["balanced_accuracy", "explained"]
    if edited is not None:
        measures += LINEAR_ONLY
    names = ("sae", *BASELINES, "class_mean", "probe")
    means = {"auc": {name: plain_value(table[f"auc_{name}"].mean()) for name in names}}
    for measure in measures:
        means[measure] = {m: plain_value(table[f"{measure}_{m}"].mean()) for m in METHODS}
    parts = made.construction, made.heldout
    values: dict[str, tuple[Floats, ...]] = {
        m: tuple(_values(made, part, m) for part in parts) for m in METHODS
    }
    values["answers"] = tuple(part.truth.astype(float) for part in parts)
    states = tuple(part.cases.states for part in parts)
    together = {
        name: explained_by_all((fitted, states[0]), (tested, states[1]), made.metric)
        for name, (fitted, tested) in values.items()
    }
    return SupervisedSummary(
        means=means,
        explained_together=together,
        n_latents=len(set(made.latents.tolist())),
        width=len(made.metric),
        control=edited,
        site=site,
        over_split=table.loc[table["over_split"], "attribute"].tolist(),
        occluded=table.loc[table["occluded_by"].notna(), "attribute"].tolist(),
    )


def _name(attributes: ItemAttributes, task: Task) -> str:
    return ": ".join(attributes.names[task.column])


def plain_value(value: Any) -> Any:
    """What JSON can hold; None for what is unknown."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not np.isfinite(value) else value
