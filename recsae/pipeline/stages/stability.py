"""The stage that trains the same SAE again, with other seeds and on halves of the users.

What of the run's dictionary comes back: :mod:`recsae.evaluation.stability`. Random directions,
labelled and tested the same way, show what chance gives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from recsae.capture.store import SEQUENCE
from recsae.concepts.dictionary import build_concepts
from recsae.concepts.gates.core import Core, FoundCore, core_of
from recsae.concepts.status import verified_latents
from recsae.core import columns as C
from recsae.core.errors import NotEnoughData
from recsae.evaluation.scoring import score_concepts
from recsae.evaluation.stability import (
    CHANCE,
    DIGITS,
    HALVES,
    SEEDS,
    ComparedDictionary,
    LatentReturn,
    NameReturn,
    ReturnShare,
    compare_dictionaries,
    latent_returns,
    name_returns,
    return_shares,
)
from recsae.run.workspace import gates_of
from recsae.sae.matching import ALIKE, SAME, best_by_activity, best_by_direction
from recsae.sae.train import train_sae

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from recsae.capture.cases import Cases
    from recsae.capture.store import ActivationStore
    from recsae.concepts.wording import Predicate
    from recsae.core.progress import Progress
    from recsae.run.workspace import Workspace
    from recsae.sae.baselines import LinearCode
    from recsae.sae.model import SAE

FOLDER = "stability"
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
    names: list[NameReturn]
    latents: list[LatentReturn]

    def to_dict(self) -> dict[str, Any]:
        """The figures as ``stability.json`` has them."""
        return {
            "thresholds": {"cosine": SAME, "correlation": ALIKE},
            "dictionaries": [asdict(other) for other in self.dictionaries],
            "skipped": self.skipped,
            "summary": [row.to_dict() for row in self.summary],
            "names": [asdict(row) for row in self.names],
            "latents": [asdict(row) for row in self.latents],
        }


def stability_stage(work: Workspace, n_seeds: int = 2) -> Stability:
    """Train the run's SAE again and measure what of its dictionary comes back.

    With ``n_seeds`` further seeds on the same states, and once on the states of each half of the
    construction users, from the run's own seed: those start from the same directions, so more of
    them come back. All are kept in ``DIR/stability``, so that a second call only compares. For the
    criteria see :func:`recsae.evaluation.stability.compare_dictionaries`.
    """
    _ = work.sae_codes  # stores and codes are made by all together, before jobs are dealt out
    kinds = _plan(n_seeds)
    jobs: dict[str, Callable[[], ComparedDictionary | str]] = {
        **{name: partial(_retrained, work, name, kind) for name, kind in kinds.items()},
        CHANCE: partial(_by_chance, work),
    }
    kinds[CHANCE] = CHANCE
    results = work.ranks.scatter(jobs)
    others = {n: other for n, other in results.items() if isinstance(other, ComparedDictionary)}
    again = {name: other for name, other in others.items() if name != CHANCE}
    names, verified = work.tested_dictionary.table[C.ABOUT].to_numpy(), work.verified
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
        skipped={name: other for name, other in results.items() if isinstance(other, str)},
        summary=return_shares(names, verified, others, kinds, work.sae.n_gates),
        names=name_returns(names, verified, again),
        latents=latent_returns(names, again),
    )


def _plan(n_seeds: int) -> dict[str, str]:
    """Names and kinds of the dictionaries to train."""
    seeds = {f"seed-{number}": SEEDS for number in range(1, n_seeds + 1)}
    return {**seeds, "half-1": HALVES, "half-2": HALVES}


def _retrained(work: Workspace, name: str, kind: str) -> ComparedDictionary | str:
    """One more SAE beside the run's, or why there is none."""
    number = int(name.split("-")[1])
    store, config, cases = work.construction_store, work.sae.config, work.construction
    if kind == SEEDS:
        config = config.model_copy(update={"seed": config.seed + number})
    else:
        store = half_of(store, work.recommender.sequences().users, number - 1)
        cases = cases.take(np.flatnonzero(np.isin(cases.sequence, store.column(SEQUENCE))))
    folder, progress = work.folder / FOLDER / name, _named(work.progress, name)
    try:
        core = _core_again(work, cases, config.seed)
        sae = train_sae(store, config, folder, gates=gates_of(core), progress=progress)
        return _compared(work, sae, sae.directions(), core.statements)
    except NotEnoughData as error:
        return str(error)


def _core_again(work: Workspace, cases: Cases, seed: int) -> Core:
    """The core that other cases or another seed give."""
    if not work.sae.n_gates:
        return FoundCore.nothing(work.sae.width).core
    first = work.config.attributes_first or []
    return core_of(work.labeler, cases, work.metric, seed, first)


def _by_chance(work: Workspace) -> ComparedDictionary:
    """Random directions, as many and as sparse."""
    from recsae.sae.baselines import random_directions

    seed = work.config.seed + RANDOM_SEED
    code = random_directions(work.construction_store, work.n_active, work.sae.n_latents, seed)
    return _compared(work, code, code.directions)


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
    asked: Sequence[Predicate] = (),
) -> ComparedDictionary:
    """Label and test another dictionary, and look for each latent of the run in it."""
    codes = work.encode(code)
    dictionary = build_concepts(codes.construction, work.construction, work.labeler, asked)
    scores = score_concepts(
        codes.heldout, dictionary, work.heldout, work.labeler, hard_negatives=False
    )
    return compare_dictionaries(
        work.tested_dictionary.table[C.ABOUT].to_numpy(),
        dictionary.table[C.ABOUT].to_numpy(),
        verified_latents(scores),
        best_by_direction(work.sae.directions(), directions),
        best_by_activity(work.sae_codes.heldout, codes.heldout),
    )
