"""``report.json`` read and checked, and the files that people open, written from it."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from recsae.core import layout
from recsae.core.errors import ArtifactMismatch
from recsae.core.files import write_atomically

if TYPE_CHECKING:
    from recsae.report.schema.report import Report


def write_report(
    report: "Report | None",
    directory: str | Path,
    *,
    redact_users: bool = False,
) -> Path:
    """Write ``report.json``, ``report.html``, ``card.md`` and ``concepts.csv``.

    Everything is made before anything is written, and each file is replaced in one step.

    Parameters
    ----------
    report
        What to write. ``None`` reads ``report.json`` of ``directory`` and leaves that file as it
        is.
    directory
        The run's folder; made where it does not exist.
    redact_users
        Call users "user 1", "user 2", ... in the page, the card and the table.
        ``report.json`` keeps their ids, as it keeps the names that concepts were tested under:
        what people corrected is read from the folder's ``corrections.toml``.

    Returns
    -------
    Path
        The page, ``report.html``.

    Raises
    ------
    ArtifactMismatch
        ``report.json`` is missing, or not one that this version can show.
    """
    from recsae.report.page import page
    from recsae.report.tables import card, concepts_csv, corrected, redacted

    folder = Path(directory)
    texts: dict[str, str] = {}
    if report is None:
        full = read_report(folder)
    else:
        full = report
        texts[layout.REPORT] = full.to_json()
    shown = corrected(full, folder)
    shown = redacted(shown) if redact_users else shown
    texts[layout.CONCEPTS_CSV] = concepts_csv(shown)
    texts[layout.CARD] = card(shown)
    texts[layout.PAGE] = page(shown)
    for name, text in texts.items():
        write_atomically(folder / name, partial(_write_text, text))
    return folder / layout.PAGE


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
    import json

    from recsae.report.schema.report import Report

    path = Path(directory) / layout.REPORT
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactMismatch(
            f"There is no report.json in {directory}: finish the run first, with `recsae run`."
        ) from None
    except ValueError as error:
        raise ArtifactMismatch(
            f"{path} is not valid JSON ({error}): it was changed or cut short. "
            "Run `recsae run` again to write it anew."
        ) from None
    with follows_schema(str(path)):
        return Report.model_validate(content)


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
