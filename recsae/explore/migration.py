"""Steering files carried over to the run of a retrained model, latent by latent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsae.concepts.status import VERIFIED
from recsae.core import columns as C
from recsae.explore.compare import Matching, match_runs
from recsae.run.tables import load_run
from recsae.sae.editing import Intervention
from recsae.sae.statistics import Statistics
from recsae.steering.files import Steering, load_steering

if TYPE_CHECKING:
    import pandas as pd

BY_LATENT = "latent"
BY_NAME = "name"


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
    matching: Matching
    """How the latents of the two runs were paired."""


def migrate(path: Path, old: Path, new: Path) -> Migration:
    """Carry over a steering file made for the run in ``old`` to the run in ``new``.

    A latent becomes the one that is as similar to it (see
    :func:`recsae.explore.compare.compare_runs`); where there is none, the verified latents of the
    new run that have its name; where there are none either it is left out. Activations are carried
    over in standard deviations of the latents, as dictionaries scale differently; multipliers
    stay. What a name stands for on the new side is turned once, by the mean of what was done to
    those of the name that had no counterpart.

    Raises
    ------
    InvalidInput, ArtifactMismatch
        The file is none, is not of the old run, or a folder holds no finished run.
    """
    steering = load_steering(old, path)
    matching = match_runs(old, new)
    before, after = (load_run(folder).concepts.set_index(C.LATENT) for folder in (old, new))
    turned = sorted({j for step in steering.interventions for j in step.latents})
    counterparts = {j: _counterpart(j, matching.pairs, before, after) for j in turned}
    old_sd, new_sd = (Statistics.load(folder).sd for folder in (old, new))
    steps = [_carried(step, counterparts, old_sd, new_sd) for step in steering.interventions]
    latents = tuple(
        MigratedLatent(j, before[C.NAME][j], part, tuple(after[C.NAME][list(part.latents)]))
        for j, part in counterparts.items()
    )
    kept = [step for step in steps if step is not None]
    return Migration(steering._replace(interventions=kept), latents, matching)


def _counterpart(
    latent: int, pairs: pd.DataFrame, before: pd.DataFrame, after: pd.DataFrame
) -> Counterpart:
    mine = pairs[(pairs["before"] == latent) & (pairs["after"] >= 0) & (pairs["side"] != "after")]
    mine = mine[mine["similarity"].notna()]  # pairs by name alone are looked up below
    if len(mine):
        pair = mine.iloc[0]
        return Counterpart((int(pair["after"]),), BY_LATENT, float(pair["similarity"]))
    named = after[(after[C.NAME] == before[C.NAME][latent]) & (after[C.STATUS] == VERIFIED)]
    return Counterpart(tuple(int(j) for j in named.index), BY_NAME, float("nan"))


def _carried(
    step: Intervention,
    counterparts: dict[int, Counterpart],
    old_sd: np.ndarray[Any, np.dtype[np.float64]],
    new_sd: np.ndarray[Any, np.dtype[np.float64]],
) -> Intervention | None:
    """The intervention for the new run; None where nothing is left of it."""
    values: dict[int, list[float]] = {}
    direct: dict[int, list[float]] = {}
    for latent, value in zip(step.latents, step.values, strict=True):
        part = counterparts[latent]
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
