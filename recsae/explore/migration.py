"""Steering files carried over to the run of a retrained model, latent by latent."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsae.concepts.status import VERIFIED
from recsae.core import columns as C
from recsae.core import layout
from recsae.core.errors import ArtifactMismatch, NotEnoughData
from recsae.explore.compare import Matching, match_runs
from recsae.run.open import READ
from recsae.run.record import Run
from recsae.run.tables import RunTables
from recsae.sae.editing import Intervention
from recsae.sae.model import SAE
from recsae.sae.statistics import Statistics
from recsae.steering.effects import MIN_POSITIONS
from recsae.steering.files import Steering, load_steering
from recsae.steering.frontier import outcome_of
from recsae.steering.steered_scores import thinned
from recsae.steering.steps.applied import steered_lists
from recsae.steering.steps.goals import goal_of
from recsae.steering.steps.kinds import Direction, in_order
from recsae.steering.tuning.facts import goal_effect

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from recsae.run.workspace import Workspace
    from recsae.steering.files import GoalRequest
    from recsae.steering.tuning.results import GoalEffect

BY_LATENT = "latent"
BY_NAME = "name"
MIN_MATCHED = 0.8
"""At least this part of a file's weight has to have counterparts: settings are found, or chosen,
together, and with a fifth of them gone the rest has lost what kept it in balance."""


class Counterpart(NamedTuple):
    """What stands for a latent in the new run."""

    latents: tuple[int, ...]
    """None of them where there is nothing like it."""
    by: str
    """Whether the latent itself is alike (``latent``), or those of its ``name`` stand in."""
    similarity: float
    """Cosine or correlation with the latent; NaN by name."""


@dataclass(frozen=True)
class MigratedLatent:
    """A latent of the steering file and what stands for it in the new run."""

    latent: int
    name: str
    counterpart: Counterpart
    new_names: tuple[str, ...]
    """Names of the counterpart's latents."""


@dataclass(frozen=True)
class Migration:
    """A steering file carried over to another run."""

    steering: Steering
    """For the new run."""
    latents: tuple[MigratedLatent, ...]
    """Every latent that the file turns."""
    matched: float
    """Part of the file's weight that is carried over: what it adds to states, latent by latent."""
    matching: Matching
    """How the latents of the two runs were paired."""


def migrate(path: Path, old: Path, new: Path, *, trust: bool = False) -> Migration:
    """Carry over a steering file made for the run in ``old`` to the run in ``new``.

    A latent becomes the one that is as similar to it (see
    :func:`recsae.explore.compare.compare_runs`); where there is none, the verified latents of the
    new run that have its name, for what is multiplied, capped or switched off there (what is added
    to everybody would be added as often as the name occurs); where there are none either it is left
    out. Activations are carried
    over in standard deviations of the latents, as dictionaries scale differently; multipliers
    stay. What a name stands for on the new side is turned once, by the mean of what was done to
    those of the name that had no counterpart.

    Parameters
    ----------
    trust
        Open the checkpoints of both runs where their models have to be compared, see
        :func:`recsae.run.open.open_workspace`.

    Raises
    ------
    InvalidInput, ArtifactMismatch
        The file is none, is not of the old run, or a folder holds no finished run; or less than
        ``MIN_MATCHED`` of its weight has a counterpart.
    """
    with Run(old).reading(*READ), Run(new).reading(*READ):
        return _migrated(path, old, new, trust)


def _migrated(path: Path, old: Path, new: Path, trust: bool) -> Migration:
    steering = load_steering(old, path)
    directions = [step.name for step in steering.steps if isinstance(step, Direction)]
    if directions:
        raise ArtifactMismatch(
            f"{path} adds a direction to states ({', '.join(directions)}), which mean something "
            f"else in another model. {tune_again(new, steering.goal)}"
        )
    matching = match_runs(old, new, trust=trust)
    before, after = (RunTables(folder).concepts.set_index(C.LATENT) for folder in (old, new))
    turned = sorted({j for step in steering.interventions for j in step.latents})
    counterparts = {j: _counterpart(j, matching.pairs, before, after) for j in turned}
    old_sd, new_sd = (Statistics.load(folder).sd for folder in (old, new))
    carried = [_carried(step, counterparts, old_sd, new_sd) for step in steering.interventions]
    latents = tuple(
        MigratedLatent(j, before[C.NAME][j], part, tuple(after[C.NAME][list(part.latents)]))
        for j, part in counterparts.items()
    )
    kept = [step for step in carried if step is not None]
    length = SAE.load(old / layout.SAE_FOLDER).directions().norm(dim=1).tolist()
    matched = _matched(steering.interventions, counterparts, old_sd, length)
    if matched < MIN_MATCHED:
        raise ArtifactMismatch(
            f"Only {100 * matched:.0f} % of what {path} does has a counterpart in {new}, less than "
            f"{100 * MIN_MATCHED:.0f} %: what is left would do something else. "
            f"{tune_again(new, steering.goal)}"
        )
    others = [step for step in steering.steps if not isinstance(step, Intervention)]
    steps = in_order([*kept, *others])
    return Migration(steering._replace(steps=steps), latents, matched, matching)


def tune_again(folder: Path, goal: GoalRequest | None) -> str:
    """Say how the steering is found anew for the run in a folder."""
    if goal is None:
        return "Find the concept anew: `recsae concepts --search`; or tune again: `recsae tune`."
    wishes = [
        f" --{word} {shlex.quote(name)}"
        for word in ("more", "less", "never")
        for name in getattr(goal, word)
    ]
    if goal.popularity:
        wishes.append(f" --popularity {goal.popularity}")
    loss = f" --max-ndcg-loss {100 * goal.max_loss:g}%"
    return f"Tune again: `recsae tune {folder}{''.join(wishes)}{loss}`."


def _matched(
    steps: list[Intervention],
    counterparts: dict[int, Counterpart],
    sd: NDArray[np.float64],
    length: list[float],
) -> float:
    """The part of the weight of all settings whose latents have a counterpart for them.

    A setting's weight is what it typically adds to a state: a change of the activation, times the
    length of the latent's direction.
    """
    found = total = 0.0
    for step in steps:
        for latent, value in zip(step.latents, step.values, strict=True):
            part = counterparts[latent]
            weight = _change(step, value, float(sd[latent])) * length[latent]
            total += weight
            found += weight * bool(part.latents and _may_stand_in(part, step, value))
    return found / total if total > 0 else 1.0


def _change(step: Intervention, value: float, sd: float) -> float:
    if step.op == "scale":
        return abs(value - 1) * sd
    return abs(value) if step.op == "add" else max(abs(value), sd)


def _may_stand_in(part: Counterpart, step: Intervention, value: float) -> bool:
    """Whether a counterpart may be given a setting: by name only what raises no activation."""
    if part.by == BY_LATENT or step.op in ("scale", "at_most"):
        return True
    return step.op == "set" and value == 0


def check_promise(work: Workspace, steering: Steering) -> GoalEffect | None:
    """Measure the goal that a steering was tuned towards on the held-out users of another run.

    None where it was tuned towards nothing.

    Raises
    ------
    ArtifactMismatch
        More NDCG@10 is lost than was allowed, and than where it was tuned, or the goal is further
        off, even at the kinder end of the 95 % intervals over users.
    NotEnoughData
        It is for no held-out user.
    """
    if steering.goal is None:
        return None
    goal, cases = goal_of(work, steering.goal), work.heldout
    if steering.users is not None:
        mine = np.isin(work.recommender.sequences().users, np.array(steering.users, dtype=str))
        cases = cases.take(np.flatnonzero(mine[cases.sequence]))
    if not len(cases):
        raise NotEnoughData("None of these users is held out here, so the goal cannot be measured.")
    cases = thinned(work, cases, len(cases), MIN_POSITIONS)
    before, after = (
        outcome_of(steered_lists(work, cases, steps), cases, goal.counted)
        for steps in ([], steering.steps)
    )
    effect = goal_effect(before, after, cases)
    kept, ratio = effect.ndcg_kept, effect.ratio
    faults = []
    if kept[2] < min(1 - steering.goal.max_loss, steering.goal.ndcg_kept or 1.0):
        faults.append(
            f"NDCG@10 is {kept[0]:.3f} of what it was ({kept[1]:.3f} to {kept[2]:.3f}), where a "
            f"loss of {100 * steering.goal.max_loss:g} % was allowed"
        )
    if (ratio[2] < 1) if goal.more else (ratio[1] > 1):
        faults.append(
            f"the {goal.quantity} is {ratio[0]:.3f} of what it was ({ratio[1]:.3f} to "
            f"{ratio[2]:.3f}), the wrong way for {goal.name!r}"
        )
    if faults:
        raise ArtifactMismatch(
            f"Carried over to {work.folder} it does not do what it was tuned for: "
            f"{'; '.join(faults)}. {tune_again(work.folder, steering.goal)}"
        )
    return effect


def _counterpart(
    latent: int, pairs: pd.DataFrame, before: pd.DataFrame, after: pd.DataFrame
) -> Counterpart:
    mine = pairs[(pairs["before"] == latent) & (pairs["after"] >= 0) & (pairs["side"] != "after")]
    mine = mine[mine["similarity"].notna()]  # pairs by name alone are looked up below
    if len(mine):
        pair = mine.iloc[0]
        return Counterpart((int(pair["after"]),), BY_LATENT, float(pair["similarity"]))
    named = after[(after[C.ABOUT] == before[C.ABOUT][latent]) & (after[C.STATUS] == VERIFIED)]
    return Counterpart(tuple(int(j) for j in named.index), BY_NAME, float("nan"))


def _carried(
    step: Intervention,
    counterparts: dict[int, Counterpart],
    old_sd: NDArray[np.float64],
    new_sd: NDArray[np.float64],
) -> Intervention | None:
    """The intervention for the new run; None where nothing is left of it."""
    values: dict[int, list[float]] = {}
    direct: dict[int, list[float]] = {}
    for latent, value in zip(step.latents, step.values, strict=True):
        part = counterparts[latent]
        if not _may_stand_in(part, step, value):
            continue
        into = direct if part.by == BY_LATENT else values
        for other in part.latents:
            if step.op == "scale":
                carried = value
            else:
                carried = value * float(new_sd[other]) / max(float(old_sd[latent]), 1e-12)
            into.setdefault(other, []).append(carried)
    values |= direct  # a counterpart of its own says more than a name
    if not values:
        return None
    latents = tuple(sorted(values))
    means = tuple(float(np.mean(values[j])) for j in latents)
    return Intervention(latents, step.op, means, step.name, step.where)
