"""The stage that puts directions made from the answers beside the SAE's latents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recsae.capture.cases import spread
from recsae.concepts.attributes.probes import class_means, logistic_probes
from recsae.concepts.attributes.tasks import MAX_CASES, attribute_tasks, task_truth
from recsae.evaluation.attribute_auc import unit_aucs
from recsae.evaluation.explained import score_metric
from recsae.evaluation.supervised import (
    Half,
    Yardstick,
    plain_value,
    yardstick_control,
    yardstick_summary,
    yardstick_table,
)
from recsae.sae.baselines import BASELINES
from recsae.sae.codes import sparse_code

if TYPE_CHECKING:
    from recsae.run.workspace import Workspace


def yardstick_of(work: Workspace) -> Yardstick:
    """Tasks, answers, latents and directions; all chosen and fitted on construction cases."""
    attributes = work.labeler.attributes
    tasks = attribute_tasks(attributes, work.construction)
    sides = []
    for cases in (work.construction, work.heldout):
        some = cases.take(spread(len(cases), MAX_CASES))
        code = sparse_code(work.sae.encode_sparse, some.states, work.sae.n_latents)
        sides.append(Half(some, task_truth(attributes, tasks, some), code))
    known, test = sides
    latents = unit_aucs(known.code, known.truth).argmax(0)
    directions = {
        "sae": work.sae.directions().double().numpy()[latents],
        "class_mean": class_means(known.cases.states, known.truth),
        "probe": logistic_probes(known.cases.states, known.truth),
    }
    return Yardstick(
        *(attributes, tasks, known, test, latents, directions, work.head),
        score_metric(work.head, work.recommender.catalog.recommendable, work.sae.width),
        {name: work.baseline(name, work.config.k) for name in BASELINES} if tasks else {},
    )


def supervised_stage(work: Workspace) -> dict[str, Any]:
    """``{rows, summary}``: the table as records and what it says in all, ready for JSON.

    In the summary ``explained_together`` is the share of score variance that all attributes
    explain: by the activations of their best latents (``n_latents`` different ones), by the
    projections on their directions, and by the ``answers`` themselves, the paper's supervised
    dictionary. Projections are dense: as many as the state is wide (``width``) explain everything.
    """
    yardstick = yardstick_of(work)
    turned = yardstick_control(yardstick)
    table = yardstick_table(yardstick, turned)
    return {
        "rows": [{k: plain_value(v) for k, v in row.items()} for row in table.to_dict("records")],
        "summary": {
            "n_attributes": len(yardstick.tasks),
            "left_out": [entry._asdict() for entry in work.left_out],
            **yardstick_summary(yardstick, table, turned, work.site),
        },
    }
