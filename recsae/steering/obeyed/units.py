"""What is turned: the labelled latents of the dictionary, and the labelled units of baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse
import torch

from recsae.capture.cases import spread
from recsae.concepts.attributes.names import ITEM_ITSELF, LENGTH, REPEAT, SEPARATOR
from recsae.concepts.status import SUPPORTED, UNSUPPORTED, VERIFIED
from recsae.core import columns as C
from recsae.core import layout
from recsae.core.files import read_parquet
from recsae.run.workspace import gates_of
from recsae.sae.baselines import BASELINES
from recsae.sae.model import SAE

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from numpy.typing import NDArray

    from recsae.run.workspace import Workspace

DICTIONARY = "sae"
PLAIN = "plain"
AT_RANDOM = "gates"
TESTED = (VERIFIED, SUPPORTED, UNSUPPORTED)


class Labels(NamedTuple):
    """All labels of a code that were tested."""

    latents: NDArray[np.int64]
    """``(n,)``"""
    readable: NDArray[np.bool_]
    """``(n,)`` whether each is verified."""
    about_items: NDArray[np.bool_]
    """``(n,)`` whether it speaks of items, not of the history's length, repetition or nothing."""

    def sizes(self, among: NDArray[np.bool_] | None = None) -> tuple[int, int, int]:
        """How many are readable, how many are not, and how many speak of no items; some of them
        alone with ``among (n,)``."""
        mine = np.ones(len(self.latents), dtype=bool) if among is None else among
        said = mine & self.about_items
        counted = (said & self.readable, said & ~self.readable, mine & ~self.about_items)
        return tuple(int(np.count_nonzero(part)) for part in counted)  # type: ignore[return-value]


class Units(NamedTuple):
    """The units of one code that are turned."""

    code: str
    latents: NDArray[np.int64]
    """``(m,)``"""
    names: list[str]
    readable: NDArray[np.bool_]
    """``(m,)`` whether the label is verified."""
    items: scipy.sparse.csc_matrix
    """``(n_items, m)`` ones where the label speaks of an item."""
    sign: NDArray[np.int64]
    """``(m,)`` -1 where the label says that its items are absent."""
    directions: torch.Tensor
    """``(m, d)`` what is added to a state to turn the unit up by one."""
    labels: Labels
    """Of the whole code, turned or not."""
    n_all: int
    """How many units the code has."""


def units_of_dictionary(work: Workspace, limits: tuple[int, int]) -> Units:
    """The latents of the dictionary: at most so many readable ones, and so many others, evenly
    spread over how right their labels are."""
    table = work.tested_dictionary.table.merge(work.label_scores[[C.LATENT, C.STATUS, C.F1]])
    return _chosen(work, DICTIONARY, table, work.sae.directions(), limits)


def units_of_baselines(work: Workspace, limits: tuple[int, int]) -> Iterator[Units]:
    """The units of each baseline whose labels the run has kept, in the same way."""
    path = work.folder / layout.BASELINES
    if not path.exists():
        return
    kept = dict(list(read_parquet(path).groupby("code")))
    for code in baselines_of(work):
        if code in kept:
            yield _chosen(work, code, kept[code], _directions(work, code), limits)


def _directions(work: Workspace, code: str) -> torch.Tensor:
    """``(n, d)`` what turns each unit of a baseline by one.

    As of the dictionary: of an SAE its decoder, of all that only reads a state the smallest change
    by which it reads one more.
    """
    if code == PLAIN:
        return SAE.load(work.folder / layout.PLAIN_FOLDER).directions()
    if code == AT_RANDOM:
        reads = gates_of(work.core.at_random).weight
    else:
        reads = work.baseline(code, 1).directions
    return reads / reads.square().sum(1, keepdim=True).clamp_min(1e-24)


def baselines_of(work: Workspace) -> tuple[str, ...]:
    """The baselines of a run, in the order of its figures."""
    return (PLAIN, AT_RANDOM, *BASELINES) if work.sae.n_gates else BASELINES


def _chosen(
    work: Workspace,
    code: str,
    table: pd.DataFrame,
    directions: torch.Tensor,
    limits: tuple[int, int],
) -> Units:
    tested = table[table[C.STATUS].isin(TESTED)].sort_values([C.F1, C.LATENT])
    about = tested[C.ATTRIBUTE].notna() & ~tested[C.ATTRIBUTE].isin((REPEAT, LENGTH))
    readable = (tested[C.STATUS] == VERIFIED).to_numpy(bool)
    labels = Labels(tested[C.LATENT].to_numpy(np.int64), readable, about.to_numpy(bool))
    groups = [np.flatnonzero(about & kind) for kind in (readable, ~readable)]
    rows = [group[spread(len(group), n)] for group, n in zip(groups, limits, strict=True)]
    chosen = tested.iloc[np.concatenate(rows)]
    latents = chosen[C.LATENT].to_numpy(np.int64)
    pairs = list(zip(chosen[C.ATTRIBUTE], chosen[C.VALUE], strict=True))
    return Units(
        code=code,
        latents=latents,
        names=chosen[C.NAME].astype(str).tolist(),
        readable=(chosen[C.STATUS] == VERIFIED).to_numpy(bool),
        items=_items_of(work, pairs),
        sign=np.where(chosen[C.NEGATED].to_numpy(bool), -1, 1),
        directions=directions[torch.from_numpy(latents)],
        labels=labels,
        n_all=len(table),
    )


def _items_of(work: Workspace, pairs: list[tuple[str, str]]) -> scipy.sparse.csc_matrix:
    """``(n_items, m)`` ones where a recommendable item has a value, or is in a set of items."""
    attributes, catalog = work.attributes, work.recommender.catalog
    columns = attributes.matrix.tocsc()
    place = {pair: j for j, pair in enumerate(attributes.names)}
    internal = {external: i for i, external in enumerate(catalog.external_ids)}
    has = []
    for pair in pairs:
        items = np.zeros(0, dtype=np.int64)
        if pair in place:
            first, last = columns.indptr[place[pair] : place[pair] + 2]
            items = columns.indices[first:last].astype(np.int64)
        elif pair[0] == ITEM_ITSELF:
            items = np.array(sorted(internal[x] for x in pair[1].split(SEPARATOR)))
        has.append(items[catalog.recommendable[items]])
    bounds = np.cumsum([0, *map(len, has)])
    indices = np.concatenate([np.zeros(0, dtype=np.int64), *has])
    shape = catalog.n_items, len(pairs)
    return scipy.sparse.csc_matrix((np.ones(len(indices)), indices, bounds), shape)
