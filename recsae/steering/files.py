"""Steering files: what is done, step by step, and for whom, kept to be used again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from recsae.core import layout
from recsae.core.errors import ArtifactMismatch, InvalidInput, nearest
from recsae.core.files import read_json, remove_left_over, write_json
from recsae.run.record import Run
from recsae.sae.editing import Intervention, Op, check_interventions
from recsae.steering.file_errors import what_is_wrong
from recsae.steering.steps.applied import shift_of
from recsae.steering.steps.kinds import (
    Calibration,
    Direction,
    Filter,
    ReRanking,
    Step,
    Wishes,
    in_order,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from recsae.run.record import Run

FOLDER = layout.STEERING_FILES


class SavedIntervention(BaseModel):
    """Latents that are turned, as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["latents"] = "latents"

    latents: tuple[int, ...] = Field(min_length=1)
    op: Op
    value: FiniteFloat | tuple[FiniteFloat, ...]
    name: str = ""
    where: Literal["everyone", "active"] = "everyone"


SavedStep = Annotated[
    SavedIntervention | Direction | ReRanking | Filter | Calibration, Field(discriminator="kind")
]


class GoalRequest(Wishes):
    """What ``recsae tune`` was asked for."""

    max_loss: float = Field(gt=0, lt=1)
    """The part of NDCG@10 that may be lost on construction users."""
    ndcg_kept: float | None = None
    """What held-out users of the run that it was tuned on kept: it may be less than was allowed."""


class SteeringFile(BaseModel):
    """The content of a steering file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1, 2] = 2
    """1: all steps turn latents, and have no kind."""
    model: str
    """Digest of the model."""
    sae: str
    """Digest of the SAE: numbers of latents mean nothing to another dictionary."""
    site: str | None
    steps: tuple[SavedStep, ...] = Field(min_length=1)
    users: tuple[str, ...] | None = Field(None, min_length=1)
    """External ids; None: everybody."""
    cohort: str | None = None
    """How the users were chosen."""
    goal: GoalRequest | None = None
    """What the steps were tuned towards, if they were."""


class Steering(NamedTuple):
    """Steps in their order, and the users they are for."""

    steps: Sequence[Step]
    users: tuple[str, ...] | None = None
    """External ids; None: everybody."""
    cohort: str | None = None
    """How the users were chosen, in words."""
    goal: GoalRequest | None = None
    """What the steps were tuned towards, if they were."""

    @property
    def interventions(self) -> list[Intervention]:
        """Those of the steps that turn latents."""
        return [step for step in self.steps if isinstance(step, Intervention)]


def place(folder: Path, name: str) -> Path:
    """Return the path of a steering file: a bare name is a file in the run's ``steering`` folder.

    >>> place(Path("run"), "less-horror").as_posix(), place(Path("run"), "a/b.json").as_posix()
    ('run/steering/less-horror.json', 'a/b.json')
    """
    path = Path(name)
    if path.suffix == ".json":
        return path
    if path.name != name or name in (".", ".."):
        raise InvalidInput(
            f"{name!r} is neither the name of a steering file kept with the run, which has no "
            "slash, nor a path that ends in .json."
        )
    return folder / FOLDER / f"{name}.json"


def check_place(folder: Path, path: Path, *, replace: bool = False) -> None:
    """Refuse a path that nothing can be kept at, before the work.

    Raises
    ------
    InvalidInput
        Its folder is not there, another file is, or, unless it is to be replaced, a steering.
    """
    _check_folder(folder, path)
    if not replace and (there := _there(folder, path)) is not None:
        raise _taken(path, there)


def save_steering(
    steering: Steering, folder: Path, path: Path, *, run: Run | None = None, replace: bool = False
) -> None:
    """Write a steering file for the run in ``folder``.

    Parameters
    ----------
    run
        The run as it was when it was opened, so that a file is for the SAE whose latents were
        turned, whatever has become of the folder since.
    replace
        Whether another steering that is kept there is replaced.

    Raises
    ------
    InvalidInput
        Nothing is turned, :func:`load_steering` would refuse the file, its folder is not there, or
        another file is there.
    """
    run = run or Run(folder)
    content = _content(steering, folder, run)
    check_saving(steering, folder, path, run=run, replace=replace)
    remove_left_over(path.parent, path.name)
    write_json(path, content.model_dump(mode="json"))


def check_saving(
    steering: Steering, folder: Path, path: Path, *, run: Run, replace: bool = False
) -> None:
    """Refuse what :func:`save_steering` would refuse; the same content may be there already."""
    content = _content(steering, folder, run)
    _check_folder(folder, path)
    there = _there(folder, path)
    if there is not None and there != content and not replace:
        raise _taken(path, there)


def _check_folder(folder: Path, path: Path) -> None:
    if path.parent != folder / FOLDER and not path.parent.is_dir():
        raise InvalidInput(
            f"There is no folder {path.parent} to keep {path.name} in: make it first, or give a "
            "name without a slash, which is kept with the run."
        )


def _there(folder: Path, path: Path) -> SteeringFile | None:
    """The steering file that is there already; InvalidInput if something else is."""
    if not path.exists():
        return None
    try:
        return read_steering_file(folder, path)
    except InvalidInput as error:
        raise InvalidInput(
            f"{path} is there already and is no steering file: it stays as it is; choose "
            "another name."
        ) from error


def _taken(path: Path, there: SteeringFile) -> InvalidInput:
    return InvalidInput(
        f"{path} keeps another steering already, {described(_steering_of(there))}: choose another "
        "name, or replace it (--replace, in Python replace=True)."
    )


def _content(steering: Steering, folder: Path, run: Run) -> SteeringFile:
    """What a file keeps of a steering, checked."""
    if not steering.steps:
        raise InvalidInput("There is nothing to keep: nothing is done.")
    if steering.users == ():
        raise InvalidInput("There is nothing to keep: the steering is for no user.")
    with run.reading(layout.SAE_CONFIG, layout.SAE_WEIGHTS):
        _check(steering, folder)
    model, sae, site = _made_for(run)
    return SteeringFile(
        model=model,
        sae=sae,
        site=site,
        steps=tuple(
            SavedIntervention(**vars(one)) if isinstance(one, Intervention) else one
            for one in in_order(steering.steps)
        ),
        users=steering.users,
        cohort=steering.cohort,
        goal=steering.goal,
    )


def load_steering(folder: Path, path: Path) -> Steering:
    """Read a steering file that was made for the run in ``folder``.

    Raises
    ------
    InvalidInput
        There is no such file, it is no steering file, or it asks for what cannot be.
    ArtifactMismatch
        It is for another model or another SAE.
    """
    content, run = read_steering_file(folder, path), Run(folder)
    made_for = _made_for(run)
    for key, what in (("model", "model"), ("sae", "SAE")):
        if getattr(content, key) != getattr(made_for, key):
            raise ArtifactMismatch(
                f"{path} was made for another {what} than the run in {folder}: its latents mean "
                "something else here; --migrate FILE --from DIR carries it over."
            )
    steering = _steering_of(content)
    try:
        with run.reading(layout.SAE_CONFIG, layout.SAE_WEIGHTS):
            _check(steering, folder)
        return steering._replace(steps=in_order(steering.steps))
    except InvalidInput as error:
        raise InvalidInput(f"{path} cannot be used: {error}") from error


def _steering_of(content: SteeringFile) -> Steering:
    steps = [
        Intervention(**step.model_dump(exclude={"kind"}))
        if isinstance(step, SavedIntervention)
        else step
        for step in content.steps
    ]
    users = None if content.users is None else tuple(dict.fromkeys(content.users))
    return Steering(steps, users, content.cohort, content.goal)


def read_steering_file(folder: Path, path: Path) -> SteeringFile:
    """Read a steering file, whatever it was made for."""
    if not path.is_file():
        known = [p.stem for p in steering_files(folder)]
        raise InvalidInput(f"There is no steering file {path}.{nearest(path.stem, known)}")
    try:
        content = _with_kinds(read_json(path))
        # as JSON, where a list of numbers is one and "1" is no number
        return SteeringFile.model_validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        raise InvalidInput(f"{path} is no steering file: {what_is_wrong(error)}.") from error
    except (ArtifactMismatch, RecursionError) as error:
        raise InvalidInput(f"{path} is no steering file: it is not JSON.") from error


def _with_kinds(content: Any) -> Any:
    """A file of the first version as one of the second."""
    if not isinstance(content, dict) or content.get("version") != 1:
        return content
    steps = content.get("steps")
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        return content
    return {**content, "steps": [{**step, "kind": "latents"} for step in steps]}


def steering_files(folder: Path) -> list[Path]:
    """List the steering files kept with the run, by name."""
    return sorted((folder / FOLDER).glob("*.json"))


def composed(parts: Iterable[Steering]) -> Steering:
    """Join steerings, one after another; all must be for the same users.

    >>> one = Steering([Intervention((1,), "set", 0.0)], ("7",))
    >>> composed([one, one]).users
    ('7',)
    """
    parts = list(parts)
    cohorts = {part.users for part in parts}
    if len(cohorts) > 1:
        raise InvalidInput(
            "These steering files are for different users: use those together that are for the "
            "same, or choose the users anew."
        )
    steps = in_order(step for part in parts for step in part.steps)
    words = " and ".join(dict.fromkeys(part.cohort for part in parts if part.cohort)) or None
    goal = parts[0].goal if len(parts) == 1 else None  # several are tuned towards nothing
    return Steering(steps, next(iter(cohorts), None), words, goal)


def described(steering: Steering) -> str:
    """Say in one line what is done and for how many."""
    who, users = "everybody", steering.users
    if users is not None:
        who = f"{len(users):,} user{'s' * (len(users) > 1)}"
    return f"{'; '.join(map(str, steering.steps))} (for {who})"


def _check(steering: Steering, folder: Path) -> None:
    """Check that it says for whom it is, and that the run's SAE has what is done something to."""
    if steering.cohort is not None and steering.users is None:
        raise InvalidInput(
            f"it has a cohort ({steering.cohort}), which says how users were chosen, and no users."
        )
    meta = read_json(folder / layout.SAE_CONFIG)
    n_latents = int(meta["config"]["n_latents"]) + int(meta["n_gates"])
    for number, step in enumerate(steering.steps, start=1):
        try:
            check_interventions([step] if isinstance(step, Intervention) else [], n_latents)
            shift_of([step], int(meta["width"]))
        except InvalidInput as error:
            raise InvalidInput(f"step {number}: {error}") from error


class _MadeFor(NamedTuple):
    """Digests of a run's model and SAE, and its site."""

    model: str
    sae: str
    site: str | None


def _made_for(run: Run) -> _MadeFor:
    sae = run.recorded(layout.SAE_WEIGHTS)[layout.SAE_WEIGHTS]
    return _MadeFor(run.record["model"], sae, run.config.site)
