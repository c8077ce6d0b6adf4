"""A recommender whose latents are turned, within a context."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from recsae.sae.editing import Intervention, make_edit

if TYPE_CHECKING:
    from recsae.recommender.protocol import Recommender
    from recsae.sae.model import SAE


@contextmanager
def steer(
    recommender: Recommender,
    sae: SAE,
    interventions: Iterable[Intervention] | Mapping[int, float],
    *,
    site: str | None = None,
) -> Iterator[Recommender]:
    """Within the context the recommender's scores are those of the steered model.

    Parameters
    ----------
    interventions
        Interventions, or ``{latent: value}`` to set latents.
    site
        The site that the SAE was trained on; default the first.

    Notes
    -----
    The model's own scoring and its framework's own evaluation see the edit as well. The model is
    as before afterwards, also when an exception leaves the context.
    """
    if isinstance(interventions, Mapping):
        interventions = [Intervention((j,), "set", float(v)) for j, v in interventions.items()]
    with recommender.edit(make_edit(sae, interventions), site):
        yield recommender
