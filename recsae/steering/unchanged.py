"""Why a steering left every list as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from recsae.core import columns as C
from recsae.sae.editing import Intervention, active_latents, turning
from recsae.steering.frontier import LIST_LENGTH
from recsae.steering.steps.goals import goal_of
from recsae.steering.steps.kinds import Direction, Filter, ReRanking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from recsae.run.workspace import Workspace
    from recsae.steering.steps.kinds import Step


class Namesakes(NamedTuple):
    """A turned latent that shares its name with others, which were not turned."""

    latent: int
    name: str
    others: tuple[int, ...]


class Unchanged(NamedTuple):
    """A steering that left every list as it was; ``str`` says why, and what would work."""

    no_state_changed: bool
    """Whether not even a hidden state changed."""
    never_active: tuple[int, ...]
    """Turned latents that are never active, on any construction case."""
    silent: tuple[int, ...]
    """Others that are not active on any of the histories in question."""
    namesakes: tuple[Namesakes, ...]
    other_steps: tuple[str, ...] = ()
    """Why what is done besides turning latents, to states and to lists, changes nothing."""

    def __str__(self) -> str:
        said = []
        if self.never_active:
            said.append(
                f"{_latents(self.never_active)} never active, for nobody: choose another concept "
                "(`recsae concepts`)"
            )
        if self.silent:
            said.append(
                f"{_latents(self.silent)} silent here, so there is nothing to multiply, cap or "
                f"switch off: add to it ('{self.silent[0]}+=2sd'), or look where it is active"
            )
        for same in self.namesakes:
            others = ", ".join(map(str, same.others))
            said.append(
                f"latent {same.latent} is one of {len(same.others) + 1} named {same.name!r} (also "
                f"{others}): turn all of them by the name"
            )
        said += self.other_steps
        if not said and self.no_state_changed:
            said.append("the settings leave activations as they are: give other values")
        elif not said:
            said.append("the change is too small to move an item: give larger values")
        return "; ".join(said)


def _latents(latents: tuple[int, ...]) -> str:
    if len(latents) == 1:
        return f"latent {latents[0]} is"
    return f"latents {', '.join(map(str, latents))} are"


def why_unchanged(
    work: Workspace,
    steps: Iterable[Step],
    states: torch.Tensor,
    first: Callable[[int], NDArray[np.integer[Any]]],
) -> Unchanged:
    """Find why a steering left all lists as they were.

    Parameters
    ----------
    states
        Hidden states ``(n, d)`` of the histories whose lists they are, at the run's site.
    first
        The lists ``(n, k)`` of the first k items, without steering.
    """
    steps = list(steps)
    interventions = [step for step in steps if isinstance(step, Intervention)]
    turned, change, _ = turning(work.sae, interventions)
    z = active_latents(work.sae, states, torch.tensor(turned, dtype=torch.int64))
    is_active = dict(zip(turned, (z > 0).any(0).tolist(), strict=True))
    dead = tuple(j for j in turned if np.isnan(work.statistics.quantiles[j]).all())
    silent = tuple(j for j in turned if not is_active[j] and j not in dead)
    names = work.dictionary.table.set_index(C.LATENT)[C.NAME]
    namesakes = []
    for latent in turned:
        others = tuple(int(j) for j in names.index[names == names[latent]] if j not in turned)
        if others and latent not in dead:
            namesakes.append(Namesakes(latent, str(names[latent]), others))
    nothing = len(interventions) == len(steps) and not bool(change(states).any())
    why = (_why(work, step, first) for step in steps)
    other_steps = tuple(one for one in why if one is not None)
    return Unchanged(nothing, dead, silent, tuple(namesakes), other_steps)


def _why(
    work: Workspace, step: Step, first: Callable[[int], NDArray[np.integer[Any]]]
) -> str | None:
    """Why a step that turns no latents changed nothing."""
    if isinstance(step, Direction | ReRanking) and step.strength == 0:
        return f"a strength of 0 does nothing ({step}): give another"
    if isinstance(step, Direction):
        return f"the direction {step.name!r} is too short to move an item: give a larger strength"
    if isinstance(step, Filter):
        return f"none of these lists has an item of {' or '.join(step.never)} to leave out"
    if not isinstance(step, ReRanking):
        return None
    weak = f"the re-ranking ({step}) is too weak to move an item: give a larger strength"
    if step.edits == "pushes":
        return weak
    goal = goal_of(work, step.wishes)
    logs = goal.log_popularity if step.by == "log popularity" else None
    weights = goal.weights if logs is None else logs
    if step.candidates is None and weights.max() > 0:  # any item could come up
        return weak
    items = first(step.candidates or LIST_LENGTH)
    found = weights[items[items > 0]]
    among = f"the first {step.candidates:,} items" if step.candidates else "these lists"
    if not found.any():
        what = "give more candidates" if step.candidates else "there is nothing to push down"
        return f"none of the items that it is about ({step.said()}) is in {among}: {what}"
    if (found == found[0]).all():
        return f"all items of {among} weigh the same ({step.said()}), so their order stays"
    return weak
