"""The stage that puts supervised directions, made from the answers, beside the SAE's latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recsae.capture.cases import spread
from recsae.concepts.attributes.probes import class_means
from recsae.concepts.attributes.tasks import MAX_TASK_CASES, task_truth
from recsae.evaluation.attribute_auc import probed_tasks, unit_aucs
from recsae.evaluation.supervised import (
    Directions,
    LabelledCases,
    SupervisedSummary,
    control_by_directions,
    plain_value,
    supervised_summary,
    supervised_table,
)
from recsae.sae.baselines import BASELINES
from recsae.sae.codes import sparse_code

if TYPE_CHECKING:
    import pandas as pd

    from recsae.concepts.attributes.learnable import UnlearnableAttribute
    from recsae.run.workspace import Workspace


@dataclass(frozen=True)
class Supervised:
    """The SAE's latents beside supervised directions, attribute by attribute and in all."""

    table: pd.DataFrame
    """See :func:`recsae.evaluation.supervised.supervised_table`."""
    left_out: list[UnlearnableAttribute]
    summary: SupervisedSummary | None
    """None without any attribute."""

    def to_dict(self) -> dict[str, Any]:
        """The figures as ``supervised.json`` has them: ``rows`` and ``summary``."""
        rows = self.table.to_dict("records")
        return {
            "rows": [{key: plain_value(value) for key, value in row.items()} for row in rows],
            "summary": {
                "n_attributes": len(self.table),
                "left_out": [attribute.to_dict() for attribute in self.left_out],
                **(self.summary.to_dict() if self.summary else {}),
            },
        }


def directions_of(work: Workspace) -> Directions:
    """Tasks, answers, latents and directions, all chosen and fitted on construction cases."""
    attributes, encode = work.attribute_labeler.attributes, work.sae.encode_sparse
    tasks, known, truth, probes = probed_tasks(attributes, work.construction)
    tested = work.heldout.take(spread(len(work.heldout), MAX_TASK_CASES))
    construction, heldout = (
        LabelledCases(cases, answers, sparse_code(encode, cases.states, work.sae.n_latents))
        for cases, answers in ((known, truth), (tested, task_truth(attributes, tasks, tested)))
    )
    latents = unit_aucs(construction.code, construction.truth).argmax(0)
    vectors = {
        "sae": work.sae.directions().double().numpy()[latents],
        "class_mean": class_means(known.states, truth),
        "probe": probes,
    }
    return Directions(
        *(attributes, tasks, construction, heldout, latents, vectors, work.head),
        work.metric,
        {name: work.baseline(name, work.n_active) for name in BASELINES} if tasks else {},
    )


def supervised_stage(work: Workspace) -> Supervised:
    """Compare the SAE's best latent of each attribute with supervised directions.

    In the summary ``explained_together`` is the share of score variance that all attributes
    explain: by the activations of their best latents (``n_latents`` different ones), by the
    projections on their directions, and by the ``answers`` themselves, the paper's supervised
    dictionary. Projections are dense: as many as the state is wide (``width``) explain everything.
    """
    made = directions_of(work)
    edited = control_by_directions(made)
    table = supervised_table(made, edited)
    return Supervised(table, work.left_out, supervised_summary(made, table, edited, work.site))
