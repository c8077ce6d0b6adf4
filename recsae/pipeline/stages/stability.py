"""The stage that makes the same dictionary again, on halves of the users and with other seeds.

What of the run's dictionary comes back: :mod:`recsae.evaluation.stability`. Random directions,
labelled the same way, show what chance gives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from recsae.capture.store import SEQUENCE
from recsae.concepts.gates.core import Core, FoundCore, core_of
from recsae.concepts.labeler import labels_by
from recsae.core import columns as C
from recsae.core.errors import NotEnoughData
from recsae.evaluation.stability import (
    CHANCE,
    DIGITS,
    HALVES,
    SEEDS,
    ComparedDictionary,
    LatentReturn,
    ReturnShare,
    compare_dictionaries,
    latent_returns,
    return_shares,
)
from recsae.run.memory import give_back
from recsae.run.workspace import gates_of
from recsae.sae.codes import sparse_code
from recsae.sae.matching import ALIKE, SAME, alike_by_activity, best_by_direction
from recsae.sae.train import train_sae

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from recsae.capture.cases import Cases
    from recsae.capture.store import ActivationStore
    from recsae.concepts.wording import Predicate
    from recsae.core.progress import Progress
    from recsae.run.workspace import Workspace
    from recsae.sae.baselines import LinearCode
    from recsae.sae.model import SAE

FOLDER = "stability"
_PLAN = {"half-1": HALVES, "half-2": HALVES}
RANDOM_SEED = 3
"""Added to the run's seed for random directions: those of the baseline and of the chance
percentiles take 1 and 2."""


@dataclass(frozen=True)
class OtherDictionary:
    """A dictionary that the run's was compared with."""

    name: str
    kind: str
    """Of another seed, of a half of the users, or of random directions."""
    median_cosine: float
    """Over latents of the run, of the best cosine of directions."""
    median_correlation: float
    """The same of activations on held-out cases."""


@dataclass(frozen=True)
class Stability:
    """What of a run's dictionary comes back in dictionaries that were made the same way."""

    dictionaries: list[OtherDictionary]
    skipped: dict[str, str]
    """Dictionaries that could not be trained, and why."""
    summary: list[ReturnShare]
    latents: list[LatentReturn]

    def to_dict(self) -> dict[str, Any]:
        """The figures as ``stability.json`` has them."""
        return {
            "thresholds": {"cosine": SAME, "correlation": ALIKE},
            "dictionaries": [asdict(other) for other in self.dictionaries],
            "skipped": self.skipped,
            "summary": [row.to_dict() for row in self.summary],
            "latents": [asdict(row) for row in self.latents],
        }


def stability_stage(work: Workspace, n_dictionaries: int = 2) -> Stability:
    """Make the run's dictionary again and measure what of it comes back.

    First on the states of each half of the construction users, each seen as often as in the run;
    then, if more than two are wanted, on the run's states with other seeds. All are kept in
    ``DIR/stability``, so that a second call only compares. For the criteria see
    :func:`recsae.evaluation.stability.compare_dictionaries`.
    """
    _ = work.sae_codes  # stores and codes are made by all together, before jobs are dealt out
    kinds = dict(list(_PLAN.items())[:n_dictionaries])
    kinds |= {f"seed-{n - 1}": SEEDS for n in range(len(_PLAN), n_dictionaries)}
    jobs: dict[str, Callable[[], ComparedDictionary | str]] = {
        CHANCE: partial(_by_chance, work),  # first: the others need none of what labels share
        **{name: partial(_retrained, work, name, kind) for name, kind in kinds.items()},
    }
    kinds[CHANCE] = CHANCE
    _ = work.verified, work.metric, work.tested_dictionary, work.item_table  # which they share
    results = work.ranks.scatter(jobs, threads=True)
    made = {name: results[name] for name in kinds}
    others = {n: other for n, other in made.items() if isinstance(other, ComparedDictionary)}
    again = {name: other for name, other in others.items() if name != CHANCE}
    names, sae = work.tested_dictionary.table[C.NAME].to_numpy(), work.sae
    return Stability(
        dictionaries=[
            OtherDictionary(
                name=name,
                kind=kinds[name],
                median_cosine=round(float(np.median(other.cosine)), DIGITS),
                median_correlation=round(float(np.median(other.correlation)), DIGITS),
            )
            for name, other in others.items()
        ],
        skipped={name: other for name, other in made.items() if isinstance(other, str)},
        summary=return_shares(work.verified, others, kinds, sae.n_latents, sae.n_gates),
        latents=latent_returns(names, again),
    )


def _retrained(work: Workspace, name: str, kind: str) -> ComparedDictionary | str:
    """One more dictionary beside the run's, or why there is none."""
    number = int(name.split("-")[1])
    store, config, cases = work.construction_store, work.sae.config, work.construction
    if kind == SEEDS:
        config = config.model_copy(update={"seed": config.seed + number})
    else:
        whole = len(store)
        store = half_of(store, work.recommender.sequences().users, number - 1)
        cases = cases.take(np.flatnonzero(np.isin(cases.sequence, store.column(SEQUENCE))))
        n_samples = max(1, config.n_samples * len(store) // whole)
        config = config.model_copy(update={"n_samples": n_samples})
    sample = work.attribute_labeler.sample_of(cases)
    folder, progress = work.folder / FOLDER / name, _named(work.progress, name)
    try:
        give_back()
        core = _core_again(work, sample, config.seed)
        give_back()
        sae = train_sae(
            *(store, config, folder),
            gates=gates_of(core),
            items=work.item_table,
            progress=progress,
        )
        return _compared(work, sae, sae.decoder(), sample, core.statements)
    except NotEnoughData as error:
        return str(error)


def _core_again(work: Workspace, cases: Cases, seed: int) -> Core:
    """The core that other cases or another seed give."""
    if not work.sae.n_gates:
        return FoundCore.nothing(work.sae.width).core
    first = work.config.attributes_first or []
    return core_of(work.attribute_labeler, cases, work.metric, seed, first)


def _by_chance(work: Workspace) -> ComparedDictionary:
    """Random directions, as many and as sparse; the last to look into the run's own statements."""
    from recsae.sae.baselines import random_directions

    seed = work.config.seed + RANDOM_SEED
    code = random_directions(work.construction_store, work.n_active, work.sae.n_latents, seed)
    compared = _compared(
        work, code, code.directions, work.attribute_labeler.sample_of(work.construction)
    )
    work.construction.forget()
    give_back()
    return compared


def half_of(store: ActivationStore, users: NDArray[np.object_], half: int) -> ActivationStore:
    """The states of one half, 0 or 1, of the users, divided by a hash of their external ids.

    ``users (n_sequences,)`` are the ids behind the rows that the store names.
    """
    marked = np.array([_half(str(user)) == half for user in users], dtype=bool)
    return store.only(marked)


def _half(user: str) -> int:
    return hashlib.sha256(f"recsae half/{user}".encode()).digest()[0] % 2


def _named(progress: Progress | None, name: str) -> Progress | None:
    """Progress that names the dictionary it is of."""
    if progress is None:
        return None
    report: Callable[[int, int, str], None] = progress
    return lambda done, total, what: report(done, total, f"{name}: {what}")


def _compared(
    work: Workspace,
    code: SAE | LinearCode,
    directions: ArrayLike,
    cases: Cases,
    asked: Sequence[Predicate] = (),
) -> ComparedDictionary:
    """Look for each latent of the run in another dictionary.

    Only those of the other that are active like one of the run's are labelled, on ``cases``.
    """
    n, ours = code.n_latents, work.sae_codes.heldout
    heldout = sparse_code(code.encode_sparse, work.heldout.states, n)
    most_alike, alike = alike_by_activity(ours, heldout)
    wanted = np.unique(alike[1])
    theirs: list[str] = []
    if len(wanted):
        active = sparse_code(code.encode_sparse, cases.states, n)[:, wanted]
        statements = [asked[j] for j in wanted if j < len(asked)]
        theirs = _said_first(labels_by(work.labeler, active, cases, statements))
    return compare_dictionaries(
        best_by_direction(work.sae.decoder(), directions),
        most_alike,
        alike,
        _said_first(work.tested_dictionary.table),
        dict(zip(wanted.tolist(), theirs, strict=True)),
    )


def _said_first(labels: pd.DataFrame) -> list[str]:
    """The value that each label speaks of first, and whether it denies it."""
    columns = labels[[C.ATTRIBUTE, C.VALUE, C.NEGATED]].itertuples(index=False)
    return [f"{attribute}: {value}: {bool(negated)}" for attribute, value, negated in columns]
