"""Histories out of a log that does not fit in memory: rows are sorted through temporary files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from recsae.core.errors import InvalidInput, RecSAEError
from recsae_torch.grouping import (
    ITEM,
    NO_ITEM,
    Lists,
    draw,
    group,
    internal_ids,
    notes_on_draw,
    refuse_items,
    refuse_rows,
    spans,
)
from recsae_torch.parquet import BATCH, Log, open_log
from recsae_torch.times import (
    NO_TIME,
    TIME,
    are_blank,
    are_numbers,
    notes_on_times,
    numbers_of,
    order_of_different,
    refuse_missing,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

ROWS_AT_ONCE = 4_000_000
"""Rows that are sorted at once, each some 60 bytes."""
MOST_PARTS = 256
"""Temporary files, at most: that many may be open."""
_FIELDS = [("user", np.int64), ("item", np.int32), ("row", np.int64)]


class _Values:
    """The different values of a column, in the order in which they come."""

    def __init__(self) -> None:
        self._parts: list[pa.Array] = []
        self._n = 0
        self.n_missing = 0

    def add(self, column: pa.Array, *, keep: bool = True) -> None:
        """More rows; if not ``keep``, only those without a value are counted."""
        import pyarrow.compute as pc

        self.n_missing += int(pc.sum(pc.is_null(column, nan_is_null=True)).as_py() or 0)
        if not keep:
            return
        self._parts.append(column.unique())
        if sum(map(len, self._parts)) > 2 * self._n + BATCH:  # merged now and then: linear in all
            self._n = len(self.all())

    def all(self) -> pa.Array:
        """The values so far."""
        import pyarrow as pa

        self._parts = [pa.chunked_array(self._parts).unique()]
        return self._parts[0]


class _Numbered:
    """Values by number, and the numbers of the rows of a column."""

    def __init__(self, values: pa.Array) -> None:
        self.values = pd.factorize(values.drop_null().to_pandas())[1]
        self.some_missing = len(self.values) < len(values)

    def __call__(self, column: pa.Array) -> NDArray[np.int64]:
        """``(n,)``; -1 where a row has none of the values."""
        packed = column.dictionary_encode()
        numbers = self.values.get_indexer(pd.Index(packed.dictionary.to_pandas()))
        rows = packed.indices.fill_null(len(numbers)).to_numpy(zero_copy_only=False)
        found: NDArray[np.int64] = np.append(numbers, -1)[rows]
        return found


class _Times:
    """Where the rows of a column of times stand."""

    def __init__(self, log: Log, name: str, values: _Values, are_numbers: bool) -> None:
        self._numbered: _Numbered | None = None
        n_missing = values.n_missing
        if are_numbers:
            refuse_missing(n_missing, log.n_rows, name)
            return
        self._numbered = _Numbered(values.all())
        different = pd.Series(self._numbered.values)
        blank = are_blank(different)
        if blank.any():
            n_missing = _count(log, name, self._numbered, np.append(blank, True))[0]
        refuse_missing(n_missing, log.n_rows, name)
        self._order = order_of_different(different, name)

    def __call__(self, column: pa.Array) -> NDArray[Any]:
        """``(n,)`` numbers in their order."""
        if self._numbered is None:
            return numbers_of(column.to_pandas())
        return self._order[self._numbered(column)]


class _Columns(NamedTuple):
    """What the columns of a log hold."""

    users: pa.Array
    items: pa.Array
    times: _Times | None


def read_histories(path: Path, known: pd.Series[Any], max_users: int | None) -> Lists:
    """The histories in a Parquet file, or in a folder of them.

    At no time more is in memory than the different users and items, text of times, ``BATCH`` rows,
    ``ROWS_AT_ONCE`` numbered rows, and what is returned. Rows are sorted in a temporary folder,
    which is removed at the end and after an error.

    Parameters
    ----------
    known
        Internal ids by external ids, as text.
    max_users
        Keep at most so many users, drawn at random.

    Raises
    ------
    InvalidInput
        Files cannot be read or do not fit together, or an item is none of the model's.
    RecSAEError
        The temporary folder has no room.
    """
    log = open_log(path)
    columns = _look_through(log)
    items = _Numbered(columns.items)
    ids = internal_ids(items.values, known)
    if items.some_missing or not ids[:-1].all():
        n_unknown, first = _count(log, ITEM, items, ids == 0)
        refuse_items(n_unknown, log.n_rows, NO_ITEM if first < 0 else items.values[first], known)
    numbers = draw(len(columns.users), max_users)
    users = _Numbered(columns.users.take(np.flatnonzero(numbers >= 0)))
    try:
        with tempfile.TemporaryDirectory(prefix="recsae-histories-") as folder:
            parts = _Parts(Path(folder), -(-log.n_rows // ROWS_AT_ONCE))
            parts.fill(_numbered_rows(log, users, items, ids, columns.times))
            order, lengths, flat, n_same = parts.put_together(len(users.values))
    except OSError as error:
        raise RecSAEError(
            f"Histories cannot be sorted in the temporary folder {tempfile.gettempdir()} "
            f"({error.strerror or error}): let TMPDIR name one with room."
        ) from error
    told = (NO_TIME,) if log.time is None else notes_on_times(log.time, n_same, len(flat))
    names = [str(user) for user in users.values.take(order)]
    return Lists(names, lengths, flat, (*notes_on_draw(numbers), *told))


def _look_through(log: Log) -> _Columns:
    """The values of all columns, out of one reading.

    Raises
    ------
    InvalidInput
        Rows have no user, or it is not clear when they were.
    """
    users, items, times = _Values(), _Values(), _Values()
    numbers: bool | None = None
    for _, (user, item, *time) in log.batches(log.columns):
        users.add(user)
        items.add(item)
        if time and numbers is None:
            numbers = are_numbers(time[0].slice(0, 1).to_pandas())
        if time:
            times.add(time[0], keep=not numbers)
    refuse_rows(log.n_rows, users.n_missing)
    time_of = None if log.time is None else _Times(log, log.time, times, bool(numbers))
    return _Columns(users.all(), items.all(), time_of)


def _count(log: Log, name: str, numbered: _Numbered, chosen: NDArray[np.bool_]) -> tuple[int, int]:
    """How many rows have one of the values that are chosen, and the number of the first of these.

    The last of the ``chosen`` is for rows that have none of the values: number -1.
    """
    n_rows, first = 0, -1
    for _, (column,) in log.batches([name]):
        number = numbered(column)
        rows = np.flatnonzero(chosen[number])
        if len(rows) and not n_rows:
            first = int(number[rows[0]])
        n_rows += len(rows)
    return n_rows, first


def _numbered_rows(
    log: Log, users: _Numbered, items: _Numbered, ids: NDArray[np.int32], times: _Times | None
) -> Iterator[NDArray[np.void]]:
    """The rows of the users that are kept, as records of numbers.

    Raises
    ------
    InvalidInput
        There are no times, and a user is in two files: the order of files is no order.
    """
    file_of = np.full(len(users.values), -1)
    n_read = 0
    for file, (user, item, *time) in log.batches(log.columns):
        number = users(user)
        kept = np.flatnonzero(number >= 0)
        row = n_read + kept
        if times is None:
            _refuse_several(log, users, file_of, number[kept], file)
        stands = row if times is None else times(time[0])[kept]
        rows = np.empty(len(kept), dtype=[*_FIELDS, ("time", stands.dtype)])
        rows["user"], rows["item"], rows["row"] = number[kept], ids[items(item)][kept], row
        rows["time"] = stands
        n_read += len(user)
        yield rows


def _refuse_several(
    log: Log, users: _Numbered, file_of: NDArray[np.int64], number: NDArray[np.int64], file: int
) -> None:
    """Note the file of users; InvalidInput if one was in another."""
    before = file_of[number]
    several = np.flatnonzero((before >= 0) & (before != file))
    if len(several):
        user = number[several[0]]
        one, other = log.files[file_of[user]].path, log.files[file].path
        raise InvalidInput(
            f"histories has no column {TIME!r}, and user {str(users.values[user])!r} is in {one} "
            f"and in {other}: the order of files is none of time, so give times, or all rows of a "
            "user in one file."
        )
    file_of[number] = file


class _Parts:
    """Rows in temporary files, those of a user in one of them."""

    def __init__(self, folder: Path, n_parts: int) -> None:
        n_parts = min(max(n_parts, 1), MOST_PARTS)
        self._paths = [folder / f"rows-{part}" for part in range(n_parts)]
        self._sorted = folder / "items"
        self._fields: np.dtype[np.void] | None = None

    def fill(self, batches: Iterator[NDArray[np.void]]) -> None:
        """Put rows where they belong."""
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("wb")) for path in self._paths]
            for rows in batches:
                self._fields = rows.dtype
                part = rows["user"] % len(files)
                rows = rows[np.argsort(part, kind="stable")]
                ends = np.cumsum(np.bincount(part, minlength=len(files)))
                for file, some in zip(files, np.split(rows, ends[:-1]), strict=True):
                    file.write(some.tobytes())

    def put_together(
        self, n_users: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32], int]:
        """Users in the order of their oldest rows, how many items each has, the items ``(n,)``, and
        how many rows have the time of another one of their user."""
        lengths, starts = np.zeros((2, n_users), dtype=np.int64)
        oldest = np.empty(n_users, dtype=self._fields)
        n_rows = n_same = 0
        with self._sorted.open("wb") as file:
            for path in self._paths:
                rows = np.fromfile(path, dtype=oldest.dtype)
                path.unlink()
                found = group(*(np.ascontiguousarray(rows[name]) for name in ("user", "time")))
                first = np.cumsum(found.lengths) - found.lengths
                lengths[found.users], starts[found.users] = found.lengths, n_rows + first
                oldest[found.users] = rows[found.rows[first]]
                file.write(np.ascontiguousarray(rows["item"])[found.rows].tobytes())
                n_rows, n_same = n_rows + len(rows), n_same + found.n_same
        order = np.lexsort((oldest["row"], oldest["time"]))
        return order, lengths[order], self._gathered(starts[order], lengths[order]), n_same

    def _gathered(self, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int32]:
        """Items of users one after another, out of the sorted file."""
        stored = np.memmap(self._sorted, dtype=np.int32, mode="r")
        ends = np.cumsum(lengths)
        flat = np.empty(len(stored), dtype=np.int32)
        last = user = 0
        while user < len(ends):
            until = max(user + 1, int(np.searchsorted(ends, last + ROWS_AT_ONCE, side="right")))
            some = slice(user, until)
            flat[last : ends[until - 1]] = stored[spans(starts[some], lengths[some])]
            last, user = int(ends[until - 1]), until
        return flat
