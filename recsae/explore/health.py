"""What of a run's folder is damaged, file by file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from recsae.capture.store import ActivationStore
from recsae.concepts.corrections import place
from recsae.core import layout
from recsae.core.errors import RecSAEError
from recsae.core.files import has_digest
from recsae.run.record import Run
from recsae.sae.model import SAE
from recsae.sae.own import is_own
from recsae.steering.files import load_steering, steering_files

Problem = Literal["gone", "changed", "unreadable", "unusable"]


@dataclass(frozen=True)
class Damage:
    """One file that is not as it should be."""

    file: str
    """Relative to the folder; a source by its path."""
    kind: Literal["stage", "source", "corrections", "steering"]
    """A file of a stage, one that the run was made from, or one that people made."""
    problem: Problem
    stage: str | None = None
    """The stage that left it."""
    detail: str = ""
    """What was seen, in a sentence, of what is unreadable or unusable."""


@dataclass(frozen=True)
class Health:
    """A run's folder, examined."""

    n_files: int
    """Files that finished stages left."""
    damaged: tuple[Damage, ...]
    undone: tuple[str, ...]
    """Stages that are not done."""


def examine(folder: Path, stages: Iterable[str]) -> Health:
    """Check every file of a run: its SHA-256, and that weights and states can be what they say.

    Parameters
    ----------
    stages
        All that a run has, in their order.

    Raises
    ------
    ArtifactMismatch
        The folder holds no run, or its record is damaged.
    """
    run = Run(folder)
    done = run.record["stages"]
    order = list(stages)
    left = [
        (name, *file) for name in order if name in done for file in done[name]["outputs"].items()
    ]
    damaged = [
        Damage(file, "stage", problem, stage, detail)
        for stage, file, digest in left
        for problem, detail in _problems(folder / file, digest)
    ]
    whole = {file: stage for stage, file, _ in left} | dict.fromkeys(d.file for d in damaged)
    damaged += _cannot_be_used(folder, whole)
    damaged += [
        Damage(path, "source", problem, None, detail)
        for path, digest in run.record["sources"].items()
        for problem, detail in _problems(Path(path), digest)
    ]
    if "train" in done and not any(damage.stage == "train" for damage in damaged):
        damaged += _of_people(folder)
    undone = tuple(name for name in order if name not in done)
    return Health(len(left), tuple(damaged), undone)


def _problems(path: Path, digest: str) -> list[tuple[Problem, str]]:
    try:
        if has_digest(path, digest):
            return []
    except RecSAEError as error:
        return [("unreadable", str(error))]
    return [("changed" if path.exists() else "gone", "")]


def _cannot_be_used(folder: Path, whole: dict[str, str | None]) -> list[Damage]:
    """Files that are as a stage left them, and that nothing can be made of.

    ``whole`` has the stage of each file, None for what is damaged.
    """
    pieces: dict[str, Callable[[], object]] = {}
    if not is_own(folder):  # whose code is elsewhere
        pieces[layout.SAE_WEIGHTS] = partial(SAE.load, folder / layout.SAE_FOLDER)
    for store in layout.STORES:
        pieces[f"{store}/{layout.MANIFEST}"] = partial(ActivationStore, folder / store)
    found = []
    for file, read in pieces.items():
        beside = [
            stage for other, stage in whole.items() if Path(other).parent == Path(file).parent
        ]
        if file not in whole or None in beside:
            continue
        try:
            read()
        except RecSAEError as error:
            found.append(Damage(file, "stage", "unusable", whole[file], str(error)))
    return found


def _of_people(folder: Path) -> list[Damage]:
    """Corrections and steering files that cannot be used with this run."""
    found = []
    try:
        place(folder)
    except RecSAEError as error:
        found.append(Damage(layout.CORRECTIONS, "corrections", "unusable", None, str(error)))
    for path in steering_files(folder):
        try:
            load_steering(folder, path)
        except RecSAEError as error:
            name = path.relative_to(folder).as_posix()
            found.append(Damage(name, "steering", "unusable", None, str(error)))
    return found
