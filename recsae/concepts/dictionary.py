"""The concept dictionary: for every latent a label, the sequences behind it, and its items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from recsae.concepts.naming import told_apart
from recsae.core import columns as C
from recsae.core import layout
from recsae.core.errors import InvalidInput, NotEnoughData, nearest
from recsae.core.files import read_parquet, write_parquet

if TYPE_CHECKING:
    import scipy.sparse
    import torch
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.concepts.labeler import Labeler
    from recsae.concepts.wording import Predicate
    from recsae.recommender.catalog import ItemCatalog
    from recsae.recommender.protocol import LinearHead

N_TOP_EXAMPLES = 5
"""Examples of each latent with the highest activations."""
N_EFFECT_ITEMS = 5
"""Items that are named as promoted, and as demoted, by each latent."""
QUANTILES = (0.9, 0.75, 0.5, 0.25, 0.05)
"""Quantiles of the activation at which one more example each is shown."""
TOP = "top"
AT_QUANTILE = "quantile"


@dataclass(frozen=True)
class ConceptDictionary:
    """Labels of every latent and the example sequences shown for them.

    ``table``: one row per latent (latent, name, about, label, labeler, attribute, value,
    predicate_site, threshold, fire_rate); names differ, what they are about need not. ``examples``:
    one row per example (latent, kind, quantile, case, user, items, top_item, activation), items as
    internal ids, oldest first.
    """

    table: pd.DataFrame
    examples: pd.DataFrame

    def save(self, folder: str | Path) -> None:
        """Write ``concepts.parquet`` and ``examples.parquet``."""
        write_parquet(Path(folder) / layout.CONCEPTS, self.table)
        write_parquet(Path(folder) / layout.EXAMPLES, self.examples)

    @classmethod
    def load(cls, folder: str | Path) -> ConceptDictionary:
        """Read what ``save`` wrote: the concepts as they were tested.

        The names that people gave are put on by :func:`recsae.concepts.corrections.corrected`.
        """
        files = (Path(folder) / name for name in (layout.CONCEPTS, layout.EXAMPLES))
        return cls(*map(read_parquet, files))

    def find(self, concept: str, among: NDArray[np.int64] | None = None) -> list[int]:
        """Latents of a concept given by its name, or by the number of its latent.

        A name stands for every latent that carries it, restricted to ``among`` (e.g. those that
        passed the test) where any of them is in there.

        Raises
        ------
        InvalidInput
            Unknown; the message names the nearest.
        """
        text = concept.strip()
        if text.isdecimal():
            if int(text) >= len(self.table):
                raise InvalidInput(
                    f"There is no latent {text}: latents are numbered 0 to {len(self.table) - 1}."
                )
            return [int(text)]
        latents = self.named(text, among)
        if not latents:
            hint = nearest(text, self.names())
            raise InvalidInput(f"No concept is named {concept!r}.{hint}")
        return latents

    def named(self, name: str, among: NDArray[np.int64] | None = None) -> list[int]:
        """Latents that carry a name (which may look like a number), as in :meth:`find`.

        Names tell latents apart that are about the same; what they are about names them all.

        What people named or merged counts as it stands, tested or not.
        """
        names, about = self._folded
        rows = self.table[(names == name.casefold()) | (about == name.casefold())]
        if among is not None:
            said = rows.get(C.CORRECTION, pd.Series("", rows.index)).fillna("") != ""
            rows = rows[rows[C.LATENT].isin(among) | said] if len(rows) else rows
        latents: list[int] = rows[C.LATENT].tolist()
        if latents or among is None:
            return latents
        return self.named(name)

    @cached_property
    def _folded(self) -> tuple[pd.Series, pd.Series]:
        """Names, and what concepts are about, as they are looked up."""
        return self.table[C.NAME].str.casefold(), self.table[C.ABOUT].str.casefold()

    def names(self) -> list[str]:
        """All that :meth:`named` finds something by."""
        return list(dict.fromkeys([*self.table[C.ABOUT], *self.table[C.NAME]]))

    def values_said(self) -> list[tuple[str, str]]:
        """Every different (attribute, value) that a label speaks of."""
        pairs = [part[:2] for part in C.PARTS]
        rows = [row for pair in pairs for row in self.table[[*pair]].itertuples(index=False)]
        return [(str(a), str(v)) for a, v in dict.fromkeys(map(tuple, rows)) if pd.notna(a)]

    def search(self, text: str) -> pd.DataFrame:
        """Rows whose name or label contains the text, whatever the case."""
        hit = self.table[C.NAME].str.contains(text, case=False, regex=False)
        return self.table[hit | self.table[C.LABEL].str.contains(text, case=False, regex=False)]


def build_concepts(
    code: scipy.sparse.csr_matrix,
    cases: Cases,
    labeler: Labeler,
    asked: Sequence[Predicate] = (),
) -> ConceptDictionary:
    """Label every unit of a sparse code and collect its examples.

    Parameters
    ----------
    code
        ``(n, n_latents)`` activations of the cases; any sparse code, so baselines go through here
        as well.
    cases
        Of construction users only.
    asked
        Statements that the first units are gates for.

    Raises
    ------
    NotEnoughData
        There is no case, or no unit is ever active.
    """
    if code.shape[0] != len(cases) or code.nnz == 0:
        raise NotEnoughData(
            f"{code.nnz} activations on {len(cases)} cases: nothing to build concepts from."
        )
    from recsae.concepts.labeler import labels_by

    table = labels_by(labeler, code, cases, asked)
    table.insert(2, C.ABOUT, table[C.NAME])
    table[C.NAME] = told_apart(table)
    fired = np.bincount(code.indices, minlength=code.shape[1])
    table[C.FIRE_RATE] = fired / len(cases)
    return ConceptDictionary(table, _examples(code, cases))


def _examples(code: scipy.sparse.csr_matrix, cases: Cases) -> pd.DataFrame:
    """Top examples (of different users) and examples at quantiles of the activation."""
    row = np.repeat(np.arange(code.shape[0]), np.diff(code.indptr))
    latent, value = code.indices.astype(np.int64), code.data
    order = np.lexsort((row, -value, latent))
    latent, row, value = latent[order], row[order], value[order]
    top = first_of_users(latent, row, cases, N_TOP_EXAMPLES)
    n_active = np.bincount(latent, minlength=code.shape[1])
    start = np.cumsum(n_active) - n_active
    alive = np.flatnonzero(n_active)
    picks = [(TOP, np.full(len(top), np.nan), top)]
    for q in QUANTILES:
        at = start[alive] + ((1 - q) * (n_active[alive] - 1)).round().astype(np.int64)
        picks.append((AT_QUANTILE, np.full(len(at), q), at))
    index = np.concatenate([p[2] for p in picks])
    chosen = row[index]
    return pd.DataFrame(
        {
            C.LATENT: latent[index],
            C.KIND: np.repeat([p[0] for p in picks], [len(p[2]) for p in picks]),
            C.QUANTILE: np.concatenate([p[1] for p in picks]),
            C.CASE: chosen,
            C.USER: cases.sequences.users[cases.sequence[chosen]],
            C.ITEMS: [cases.history(r) for r in chosen],
            C.TOP_ITEM: cases.top_items[chosen, 0].astype(np.int64),
            C.ACTIVATION: value[index].astype(np.float64),
        }
    ).sort_values([C.LATENT, C.KIND, C.ACTIVATION], ascending=[True, False, False])


def first_of_users(
    latent: NDArray[np.int64], case: NDArray[np.int64], cases: Cases, limit: int
) -> NDArray[np.int64]:
    """Places of each latent's first cases, up to a limit, that are of different users.

    ``latent`` and ``case (n,)`` are pairs with those of a latent together.
    """
    first = np.unique(latent * cases.n_users + cases.user[case], return_index=True)[1]
    first.sort()
    return first[rank_within(latent[first]) < limit]


def rank_within(sorted_groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, 2, ... within each run of equal values.

    >>> rank_within(np.array([4, 4, 7])).tolist()
    [0, 1, 0]
    """
    if not len(sorted_groups):
        return sorted_groups
    starts = np.r_[True, sorted_groups[1:] != sorted_groups[:-1]]
    first = np.maximum.accumulate(np.where(starts, np.arange(len(sorted_groups)), 0))
    return np.arange(len(sorted_groups)) - first  # type: ignore[no-any-return]


def item_effects(
    directions: torch.Tensor, head: LinearHead, catalog: ItemCatalog
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """Items that one unit of each latent promotes and demotes most, and by how much.

    Weights are relative to the mean over items: adding the same to every score changes no list.
    Four arrays ``(n_latents, 5)``: promoted items, their weights, demoted items, their weights.
    """
    import torch

    real = torch.from_numpy(np.flatnonzero(catalog.recommendable))
    table = head.items[real]
    table = table - table.mean(0)
    up_items, up, down_items, down = [], [], [], []
    for part in directions.split(max(1, 2**26 // len(real))):
        weights = part @ table.T
        best = weights.topk(min(N_EFFECT_ITEMS, len(real)), dim=1)
        worst = weights.topk(min(N_EFFECT_ITEMS, len(real)), dim=1, largest=False)
        up_items.append(real[best.indices])
        up.append(best.values)
        down_items.append(real[worst.indices])
        down.append(worst.values)
    both = (torch.cat(x).numpy() for x in (up_items, up, down_items, down))
    return tuple(both)  # type: ignore[return-value]
