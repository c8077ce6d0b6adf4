"""The stage that measures what the SAE keeps of the recommender's accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recsae.core.files import plain
from recsae.evaluation.reconstruction import heldout_accuracy, heldout_by_running
from recsae.recommender.evaluation import evaluate, evaluation_cases
from recsae.sae.editing import insert_reconstruction

if TYPE_CHECKING:
    from recsae.run.workspace import Workspace


def accuracy_stage(work: Workspace) -> dict[str, Any]:
    """The recommender's own evaluation before and after, and every held-out position."""
    cases = evaluation_cases(work.recommender)
    before = evaluate(work.recommender, cases, work.progress)
    with work.recommender.edit(insert_reconstruction(work.sae), work.site):
        after = evaluate(work.recommender, cases, work.progress)
    if work.head is not None:
        heldout = heldout_accuracy(work.heldout, work.sae, work.head)
    else:
        heldout = heldout_by_running(
            *(work.recommender, work.heldout, work.sae, work.site, work.windows("heldout")),
            work.progress,
        )
    return {
        "metric_note": f"The recommender's own evaluation: {cases.description}.",
        "all_users": {
            "base": {name: float(v.mean()) for name, v in before.items()},
            "reconstructed": {name: float(v.mean()) for name, v in after.items()},
            "n_cases": len(cases.rows),
        },
        "heldout": plain(heldout),
    }
