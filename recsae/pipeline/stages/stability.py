"""Which concepts come back: the same SAE trained again with other seeds and on halves of the users.

A concept can come back at several levels, from the strictest to the mildest: as the same decoder
direction with the same name, as a latent that is active on the same cases, or only as a name that
some latent of the other dictionary has. Random directions, labelled and tested the same way, say
what chance gives at each level.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsae.concepts.dictionary import build_concepts
from recsae.concepts.status import verified_latents
from recsae.core import columns as C
from recsae.core.errors import NotEnoughData
from recsae.evaluation.scoring import score_concepts
from recsae.sae.matching import ALIKE, SAME, best_by_activity, best_by_direction
from recsae.sae.train import train_sae

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from recsae.capture.store import ActivationStore
    from recsae.core.progress import Progress
    from recsae.run.workspace import Workspace
    from recsae.sae.baselines import LinearCode
    from recsae.sae.model import SAE

FOLDER = "stability"
SEEDS = "seeds"
HALVES = "halves"
CHANCE = "chance"
LEVELS = ("direction", "label", "activity", "name", "verified_name")
RANDOM_SEED = 3  # after those of the baseline and of the chance percentiles
DIGITS = 4


class Beside(NamedTuple):
    """Another dictionary beside the run's; everything ``(n_latents,)``, by latent of the run."""

    cosine: NDArray[np.float64]
    """Of the decoder directions, with the nearest."""
    correlation: NDArray[np.float64]
    """Of the activations on held-out cases, with the most alike."""
    back: dict[str, NDArray[np.bool_]]
    """Whether the latent comes back, at each of ``LEVELS``."""


def stability_stage(work: Workspace, n_seeds: int = 2) -> dict[str, Any]:
    """Train the run's SAE again and say what of its dictionary comes back.

    With ``n_seeds`` further seeds on the same states, and once on the states of each half of the
    construction users, from the run's own seed: those start from the same directions, so more of
    them come back. All are kept in ``DIR/stability``, so that a second call only compares.

    Levels, for a latent and another dictionary: *direction*, the best cosine is above 0.9; *label*,
    and the latent it is with has the same name; *activity*, the best correlation of activations on
    held-out cases is above 0.7; *name*, any latent has the same name; *verified_name*, one whose
    label is verified too.

    Returns
    -------
    dict
        ``thresholds``; ``dictionaries`` (what was compared with; medians of the best similarity);
        ``skipped`` (name and reason of those that could not be trained); ``summary`` (for each
        level the share that comes back, among all latents, verified ones and the distinct names of
        verified ones: mean over seeds, over halves, by chance, and in every one of them);
        ``names`` and ``latents`` (in which fraction of the dictionaries each comes back at each
        level; a latent is ``stable`` if its label comes back in all).
    """
    _ = work.sae_codes  # stores and codes are made by all together, before jobs are dealt out
    kinds = _plan(n_seeds)
    jobs: dict[str, Callable[[], Beside | str]] = {
        **{name: partial(_retrained, work, name, kind) for name, kind in kinds.items()},
        CHANCE: partial(_by_chance, work),
    }
    kinds[CHANCE] = CHANCE
    found = work.ranks.scatter(jobs)
    skipped = {name: other for name, other in found.items() if isinstance(other, str)}
    others = {name: other for name, other in found.items() if isinstance(other, Beside)}
    again = {name: other for name, other in others.items() if name != CHANCE}
    names, verified = work.tested_dictionary.table[C.NAME].to_numpy(), work.verified
    return {
        "thresholds": {"cosine": SAME, "correlation": ALIKE},
        "dictionaries": [
            {
                "name": name,
                "kind": kinds[name],
                "median_cosine": round(float(np.median(other.cosine)), DIGITS),
                "median_correlation": round(float(np.median(other.correlation)), DIGITS),
            }
            for name, other in others.items()
        ],
        "skipped": skipped,
        "summary": shares(names, verified, others, kinds),
        "names": of_names(names, verified, again),
        "latents": of_latents(names, again),
    }


def _plan(n_seeds: int) -> dict[str, str]:
    """Names and kinds of the dictionaries to train."""
    seeds = {f"seed-{number}": SEEDS for number in range(1, n_seeds + 1)}
    return {**seeds, "half-1": HALVES, "half-2": HALVES}


def _retrained(work: Workspace, name: str, kind: str) -> Beside | str:
    """One more SAE beside the run's, or why there is none."""
    number = int(name.split("-")[1])
    store, config = work.construction_store, work.sae.config
    if kind == SEEDS:
        config = config.model_copy(update={"seed": config.seed + number})
    else:
        store = half_of(store, work.recommender.sequences().users, number - 1)
    folder, progress = work.folder / FOLDER / name, _named(work.progress, name)
    try:
        sae = train_sae(store, config, folder, progress=progress)
        return _beside(work, sae, sae.directions())
    except NotEnoughData as error:
        return str(error)


def _by_chance(work: Workspace) -> Beside:
    """Random directions, as many and as sparse."""
    from recsae.sae.baselines import random_directions

    seed = work.config.seed + RANDOM_SEED
    code = random_directions(work.construction_store, work.config.k, work.sae.n_latents, seed)
    return _beside(work, code, code.directions)


def half_of(store: ActivationStore, users: NDArray[np.object_], half: int) -> ActivationStore:
    """The states of one half, 0 or 1, of the users, told by a hash of their external ids.

    ``users (n_sequences,)`` are the ids behind the rows that the store names.
    """
    marked = np.array([_half(str(user)) == half for user in users], dtype=bool)
    return store.only(marked)


def _half(user: str) -> int:
    return hashlib.sha256(f"recsae half/{user}".encode()).digest()[0] % 2


def _named(progress: Progress | None, name: str) -> Progress | None:
    if progress is None:
        return None
    tell: Callable[[int, int, str], None] = progress
    return lambda done, total, what: tell(done, total, f"{name}: {what}")


def _beside(work: Workspace, code: SAE | LinearCode, directions: ArrayLike) -> Beside:
    """Label and test another dictionary, and look for each latent of the run in it."""
    codes = work.encode(code)
    dictionary = build_concepts(codes.construction, work.construction, work.labeler)
    scores = score_concepts(
        codes.heldout, dictionary, work.heldout, work.labeler, hard_negatives=False
    )
    ours = work.tested_dictionary.table[C.NAME].to_numpy()
    theirs = dictionary.table[C.NAME].to_numpy()
    near = best_by_direction(work.sae.directions(), directions)
    alike = best_by_activity(work.sae_codes.heldout, codes.heldout)
    same = near.similarity > SAME
    back = {
        "direction": same,
        "label": same & (theirs[near.other] == ours),
        "activity": alike.similarity > ALIKE,
        "name": np.isin(ours, theirs),
        "verified_name": np.isin(ours, theirs[verified_latents(scores)]),
    }
    return Beside(near.similarity, alike.similarity, back)


def shares(
    names: NDArray[np.object_],
    verified: NDArray[np.int64],
    others: dict[str, Beside],
    kinds: dict[str, str],
) -> list[dict[str, Any]]:
    """The share that comes back at each level, one row for each level and group of latents.

    A name comes back at a level where one of its verified latents does.
    """
    everyone = np.arange(len(names))
    groups = {
        "latents": (everyone, everyone),
        "verified": (verified, np.arange(len(verified))),
        "names": (verified, np.unique(names[verified], return_inverse=True)[1]),
    }
    rows = []
    for among, (latents, group) in groups.items():
        n = len(np.unique(group))
        for level in LEVELS:
            back = {name: _any(other.back[level][latents], group) for name, other in others.items()}
            row: dict[str, Any] = {"among": among, "n": n, "level": level}
            for kind in (SEEDS, HALVES, CHANCE):
                row[kind] = _share([b for name, b in back.items() if kinds[name] == kind])
            again = [b for name, b in back.items() if kinds[name] != CHANCE]
            row["every"] = _share([np.all(again, axis=0)] if again else [])
            rows.append(row)
    return rows


def _any(back: NDArray[np.bool_], group: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether any member of each group comes back."""
    return np.bincount(group, weights=back) > 0


def _share(back: list[NDArray[np.bool_]]) -> float | None:
    """Mean share that comes back; None where there is nothing to count."""
    return float(np.mean(back)) if back and back[0].size else None


def _fractions(back: list[dict[str, NDArray[np.bool_]]]) -> dict[str, NDArray[np.float64]]:
    """In which fraction of the dictionaries each comes back, by level."""
    return {level: np.mean([b[level] for b in back], axis=0) for level in LEVELS}


def of_latents(names: NDArray[np.object_], again: dict[str, Beside]) -> list[dict[str, Any]]:
    """How often each latent comes back, and its best similarities."""
    if not again:
        return []
    fractions = _fractions([other.back for other in again.values()])
    return [
        {
            "latent": row,
            "name": str(name),
            "stable": bool(fractions["label"][row] == 1),
            "back": {level: float(fractions[level][row]) for level in LEVELS},
            **{
                key: {n: round(float(getattr(o, key)[row]), DIGITS) for n, o in again.items()}
                for key in ("cosine", "correlation")
            },
        }
        for row, name in enumerate(names)
    ]


def of_names(
    names: NDArray[np.object_], verified: NDArray[np.int64], again: dict[str, Beside]
) -> list[dict[str, Any]]:
    """Names of verified concepts, those that come back the most first."""
    if not again or not len(verified):
        return []
    different, group = np.unique(names[verified], return_inverse=True)
    fractions = _fractions(
        [
            {level: _any(other.back[level][verified], group) for level in LEVELS}
            for other in again.values()
        ]
    )
    size = np.bincount(group)
    rows: list[dict[str, Any]] = [
        {
            "name": str(name),
            "n_latents": int(size[row]),
            "back": {level: float(fractions[level][row]) for level in LEVELS},
        }
        for row, name in enumerate(different)
    ]
    return sorted(rows, key=lambda row: [-row["back"][level] for level in reversed(LEVELS)])
