"""What a run keeps of its recommender: most questions need no model, and to open one takes seconds.

A kept recommender answers from files of the run what does not need the model, and opens the model
for the rest.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recsae.core import layout
from recsae.core.errors import ArtifactMismatch
from recsae.core.files import (
    map_arrays,
    read_json,
    read_parquet,
    remove,
    write_arrays,
    write_json,
    write_parquet,
)
from recsae.recommender.catalog import ItemCatalog
from recsae.recommender.protocol import LinearHead, Recommender, Site
from recsae.recommender.sequences import Sequences

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from numpy.typing import NDArray

    from recsae.recommender.protocol import Edit, EvaluationCases, StatedScore
    from recsae.recommender.sequences import Batch

MAX_BYTES = 2**27
"""Of more than this nothing is kept: a head of a million items is as large as its checkpoint."""
DTYPES = {
    "flat": np.int32,
    **dict.fromkeys(("offsets", "user_rows", "learned"), np.int64),
    "recommendable": np.uint8,
    **dict.fromkeys(("head", "bias"), np.float32),
}
"""Of the arrays that are kept."""


class KeptSite(BaseModel):
    """A :class:`recsae.recommender.protocol.Site`."""

    model_config = ConfigDict(extra="forbid")

    name: str
    meaning: str
    width: int = Field(ge=1)
    every_position: bool
    per_user: bool
    share: float | None


class Kept(BaseModel):
    """What is kept beside tables and arrays."""

    model_config = ConfigDict(extra="forbid")

    name: str
    plugin: str
    dataset: str
    max_length: int = Field(ge=1)
    filters_seen: bool
    max_positions: int | None
    fingerprint: str
    sites: list[KeptSite] = Field(min_length=1)
    item_columns: list[str]
    user_columns: list[str] | None
    """Of what is known of users; None: nothing is."""
    title_column: str | None
    attributes: list[str]
    notes: list[str]
    separated_by: dict[str, str]
    unread: list[str]


def keep(recommender: Recommender, folder: Path) -> None:
    """Write what answers most questions into a run's folder.

    Nothing is written where it is too large, or has what files do not give back as it is.
    """
    for old in (folder / layout.RECOMMENDER).glob("*"):
        remove(old)
    catalog, known = recommender.catalog, recommender.user_table()
    arrays = _arrays(recommender)
    ids = pd.DataFrame({"0": list(recommender.sequences().users)})
    tables = {layout.KEPT_ITEMS: catalog.frame, layout.KEPT_IDS: ids}
    if known is not None:
        tables[layout.KEPT_USERS] = known.set_axis(range(known.shape[1]), axis=1).reset_index()
    cells = [table.iloc[:, j] for table in tables.values() for j in range(table.shape[1])]
    if not all(map(_comes_back, cells)) or (known is not None and known.index.nlevels > 1):
        return
    size = sum(array.nbytes for array in arrays.values())
    if size + sum(int(one.memory_usage(deep=True)) for one in cells) > MAX_BYTES:
        return
    try:
        facts = _facts(recommender).model_dump()
        _check(arrays, catalog.n_items, len(ids), facts["sites"][0]["width"])
        json.dumps(facts, allow_nan=False)
    except (TypeError, ValueError):  # an adapter of one's own can give anything
        return
    (folder / layout.RECOMMENDER).mkdir(exist_ok=True)
    write_arrays(folder / layout.KEPT_ARRAYS, arrays)
    for name, table in tables.items():
        write_parquet(folder / name, table.set_axis(map(str, range(table.shape[1])), axis=1))
    write_json(folder / layout.KEPT_FACTS, facts)


def _facts(recommender: Recommender) -> Kept:
    """What is kept beside tables and arrays; ValueError if it has another form."""
    catalog, known = recommender.catalog, recommender.user_table()
    return Kept(
        **{name: getattr(recommender, name) for name in ("name", "plugin", "dataset")},
        max_length=recommender.max_length,
        filters_seen=recommender.filters_seen,
        max_positions=recommender.max_positions,
        fingerprint=recommender.fingerprint(),
        sites=[KeptSite(**asdict(site)) for site in recommender.sites()],
        item_columns=list(catalog.frame),
        user_columns=None if known is None else list(known),
        title_column=catalog.title_column,
        attributes=list(catalog.attributes),
        notes=list(catalog.notes),
        separated_by=dict(catalog.separated_by),
        unread=list(catalog.unread),
    )


def _arrays(recommender: Recommender) -> dict[str, NDArray[Any]]:
    """The histories, which items are recommended, and the head."""
    head, sequences = recommender.linear_head(), recommender.sequences()
    arrays: dict[str, Any] = {
        **{name: getattr(sequences, name) for name in ("flat", "offsets", "user_rows", "learned")},
        "recommendable": recommender.catalog.recommendable.astype(np.uint8),
        "head": None if head is None else head.items.detach().cpu().numpy(),
        "bias": None if head is None or head.bias is None else head.bias.detach().cpu().numpy(),
    }
    return {name: array for name, array in arrays.items() if array is not None}


def _comes_back(cells: pd.Series[Any]) -> bool:
    """Whether a table that is written and read has these cells again: numbers, texts, or tuples of
    texts."""
    if cells.dtype.kind in "biuf":
        return True
    several = [cell if isinstance(cell, tuple) else (cell,) for cell in cells]
    if len({isinstance(cell, tuple) for cell in cells}) > 1:
        return False
    texts = [text for values in several for text in values]
    if not all(isinstance(text, str) for text in texts):
        return False
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True


class KeptRecommender(Recommender):
    """The recommender of a run, as :func:`keep` left it; the model is opened when it is needed.

    Parameters
    ----------
    folder
        That of the run.
    sources
        Files that the model and its data were read from, as the run recorded them.
    open_model
        Opens the recommender itself.

    Raises
    ------
    ArtifactMismatch
        A file is damaged.
    """

    def __init__(
        self,
        folder: Path,
        sources: Sequence[str],
        open_model: Callable[[], Recommender],
    ) -> None:
        self._sources, self._open = list(sources), open_model
        try:
            self._read(folder, _facts_of(folder))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ArtifactMismatch(
                f"The files in {folder / layout.RECOMMENDER} are not of one run: run the same "
                "`recsae run` again."
            ) from error

    def _read(self, folder: Path, kept: Kept) -> None:
        arrays = {n: np.array(a) for n, a in map_arrays(folder / layout.KEPT_ARRAYS).items()}
        users = _table(folder / layout.KEPT_IDS).iloc[:, 0].to_numpy(dtype=object)
        self.name, self.plugin, self.dataset = kept.name, kept.plugin, kept.dataset
        self.max_length, self.filters_seen = kept.max_length, kept.filters_seen
        self.max_positions, self._fingerprint = kept.max_positions, kept.fingerprint
        self._sites = [Site(**site.model_dump()) for site in kept.sites]
        self.catalog = _catalog_of(folder, kept, arrays)
        _check(arrays, self.catalog.n_items, len(users), kept.sites[0].width)
        self._sequences = Sequences(
            *(arrays["flat"], arrays["offsets"], users),
            *(arrays["user_rows"], arrays.get("learned")),
        )
        self._users: pd.DataFrame | None = None
        if kept.user_columns is not None:
            known = _table(folder / layout.KEPT_USERS)
            index = pd.Index(known.iloc[:, 0].tolist(), dtype=object)
            self._users = known.iloc[:, 1:].set_axis(kept.user_columns, axis=1).set_axis(index)
        self._head = None
        if "head" in arrays:
            bias = torch.from_numpy(arrays["bias"]) if "bias" in arrays else None
            self._head = LinearHead(torch.from_numpy(arrays["head"]), bias)

    def sequences(self) -> Sequences:
        """Every user's whole history, oldest item first."""
        return self._sequences

    def sites(self) -> list[Site]:
        """Where states can be read; the first is the sequence representation."""
        return self._sites

    def linear_head(self) -> LinearHead | None:
        """The head behind the default site, or None if scores are not linear in it."""
        return self._head

    def fingerprint(self) -> str:
        """SHA-256 over what makes the scores."""
        return self._fingerprint

    def sources(self) -> list[str]:
        """Files that the model and its data were read from."""
        return self._sources

    def user_table(self) -> pd.DataFrame | None:
        """What is known of users."""
        return self._users

    # -- what needs the model --------------------------------------------------------------------
    @cached_property
    def opened(self) -> Recommender:
        """The recommender itself."""
        return self._open()

    @property
    def model(self) -> Any:
        """The model behind the adapter."""
        return self.opened.model

    def __getattr__(self, name: str) -> Any:
        """What only an adapter has."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.opened, name)

    def evaluation(self, split: str = "test") -> EvaluationCases:
        """The cases of the model's own evaluation settings."""
        return self.opened.evaluation(split)

    def represent(
        self, batch: Batch, site: str | None = None, *, positions: bool = False
    ) -> torch.Tensor:
        """States at the last item, or at every item."""
        return self.opened.represent(batch, site, positions=positions)

    def represent_sites(
        self, batch: Batch, sites: Sequence[str], *, positions: bool = False
    ) -> dict[str, torch.Tensor]:
        """States at several sites."""
        return self.opened.represent_sites(batch, sites, positions=positions)

    def score(self, batch: Batch) -> torch.Tensor:
        """Scores by the model's own scoring, edits applied."""
        return self.opened.score(batch)

    def edit(self, edit: Edit, site: str | None = None) -> AbstractContextManager[None]:
        """Within the context, states at the site become ``edit(states)``."""
        return self.opened.edit(edit, site)

    def describe(self) -> dict[str, Any]:
        """Facts for ``recsae inspect``."""
        return self.opened.describe()

    def input_vectors(self, batch: Batch) -> torch.Tensor:
        """What the model looks up for each item."""
        return self.opened.input_vectors(batch)

    def represent_from(
        self, batch: Batch, vectors: torch.Tensor, site: str | None = None
    ) -> torch.Tensor:
        """States of the batch with these vectors as what was looked up."""
        return self.opened.represent_from(batch, vectors, site)

    def stated_score(self) -> StatedScore | None:
        """What the model scored in validation when it was trained."""
        return self.opened.stated_score()


def _catalog_of(folder: Path, kept: Kept, arrays: dict[str, NDArray[Any]]) -> ItemCatalog:
    """The catalog that :func:`keep` left in a run's folder."""
    return ItemCatalog(
        _table(folder / layout.KEPT_ITEMS).set_axis(kept.item_columns, axis=1),
        arrays["recommendable"].astype(bool),
        kept.title_column,
        tuple(kept.attributes),
        tuple(kept.notes),
        kept.separated_by,
        tuple(kept.unread),
    )


def _check(arrays: dict[str, NDArray[Any]], n_items: int, n_users: int, width: int) -> None:
    """ValueError if arrays are not of so many items and users, or items and bounds not among
    them; KeyError if one is missing."""
    flat, offsets, rows = (arrays[name] for name in ("flat", "offsets", "user_rows"))
    shapes = {
        "flat": (offsets[-1],),
        "offsets": (n_users + 1,),
        "user_rows": (n_users,),
        "learned": (n_users,),
        "recommendable": (n_items,),
        "head": (n_items, width),
        "bias": (n_items,),
    }
    for name, array in arrays.items():
        if array.shape != shapes[name] or array.dtype != DTYPES[name]:
            raise ValueError(f"{name} is {array.dtype} {array.shape}")
    known = arrays.get("learned", rows)
    if offsets[0] or (np.diff(offsets) < 0).any() or rows.min(initial=0) < 0 or known.min() < 0:
        raise ValueError("bounds that do not ascend")
    if not 0 <= flat.min() <= flat.max() < n_items:
        raise ValueError("items of another catalog")


def _facts_of(folder: Path) -> Kept:
    """The facts that :func:`keep` left in a run's folder.

    Raises
    ------
    ArtifactMismatch
        They are missing, or have another form.
    """
    path = folder / layout.KEPT_FACTS
    try:
        return Kept.model_validate(read_json(path))
    except ValidationError as error:
        raise ArtifactMismatch(
            f"{path} was not written by this version of recsae: run the same `recsae run` again."
        ) from error


def _table(path: Path) -> pd.DataFrame:
    """A table, its lists of values as tuples."""
    table = read_parquet(path)
    for name in table:
        if len(table) and isinstance(table[name].iloc[0], np.ndarray):
            table[name] = [tuple(values) for values in table[name].tolist()]
    return table
