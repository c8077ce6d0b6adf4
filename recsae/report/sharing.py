"""What a report hides of people: remembered in its folder, and a folder to share without ids."""

from pathlib import Path
from typing import NamedTuple, TypeVar

from recsae.core import layout
from recsae.core.errors import ArtifactMismatch, InvalidInput
from recsae.core.files import absolute, read_json, remove, write_json
from recsae.report.schema.parts import Sequence
from recsae.report.schema.report import Report
from recsae.report.schema.turn import TurnData
from recsae.report.tables import with_concepts

AnySequence = TypeVar("AnySequence", bound=Sequence)
WITH_IDS = (
    layout.REPORT,
    layout.TURN,
    layout.EXAMPLES,
    layout.COUNTEREXAMPLES,
    layout.ACTIVE_CASES,
    layout.KEPT_IDS,
    layout.KEPT_USERS,
)
"""Files of a run that hold users' ids; steering files for some users hold theirs too."""
NO_WEIGHTS = "has its weights in no page without ids, which is one to share"
"""Why such a page has no lists for histories of the reader's own; follows the model's name."""


class Hidden(NamedTuple):
    """What a report hides of the people whose histories it shows."""

    users: bool = False
    """Whether they are called user 1, user 2, ..."""
    max_history: int | None = None
    """How many items of a history are shown, the last ones; None: all that are kept."""
    shared: bool = False
    """Whether the folder's ``report.json`` is without ids itself."""


def remembered(folder: Path) -> Hidden:
    """What was last chosen for a folder; nothing is hidden where nothing was.

    Raises
    ------
    ArtifactMismatch
        The file cannot be read: what was to be hidden is not known.
    """
    path = folder / layout.HIDDEN
    if not path.exists():
        return Hidden()
    try:
        hidden = Hidden(**read_json(path))
        flags, bound = {type(hidden.users), type(hidden.shared)}, hidden.max_history
        if flags != {bool} or not (bound is None or (type(bound) is int and bound >= 1)):
            raise TypeError
    except (ArtifactMismatch, TypeError):
        raise ArtifactMismatch(
            f"{path} is damaged, which says what the report hides of users: choose again, with "
            "--redact-users or --show-users."
        ) from None
    return hidden


def remember(folder: Path, hidden: Hidden) -> None:
    """Keep what was chosen, for whenever the report is made again."""
    path = folder / layout.HIDDEN
    if hidden == Hidden():
        remove(path)
    else:
        write_json(path, hidden._asdict())


def without_people(report: Report, hidden: Hidden) -> Report:
    """The report with users called "user 1", ... in order of appearance, and histories cut."""
    names = _called(report)

    def shown(sequence: AnySequence) -> AnySequence:
        change: dict[str, object] = {}
        if hidden.users:
            change["user"] = names[sequence.user]
        if hidden.max_history is not None:
            change["items"] = sequence.items[-hidden.max_history :]
        return sequence.model_copy(update=change)

    if not hidden.users and hidden.max_history is None:
        return report
    return with_concepts(
        report,
        [
            concept.model_copy(
                update={
                    "examples": [shown(one) for one in concept.examples],
                    "counterexamples": [shown(one) for one in concept.counterexamples],
                }
            )
            for concept in report.concepts.list
        ],
    )


def samples_without_people(turn: TurnData, report: Report, hidden: Hidden) -> TurnData:
    """The samples with users called as in the page of ``report``, and histories cut.

    Where users are hidden the model's weights are left out too: who has them has the model.
    """
    names = _called(report)
    samples = [
        sample.model_copy(
            update={
                "user": names.setdefault(sample.user, f"user {len(names) + 1}")
                if hidden.users
                else sample.user,
                "items": sample.items[-(hidden.max_history or len(sample.items)) :],
            }
        )
        for sample in turn.samples
    ]
    cut = any(len(a.items) < len(b.items) for a, b in zip(samples, turn.samples, strict=True))
    kept = {*turn.items, *(item for sample in samples for item in sample.items)}
    return turn.model_copy(
        update={
            "samples": samples,
            "titles": {item: title for item, title in turn.titles.items() if item in kept},
            "users_hidden": turn.users_hidden or hidden.users,
            **({"forward": None, "no_forward": NO_WEIGHTS} if hidden.users else {}),
            "histories_cut": turn.histories_cut or cut,
        }
    )


def _called(report: Report) -> dict[str, str]:
    """What users are called, by id: numbered in order of appearance."""
    names: dict[str, str] = {}
    for concept in report.concepts.list:
        for sequence in (*concept.examples, *concept.counterexamples):
            names.setdefault(sequence.user, f"user {len(names) + 1}")
    return names


def check_place(folder: Path, out: Path) -> None:
    """Refuse a place that has files which are none of a shared report.

    Raises
    ------
    InvalidInput
        It is a file, the run itself, or a folder with other files in it.
    """
    if out.exists() and not out.is_dir():
        raise InvalidInput(f"{out} is a file: name a new folder to share.")
    if absolute(out) == absolute(folder):
        raise InvalidInput(f"{out} is the run's own folder, which holds ids: name a new folder.")
    others = sorted({p.name for p in out.iterdir()} - set(layout.SHARED)) if out.is_dir() else []
    if others:
        raise InvalidInput(
            f"{out} has other files in it, such as {others[0]!r}: name a new folder to share."
        )


def files_with_ids(folder: Path) -> list[str]:
    """Files of a run that hold ids of users, by their paths in its folder."""
    steering = [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.glob("steering/*.json"))
        if b'"users": null' not in path.read_bytes()
    ]
    return [name for name in WITH_IDS if (folder / name).exists()] + steering
