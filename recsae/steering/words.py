"""Steerings in words: what turned latents promote, what is done, and for whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from recsae.concepts.attributes.values import own_columns
from recsae.concepts.wording import concept_name
from recsae.sae.editing import Intervention

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from recsae.run.workspace import Workspace
    from recsae.steering.steps.kinds import Step

MIN_PROMOTED = 5
"""An attribute value of fewer items is not named as what a latent promotes."""


def promoted_values(
    work: Workspace, interventions: Iterable[Intervention]
) -> dict[int, str | None]:
    """The attribute value whose items each turned latent promotes most, by how surely it does.

    None where scores are not linear in the states, or items have no attributes.
    """
    latents = list(dict.fromkeys(j for step in interventions for j in step.latents))
    own = own_columns(work.attributes)
    if not latents or not own or work.head is None:
        return dict.fromkeys(latents)
    real = np.flatnonzero(work.recommender.catalog.recommendable)
    has = (work.attributes.matrix[real][:, own] > 0).astype(np.float64)
    n = np.asarray(has.sum(0)).ravel()
    with torch.no_grad():
        moved = (work.head.items[real] @ work.sae.directions()[latents].T).double().numpy()
    moved = (moved - moved.mean(0)) / np.maximum(moved.std(0), 1e-12)
    surely = (has.T @ moved) / np.sqrt(np.maximum(n, 1))[:, None]
    surely[n < MIN_PROMOTED] = -np.inf
    names = [
        concept_name(attribute, value, {})
        for attribute, value in (work.attributes.names[own[j]] for j in surely.argmax(0).tolist())
    ]
    return dict(zip(latents, names, strict=True))


def in_words(
    work: Workspace, steps: Iterable[Step], promoted: Mapping[int, str | None]
) -> tuple[str, ...]:
    """Say every step; ``promoted`` is what :func:`promoted_values` gives."""
    sd = work.statistics.sd.tolist()
    return tuple(
        one.said(promoted, sd) if isinstance(one, Intervention) else str(one) for one in steps
    )


def unknown_users(work: Workspace, users: tuple[str, ...] | None) -> int:
    """How many users of a steering the model does not know."""
    if users is None:
        return 0
    return int((~np.isin(np.array(users, dtype=str), work.recommender.sequences().users)).sum())
