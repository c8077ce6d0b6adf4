"""The stage that measures what the SAE keeps of the recommender's accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recsae.core import layout
from recsae.core.files import plain
from recsae.evaluation.reconstruction import HeldoutAccuracy, heldout_accuracy, heldout_by_running
from recsae.recommender.evaluation import evaluate, evaluation_cases
from recsae.sae.editing import insert_reconstruction

if TYPE_CHECKING:
    from recsae.recommender.evaluation import Values
    from recsae.run.workspace import Workspace


@dataclass(frozen=True)
class Accuracy:
    """Accuracy with the reconstruction in place, beside that of the recommender."""

    evaluation: str
    """What the recommender's own evaluation is, in words."""
    base: dict[str, float]
    """Means of its metrics, unedited."""
    reconstructed: dict[str, float]
    """The same with the reconstruction in place."""
    n_cases: int
    heldout: HeldoutAccuracy
    """At every held-out position."""

    def to_dict(self) -> dict[str, Any]:
        """The figures as ``accuracy.json`` has them."""
        return {
            "metric_note": f"The recommender's own evaluation: {self.evaluation}.",
            "all_users": {
                "base": self.base,
                "reconstructed": self.reconstructed,
                "n_cases": self.n_cases,
            },
            "heldout": plain(self.heldout.to_dict()),
        }


def accuracy_stage(work: Workspace) -> Accuracy:
    """The recommender's own evaluation before and after, and every held-out position."""
    cases = evaluation_cases(work.recommender)
    before = evaluate(work.recommender, cases, work.progress)
    with work.recommender.edit(insert_reconstruction(work.sae), work.site):
        after = evaluate(work.recommender, cases, work.progress)
    if work.head is not None:
        heldout = heldout_accuracy(work.heldout, work.sae, work.head)
    else:
        heldout = heldout_by_running(
            *(
                work.recommender,
                work.heldout,
                work.sae,
                work.site,
                work.windows(layout.HELDOUT_STORE),
            ),
            work.progress,
        )
    return Accuracy(
        evaluation=cases.description,
        base=_means(before),
        reconstructed=_means(after),
        n_cases=len(cases.rows),
        heldout=heldout,
    )


def _means(metrics: Values) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in metrics.items()}
