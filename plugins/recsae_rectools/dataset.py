"""Interactions as RecTools has them, as recsae keeps them: histories of the items of a model."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from recsae.core.errors import CannotOpenModel, InvalidInput, summary_of
from recsae.core.files import absolute
from recsae.recommender.plugins import UNTRUSTED
from recsae.recommender.sequences import Sequences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

USER, ITEM, WEIGHT, TIME = "user_id", "item_id", "weight", "datetime"
"""Columns of RecTools' tables of interactions."""
FILES = ("dataset.pkl", "dataset.pickle", "interactions.parquet", "interactions.csv")
"""Names by which a data set is found beside the model, the first that is there."""
KNOWN_SHARE = 0.5
"""With fewer of the model's items in the data set, or of its interactions with items of the model,
it is another model's."""


class Data(NamedTuple):
    """A data set, and what a model reads of it."""

    dataset: Any
    """RecTools' own; None once the model is attached."""
    sequences: Sequences
    times: NDArray[np.int64]
    """``(n,)`` nanoseconds since 1970 of the interactions in ``sequences.flat``."""
    back: NDArray[np.int64]
    """``(n,)`` how many interactions the user has behind each, also with items that are unknown."""
    rows: NDArray[np.int64]
    """``(n_items,)`` the data set's internal id of each item of the model's, -1 if it has none."""
    files: list[Path]
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of the file or, where that is the usual one, of its folder."""
        if not self.files:
            return "given"
        file = absolute(self.files[0])
        return file.parent.name if file.name in FILES else file.stem


def find_data(checkpoint: Path | None, given: str | Path | None) -> Path:
    """The file of the data set: the one that is given, or in that folder, or beside the model.

    Raises
    ------
    CannotOpenModel
        There is none.
    """
    place = absolute(checkpoint or "model").parent if given is None else Path(given)
    if place.is_file():
        return place
    for name in FILES:
        if (place / name).is_file():
            return absolute(place / name)
    known = f"{', '.join(FILES[:-1])} or {FILES[-1]}"
    if given is not None and not place.is_dir():
        raise CannotOpenModel(f"There is no data set at {place}: give a file, or a folder of one.")
    raise CannotOpenModel(
        f"A RecTools model holds no interactions, and there is none of {known} in {place}: say "
        "with --data-path FILE (data_path in Python) where its pickled Dataset is, or its "
        f"interactions as CSV or Parquet with the columns {USER}, {ITEM} and {TIME}."
    )


def read_data(path: Path, item_ids: Sequence[Any], *, trust: bool) -> Any:
    """The ``Dataset`` in a file, or one of the interactions in it (inside the boundary).

    Parameters
    ----------
    item_ids
        External ids of the model's items: those in a table are taken for the same if they are so
        as text.

    Raises
    ------
    CannotOpenModel, InvalidInput
        A pickle that is not trusted; a file that cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(4)
    if not head.startswith(b"\x80"):
        table = _read_table(path, is_parquet=head == b"PAR1")
        return _constructed(table, item_ids, path)
    if not trust:
        raise CannotOpenModel(UNTRUSTED.format(path=path, what="a data set of RecTools'"))
    try:
        return pickle.loads(path.read_bytes())
    except Exception as error:  # unpickling runs foreign code: anything can come out
        raise CannotOpenModel(
            f"The data set {path} cannot be read ({summary_of(error)}): copy it again, or give its "
            "interactions as CSV or Parquet."
        ) from error


def _read_table(path: Path, *, is_parquet: bool) -> pd.DataFrame:
    try:
        if is_parquet:
            table = pd.read_parquet(path)
        else:
            table = pd.read_csv(path, dtype={USER: str, ITEM: str}, keep_default_na=False)
    except (OSError, ValueError) as error:  # pandas' and pyarrow's own are kinds of these
        raise InvalidInput(
            f"The interactions {path} cannot be read ({summary_of(error)}): give a CSV file with "
            "commas or a Parquet file."
        ) from error
    lacking = [name for name in (USER, ITEM, TIME) if name not in table]
    if lacking or table.empty:
        raise InvalidInput(
            f"The interactions {path} have {len(table)} rows and the columns "
            f"{list(map(str, table.columns))}: RecTools' are {USER}, {ITEM}, {TIME} and {WEIGHT}, "
            "of which the last may be missing."
        )
    needed = table[[name for name in (USER, ITEM, TIME, WEIGHT) if name in table]]
    missing = int((needed.isna() | (needed == "")).any(axis=1).sum())
    if missing:
        raise InvalidInput(
            f"{missing:,} of {len(table):,} interactions in {path} lack a user, an item, a time or "
            "a weight: leave them out."
        )
    return table


def _constructed(table: pd.DataFrame, item_ids: Sequence[Any], path: Path) -> Any:
    from rectools.dataset import Dataset

    by_text = {str(item): item for item in item_ids}
    items = table[ITEM].astype(str)
    own = items.map(by_text).astype(object)
    weight = table[WEIGHT].to_numpy() if WEIGHT in table else 1.0
    columns = {USER: table[USER].astype(str).to_numpy(), ITEM: own.where(own.notna(), items)}
    try:
        times = table[TIME]
        if not pd.api.types.is_numeric_dtype(times):  # 03/02/1997 can be read in two ways
            times = pd.to_datetime(times, format="ISO8601")
        rows = pd.DataFrame({**columns, WEIGHT: weight, TIME: times.to_numpy()})
        return Dataset.construct(rows)
    except (TypeError, ValueError, KeyError) as error:
        raise InvalidInput(
            f"RecTools cannot make a data set of the interactions {path} ({summary_of(error)}): "
            f"{TIME} must be dates such as 2020-12-31 13:59:00, and {WEIGHT} numbers."
        ) from error


def arrange(dataset: Any, item_ids: Sequence[Any], model: str, files: Sequence[Path] = ()) -> Data:
    """Every user's history of a model's items, in the order in which RecTools reads it.

    Items that the model does not know are left out, as RecTools leaves them out.

    Raises
    ------
    CannotOpenModel
        It is no ``Dataset``, or another model's.
    """
    if not (hasattr(dataset, "item_id_map") and hasattr(dataset, "interactions")):
        raise CannotOpenModel(
            f"The data set of {model} is a {type(dataset).__name__}: it must be RecTools' Dataset, "
            "as Dataset.construct makes it."
        )
    table, theirs = dataset.interactions.df, dataset.item_id_map.external_ids
    known = pd.Index(np.array([*item_ids, None], dtype=object)[:-1])
    own = known.get_indexer(pd.Index(np.array([*theirs, None], dtype=object)[:-1])) + 1
    items = own[table[ITEM].to_numpy()]
    notes = _fits(items > 0, own, known, theirs, model)
    users, times = table[USER].to_numpy(), table[TIME].to_numpy().astype("datetime64[ns]")
    order = np.lexsort((times.astype(np.int64), users))
    stops = np.searchsorted(users[order], users[order], side="right")
    kept = np.flatnonzero(items[order] > 0)
    order, back = order[kept], (stops - 1 - np.arange(len(order)))[kept]
    rows, starts = np.unique(users[order], return_index=True)
    names = np.array([str(user) for user in dataset.user_id_map.external_ids[rows]], dtype=object)
    sequences = Sequences(
        flat=items[order].astype(np.int32),
        offsets=np.append(starts, len(order)).astype(np.int64),
        users=names,
        user_rows=np.arange(1, len(rows) + 1, dtype=np.int64),
    )
    place = np.full(len(known) + 1, -1, dtype=np.int64)
    place[own] = np.arange(len(own))
    place[0] = -1
    nanoseconds = times[order].astype(np.int64)
    notes = (*notes, *_same_times(sequences, nanoseconds))
    return Data(dataset, sequences, nanoseconds, back, place, list(files), notes)


def _fits(
    known_rows: NDArray[np.bool_], own: NDArray[np.int64], known: Any, theirs: Any, model: str
) -> tuple[str, ...]:
    """Remarks on items that only one of the two has; CannotOpenModel where hardly any is shared."""
    n_shared, n_rows = int((own > 0).sum()), int(known_rows.sum())
    if n_shared < KNOWN_SHARE * len(known) or n_rows < KNOWN_SHARE * len(known_rows):
        raise CannotOpenModel(
            f"The data set is not that of {model}: {n_shared:,} of the model's {len(known):,} "
            f"items are in it (such as {known[0]!r}; the data set has {theirs[0]!r}), and "
            f"{n_rows:,} of its {len(known_rows):,} interactions are with items of the model. Give "
            "the data set that the model was fitted on, or a later one, with ids of the same type."
        )
    notes = []
    if n_shared < len(known):
        notes.append(
            f"{len(known) - n_shared:,} of {len(known):,} items of the model are not in the data "
            "set."
        )
    if n_rows < len(known_rows):
        notes.append(
            f"{len(known_rows) - n_rows:,} of {len(known_rows):,} interactions are with items that "
            "the model does not know; histories are without them, as RecTools reads them."
        )
    return tuple(notes)


def _same_times(sequences: Sequences, times: NDArray[np.int64]) -> tuple[str, ...]:
    same = np.append(times[1:] == times[:-1], False)
    same[sequences.offsets[1:] - 1] = False
    told = (
        f"{int(same.sum()):,} of {len(times):,} interactions have the time of another one of their "
        "user; these keep the order of their rows."
    )
    return (told,) if same.any() else ()
