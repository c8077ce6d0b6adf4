"""A recommender whose states are edited, within a context."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from recsae.core.errors import InvalidInput
from recsae.sae.editing import Intervention
from recsae.steering.steps.applied import state_edit
from recsae.steering.steps.kinds import edits_states

if TYPE_CHECKING:
    from recsae.recommender.protocol import Recommender
    from recsae.sae.model import SAE
    from recsae.steering.steps.kinds import Step


@contextmanager
def steer(
    recommender: Recommender,
    sae: SAE,
    steps: Iterable[Step] | Mapping[int, float],
    *,
    site: str | None = None,
) -> Iterator[Recommender]:
    """Within the context the recommender's scores are those of the steered model.

    Parameters
    ----------
    steps
        Interventions and other edits of states, or ``{latent: value}`` to set latents.
    site
        The site that the SAE was trained on; default the first.

    Notes
    -----
    The model's own scoring and its framework's own evaluation see the edit as well. The model is
    as before afterwards, also when an exception leaves the context.

    Raises
    ------
    InvalidInput
        A step that is done to lists: a model gives scores.
    """
    if isinstance(steps, Mapping):
        steps = [Intervention((j,), "set", float(v)) for j, v in steps.items()]
    steps = list(steps)
    by_lists = [str(step) for step in steps if not edits_states(step)]
    if by_lists:
        raise InvalidInput(
            f"A model gives scores, and this is done to lists: {'; '.join(by_lists)}. Ask for "
            "lists and metrics, or export it."
        )
    with recommender.edit(state_edit(sae, steps), site):
        yield recommender
