"""A log of interactions in Parquet files, read a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from recsae.core.errors import InvalidInput
from recsae_torch.grouping import ITEM, USER, refuse_columns
from recsae_torch.times import time_column

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 262_144
"""Rows that are read at once."""
NOTHING = "__HIVE_DEFAULT_PARTITION__"
"""Value in the name of a folder that says that there is none."""


class File(NamedTuple):
    """One file of a log."""

    path: Path
    n_rows: int
    types: dict[str, Any]
    """Arrow's type of each column, those in the names of folders too."""
    said: dict[str, str | None]
    """What the names of its folders say, as ``country=fr``: one value for all rows."""


class Log(NamedTuple):
    """Files with the same columns, in the order of their paths."""

    files: Sequence[File]
    time: str | None
    """The column of times."""

    @property
    def columns(self) -> list[str]:
        """Those of users, of items and, if there is one, of times."""
        return [USER, ITEM] if self.time is None else [USER, ITEM, self.time]

    @property
    def n_rows(self) -> int:
        """Interactions of all files."""
        return sum(file.n_rows for file in self.files)

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[int, list[pa.Array]]]:
        """These columns of at most ``BATCH`` rows at a time, in order, and which file has them."""
        for number, file in enumerate(self.files):
            yield from ((number, batch) for batch in _batches(file, columns))


def open_log(path: Path) -> Log:
    """Look at a Parquet file, or at all in a folder and its folders, without reading rows.

    Files and folders whose names begin with ``.`` or ``_`` are left out, as are files without rows.

    Raises
    ------
    InvalidInput
        There is no such file, it is none of Parquet, or columns are missing or differ.
    """
    files = [_looked_at(file, path) for file in _paths(path)]
    first, *others = [file for file in files if file.n_rows] or files[:1]
    refuse_columns(list(first.types), str(first.path))
    log = Log([first, *others], time_column(list(first.types)))
    for name in log.columns:
        _refuse_type(first, name)
    for other in others:
        _refuse_other(first, other, log.columns)
    return log


def _paths(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InvalidInput(
            f"histories is {str(path)!r}, and there is no such file: give the path of a Parquet "
            "file or of a folder of them."
        )
    found = (file.relative_to(path) for file in path.rglob("*.parquet") if file.is_file())
    shown = sorted(file for file in found if not any(p.startswith((".", "_")) for p in file.parts))
    if not shown:
        raise InvalidInput(f"The folder {path} holds no file whose name ends in .parquet.")
    return [path / file for file in shown]


def _looked_at(path: Path, folder: Path) -> File:
    from pyarrow import ArrowException, large_string
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            schema, n_rows = file.schema_arrow, file.metadata.num_rows
    except (OSError, ArrowException) as error:
        raise _unreadable(path, error) from error
    twice = [name for name in schema.names if schema.names.count(name) > 1]
    if twice:
        raise InvalidInput(f"{path} has more than one column {twice[0]!r}: leave out all but one.")
    types = {field.name: _plain(field.type) for field in schema}
    parts = (part.partition("=") for part in path.relative_to(folder).parts[:-1])
    said = {
        name: None if value == NOTHING else unquote(value) for name, mark, value in parts if mark
    }
    said = {name: value for name, value in said.items() if name not in types}
    return File(path, n_rows, {**types, **dict.fromkeys(said, large_string())}, said)


def _unreadable(path: Path, error: Exception) -> InvalidInput:
    why = getattr(error, "strerror", None) or str(error).partition(". ")[0].rstrip(".")
    return InvalidInput(f"{path} cannot be read as a Parquet file ({why}).")


def _plain(kind: Any) -> Any:
    """The type without how it is packed; text and bytes of any length."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_string(kind):
        return pa.large_string()
    if pa.types.is_binary(kind):
        return pa.large_binary()
    return kind


def _refuse_type(file: File, name: str) -> None:
    import pyarrow as pa

    kind = file.types[name]
    if pa.types.is_nested(kind) or pa.types.is_null(kind):
        raise InvalidInput(
            f"The column {name!r} of {file.path} is {kind}: it must have a number, a text or a "
            "date in each row."
        )


def _refuse_other(first: File, other: File, wanted: Sequence[str]) -> None:
    """Refuse a file whose columns are others than those of the first."""
    times = [time_column(list(file.types)) for file in (first, other)]
    names = [*wanted, times[1]] if times[0] is None and times[1] is not None else wanted
    for name in names:
        seen = [file.types.get(name) for file in (first, other)]
        if seen[0] != seen[1]:
            here, there = (f"is {kind}" if kind is not None else "is missing" for kind in seen)
            raise InvalidInput(
                f"The column {name!r} {here} in {first.path} and {there} in {other.path}: let all "
                "files have the same columns."
            )


def _batches(file: File, columns: Sequence[str]) -> Iterator[list[pa.Array]]:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    stored = [name for name in columns if name not in file.said]
    try:
        with ParquetFile(file.path) as opened:
            for batch in opened.iter_batches(BATCH, columns=stored):
                yield [
                    batch.column(name).cast(file.types[name])
                    if name in stored
                    else pa.repeat(pa.scalar(file.said[name], file.types[name]), len(batch))
                    for name in columns
                ]
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(file.path, error) from error
