"""What each latent is active on: items that tell its activity, and cases drawn from all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse

from recsae.concepts.dictionary import first_of_users, rank_within
from recsae.concepts.item_sets import SET_VIEWS, ViewItems
from recsae.concepts.predicates import f1_of
from recsae.core import columns as C

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases

N_ITEMS = 5
"""Items at most that are kept of each latent and view."""
N_DRAWN = 5
"""Active cases at most that are drawn of each latent."""
LATENTS_AT_ONCE = 256
"""Latents counted in one go: bounds the table of pairs of a latent and an item."""


class Drawn(NamedTuple):
    """Active cases, those of a latent together and in the order in which they were drawn."""

    latent: NDArray[np.int64]
    case: NDArray[np.int64]
    activation: NDArray[np.float64]


def active_items(code: scipy.sparse.csr_matrix, cases: Cases) -> pd.DataFrame:
    """The items that tell best, of each view, where each latent is active.

    Only items with which a latent is active more often than it is altogether, best F1 of "the item
    is in the view" first. The rate alone would put an item that was seen once before one that
    makes up half of the activity, and the number of active cases alone would put what is popular
    everywhere before both; labels are chosen and verified in the same currency.

    Parameters
    ----------
    code
        ``(n, n_latents)`` activations of the cases, zeros not stored.

    Returns
    -------
    DataFrame
        Up to five rows per latent and view (latent, view, item_id, title, n_active cases with the
        item in the view, n_cases with it, rate of active ones among these).
    """
    ones = np.ones(code.nnz, dtype=np.int32)
    by_latent = scipy.sparse.csr_matrix((ones, code.indices, code.indptr), code.shape).T.tocsr()
    parts = []
    for view in SET_VIEWS:
        there = ViewItems.of(cases, view).rows.astype(np.int32)
        there.data[:] = 1  # an item that is there twice counts once
        parts += [
            _told_best(by_latent, there.tocsr(), first).assign(view=view)
            for first in range(0, code.shape[1], LATENTS_AT_ONCE)
        ]
    table = pd.concat(parts, ignore_index=True).sort_values(
        C.LATENT, kind="stable", ignore_index=True
    )
    item, catalog = table.pop("item"), cases.catalog
    table.insert(1, "view", table.pop("view"))
    table.insert(2, C.ITEM, pd.Series([catalog.external_ids[i] for i in item], dtype=object))
    table.insert(3, C.TITLE, pd.Series([catalog.titles[i] for i in item], dtype=object))
    return table


def _told_best(
    by_latent: scipy.sparse.csr_matrix, there: scipy.sparse.csr_matrix, first: int
) -> pd.DataFrame:
    """The best items for the latents from ``first`` on; ``there (n, n_items)`` has ones."""
    m, n = by_latent.shape
    some = by_latent[first : min(first + LATENTS_AT_ONCE, m)]
    pairs = (some @ there).tocoo()
    with_item = np.bincount(there.indices, minlength=there.shape[1])
    n_active, n_cases = np.diff(some.indptr)[pairs.row], with_item[pairs.col]
    rate = pairs.data / n_cases
    usable = (pairs.col > 0) & (rate * n > n_active)
    latent, item, both = pairs.row[usable], pairs.col[usable], pairs.data[usable]
    n_active, n_cases, rate = n_active[usable], n_cases[usable], rate[usable]
    order = np.lexsort((item, -f1_of(both, n_cases, n_active), latent))
    order = order[rank_within(latent[order]) < N_ITEMS]
    return pd.DataFrame(
        {
            C.LATENT: (latent[order] + first).astype(np.int64),
            "item": item[order],
            "n_active": both[order].astype(np.int64),
            "n_cases": n_cases[order].astype(np.int64),
            "rate": rate[order],
        }
    )


def drawn_cases(code: scipy.sparse.csr_matrix, cases: Cases) -> Drawn:
    """Up to five cases of each latent, of different users, drawn from all where it is active."""
    case = np.repeat(np.arange(code.shape[0]), np.diff(code.indptr))
    latent = code.indices.astype(np.int64)
    order = np.lexsort((np.random.default_rng(0).random(len(case)), latent))
    latent, case = latent[order], case[order]
    kept = first_of_users(latent, case, cases, N_DRAWN)
    return Drawn(latent[kept], case[kept], code.data[order[kept]].astype(np.float64))
