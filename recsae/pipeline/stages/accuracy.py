"""The stage that measures what the SAE keeps of the recommender's accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from recsae.capture.context import short_context
from recsae.core import layout
from recsae.core.files import plain
from recsae.evaluation.reconstruction import HeldoutAccuracy, heldout_accuracy, heldout_by_running
from recsae.recommender.evaluation import evaluate, evaluation_cases
from recsae.sae.editing import insert_reconstruction

if TYPE_CHECKING:
    from recsae.recommender.evaluation import Values
    from recsae.run.workspace import Workspace


@dataclass(frozen=True)
class ShortStates:
    """How the states that the SAE was trained on differ from those of the model's recommendations.

    Held-out states are the latter.
    """

    share: float
    """Of the training states, those with less context."""
    same_items: float
    """Share of the ten recommendations that are the same for such a state, on average."""
    same_latents: float
    """Share of the active latents of the one that are active on the other."""
    n_compared: int


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
    short_states: ShortStates | None
    """None if all training states have their whole context."""

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
            "short_states": vars(self.short_states) if self.short_states else None,
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
        short_states=_short_states(work),
    )


def _short_states(work: Workspace) -> ShortStates | None:
    """Compare training states that lack context with those that have it."""
    windows = work.windows(layout.CONSTRUCTION_STORE)
    made = short_context(work.recommender, work.site, windows, work.config.seed)
    if made is None:
        return None
    with torch.no_grad():
        short, whole = (
            work.sae.encode(torch.from_numpy(one.states[work.site])) > 0 for one in made[1:]
        )
    same = made.short.top_items[:, :, None] == made.whole.top_items[:, None, :]
    return ShortStates(
        share=round(made.share, 4),
        same_items=float(same.any(2).mean()),
        same_latents=float((short & whole).sum() / whole.sum().clamp(min=1)),
        n_compared=len(same),
    )


def _means(metrics: Values) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in metrics.items()}
