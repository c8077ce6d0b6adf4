"""The stage that measures what the SAE keeps of the recommender's accuracy."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from recsae.capture.context import short_context
from recsae.core import layout
from recsae.core.files import plain
from recsae.evaluation.reconstruction import HeldoutAccuracy, heldout_accuracy, heldout_by_running
from recsae.recommender.evaluation import evaluate, evaluation_cases
from recsae.sae.editing import insert_reconstruction

if TYPE_CHECKING:
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
    _ = work.sae_codes  # stores and codes are made by all together, before jobs are dealt out
    jobs: dict[str, Callable[[], Any]] = {
        "before": partial(_evaluated, work),
        "after": partial(_evaluated, work, reconstructed=True),
        "heldout": partial(_at_positions, work),
        "short": partial(_short_states, work),
    }
    done = work.ranks.scatter(jobs)
    cases = evaluation_cases(work.recommender)
    return Accuracy(
        evaluation=cases.description,
        base=done["before"],
        reconstructed=done["after"],
        n_cases=len(cases.rows),
        heldout=done["heldout"],
        short_states=done["short"],
    )


def _evaluated(work: Workspace, *, reconstructed: bool = False) -> dict[str, float]:
    """Means of the recommender's own metrics."""
    recommender = work.recommender
    edit = insert_reconstruction(work.sae)
    with recommender.edit(edit, work.site) if reconstructed else nullcontext():
        values = evaluate(recommender, evaluation_cases(recommender), work.progress)
    return {name: float(value.mean()) for name, value in values.items()}


def _at_positions(work: Workspace) -> HeldoutAccuracy:
    if work.head is not None:
        return heldout_accuracy(work.heldout, work.sae, work.head)
    return heldout_by_running(
        *(work.recommender, work.heldout, work.sae, work.site, work.windows(layout.HELDOUT_STORE)),
        work.progress,
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
