"""``report.json`` read and checked, and the files that people open, written from it."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsae.core import layout
from recsae.core.errors import ArtifactMismatch, InvalidInput
from recsae.core.files import UNREADABLE, read_text, uncollected, write_atomically

if TYPE_CHECKING:
    from recsae.report.schema.report import Report
    from recsae.report.schema.turn import TurnData
    from recsae.report.sharing import Hidden


@uncollected()
def write_report(
    report: "Report | None",
    directory: str | Path,
    *,
    redact_users: bool | None = None,
    max_history: int | None = None,
    out: str | Path | None = None,
) -> Path:
    """Write ``report.json``, ``report.html``, ``card.md``, ``concepts.csv`` and ``figures.json``.

    In the page concepts can be turned where the folder has ``turn.json``.
    Everything is made before anything is written, and each file is replaced in one step.

    Parameters
    ----------
    report
        What to write. ``None`` reads ``report.json`` of ``directory`` and leaves that file as it
        is.
    directory
        The run's folder; made where it does not exist.
    redact_users
        Call users "user 1", "user 2", ... in the page, the card and the table; False undoes that
        and ``max_history``, None is what was last chosen for the folder. ``report.json`` of a run
        keeps ids, as it keeps the names that concepts were tested under: what people corrected is
        read from the folder's ``corrections.toml``.
    max_history
        Show at most so many items of a history, the last ones; None: as last chosen.
    out
        A folder to share: everything is written there, and no file of it has an id, nor what
        ``max_history`` leaves out. The run's own folder stays as it is.

    Returns
    -------
    Path
        The page, ``report.html``.

    Raises
    ------
    ArtifactMismatch
        ``report.json`` is missing, or not one that this version can show.
    InvalidInput
        ``out`` without ``redact_users``, or a place that holds something else; ids asked for in a
        folder that was made to be shared.
    """
    from recsae.report import sharing
    from recsae.report.figures import charted
    from recsae.report.kept_figures import kept_figures
    from recsae.report.page import page
    from recsae.report.tables import card, concepts_csv, corrected

    folder = Path(directory)
    hidden = _chosen(folder, redact_users, max_history)
    to = folder if out is None else Path(out)
    if out is not None:
        if not hidden.users:
            raise InvalidInput("A folder to share is without ids: give --redact-users with --out.")
        sharing.check_place(folder, to)
        if hidden.max_history is None:  # a folder written again shows no more than before
            hidden = hidden._replace(max_history=sharing.remembered(to).max_history)
    full, turn = read_report(folder) if report is None else report, read_turn(folder)
    shown = sharing.without_people(corrected(full, folder), hidden)
    turn = sharing.samples_without_people(turn, full, hidden) if turn else None
    texts: dict[str, str] = {}
    hidden = hidden._replace(shared=hidden.shared or out is not None)
    if hidden.shared:
        texts[layout.REPORT] = shown.to_json()
        texts[layout.TURN] = turn.to_json() if turn else "{}\n"
    elif report is not None:
        texts[layout.REPORT] = full.to_json()
    texts[layout.CONCEPTS_CSV] = concepts_csv(shown)
    texts[layout.CARD] = card(shown)
    charts = kept_figures(folder, charted(shown))
    texts[layout.FIGURES] = charts.to_json()
    texts[layout.PAGE] = page(shown, turn, charts=charts.svg)
    sharing.remember(to, hidden)
    for name, text in texts.items():
        write_atomically(to / name, partial(_write_text, text))
    return to / layout.PAGE


def _chosen(folder: Path, redact_users: bool | None, max_history: int | None) -> "Hidden":
    """What is to be hidden: what is asked for, and what was before."""
    from recsae.report.sharing import Hidden, remembered

    if max_history is not None and max_history < 1:
        raise InvalidInput(f"A history of {max_history} items shows nothing: give 1 or more.")
    try:
        before = remembered(folder)
    except ArtifactMismatch:
        if redact_users is None:
            raise
        before = Hidden()
    if redact_users is False:
        if before.shared:
            raise InvalidInput(f"{folder} was made to be shared and has no ids of users.")
        return Hidden(max_history=max_history)
    return Hidden(
        users=bool(redact_users or before.users),
        max_history=max_history or before.max_history,
        shared=before.shared,
    )


@uncollected()
def read_report(directory: str | Path) -> "Report":
    """Read ``report.json`` of a run.

    Parameters
    ----------
    directory
        The run's folder.

    Returns
    -------
    Report
        The validated report.

    Raises
    ------
    ArtifactMismatch
        The file is missing, cut short, or not one that this version can show.
    """
    from recsae.report.schema.report import Report

    path = Path(directory) / layout.REPORT
    try:
        content = _content(path)
    except (FileNotFoundError, NotADirectoryError):
        raise ArtifactMismatch(
            f"There is no report.json in {directory}: finish the run first, with `recsae run`."
        ) from None
    with follows_schema(str(path)):
        return Report.model_validate(content)


def read_turn(directory: str | Path) -> "TurnData | None":
    """Read ``turn.json`` of a run; None where there is none, or nothing in it.

    Raises
    ------
    ArtifactMismatch
        The file is cut short, or not one that this version can show.
    """
    from recsae.report.schema.turn import TurnData

    path = Path(directory) / layout.TURN
    try:
        content = _content(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if content == {}:  # the model's scores are not linear in its states
        return None
    with follows_schema(str(path)):
        return TurnData.model_validate(content)


def _content(path: Path) -> Any:
    """The JSON in a file."""
    import json

    try:
        return json.loads(read_text(path))
    except (FileNotFoundError, NotADirectoryError):
        raise
    except UNREADABLE as error:
        raise ArtifactMismatch(
            f"{path} is not valid JSON ({error}): it was changed or cut short. "
            "Run `recsae run` again to write it anew."
        ) from None


@uncollected()
def report_facts(directory: str | Path) -> dict[str, Any]:
    """The content of a run's ``report.json``, checked as :func:`read_report` checks it."""
    return read_report(directory).model_dump(mode="json", by_alias=True)


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")


@contextmanager
def follows_schema(name: str) -> Iterator[None]:
    """Say in a sentence where ``name``, which is made or read inside, does not follow the schema.

    Raises
    ------
    ArtifactMismatch
        A part of it is not as the schema has it.
    """
    from pydantic import ValidationError

    from recsae.report.schema.report import SCHEMA_VERSION

    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([error.title, *map(str, first["loc"])])
        more = error.error_count() - 1
        raise ArtifactMismatch(
            f"{name} does not follow schema {SCHEMA_VERSION}: at {where}, {first['msg']}"
            f"{f' (and {more} more)' if more else ''}. Run `recsae run` again to write it anew."
        ) from None
