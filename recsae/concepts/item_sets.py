"""The search for the few items that a latent follows: "the last item is one of these".

Most latents of a wide dictionary are active after one to a few items, which no attribute says. For
every latent and view, up to ten items are chosen one after another on the search half of the
construction users; how many of them stay, and of which view, is decided on the confirm half.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numba
import numpy as np
import scipy.sparse

from recsae.concepts.attributes.table import items_in
from recsae.concepts.attributes.values import own_columns
from recsae.concepts.search_loops import f1_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.concepts.attributes.table import ItemAttributes

SET_VIEWS = ("last", "last5", "top1")
"""Views of which an item set can speak."""
MAX_SET_ITEMS = 10
"""Items of a set at most: more are no list that a person reads."""
MIN_ITEM_CASES = 3
"""Active cases of the search half that an item needs to be in a set."""
PRIOR_CASES = 4.0
"""An item's rate of active cases is shrunk towards the latent's by as many cases of that rate: of
an item that was seen twice, two hits say little."""
MIN_THEME_ITEMS = 3
"""A set of fewer items is called after them."""
THEME_SHARE = 0.9
"""The share of a set's items that must have a value for the set to be called after it."""
MAX_THEME = 1 / 3
"""A value that more of all items have tells a set from nothing."""
GAIN = 1.005
"""Each further item must multiply the F1 of the confirm half by so much."""


class ItemSet(NamedTuple):
    """Items one of which is in a view of a case."""

    view: str
    items: tuple[int, ...]
    """Internal ids; the best one first."""


def theme_of(items: Sequence[int], attributes: ItemAttributes) -> tuple[str, str] | None:
    """The attribute value that tells best what the items of a set have in common, if one does.

    At least three items, nine of ten of which have the value, which at most a third of all items
    have; of several the rarest.
    """
    own = own_columns(attributes)
    if len(items) < MIN_THEME_ITEMS or not own:
        return None
    of_all = np.asarray(attributes.matrix[:, own].mean(0)).ravel()
    share = np.asarray(attributes.matrix[list(items)][:, own].mean(0)).ravel()
    common = (share >= THEME_SHARE) & (of_all <= MAX_THEME)
    if not common.any():
        return None
    best = int(np.where(common, of_all, np.inf).argmin())
    return attributes.names[own[best]]


class ViewItems(NamedTuple):
    """The items in a view of n cases, by case and by item."""

    items: NDArray[np.int32]
    """``(n, k)``, 0 where there are fewer."""
    rows: scipy.sparse.csc_matrix
    """``(n, n_items)`` ones where an item is in the view."""

    @classmethod
    def of(cls, cases: Cases, view: str) -> ViewItems:
        """The items in one of :data:`SET_VIEWS`."""
        items = items_in(cases, view)
        (n, k), n_items = items.shape, cases.catalog.n_items
        ones = np.ones(items.size, dtype=np.int8)
        bounds = np.arange(n + 1, dtype=np.int64) * k
        table = scipy.sparse.csr_matrix((ones, items.flatten(), bounds), (n, n_items))
        table.sum_duplicates()  # in place: of a copy
        return cls(items, table.tocsc())


class BestSets(NamedTuple):
    """The best item set of each of m latents, and its F1 on the confirm half."""

    of: list[ItemSet | None]
    f1: NDArray[np.float64]


def best_sets(
    search: dict[str, ViewItems],
    confirm: dict[str, ViewItems],
    active: tuple[scipy.sparse.csc_matrix, ...],
) -> BestSets:
    """The set of items, and the view, by which each latent is told best.

    Parameters
    ----------
    search, confirm
        The items of both halves by view.
    active
        ``(n, m)`` of both halves: what is stored is active.
    """
    of_search, of_confirm = ((half.indptr, half.indices) for half in active)
    m = active[0].shape[1]
    best: list[ItemSet | None] = [None] * m
    highest = np.zeros(m)
    for view, found in search.items():
        chosen = np.zeros((m, MAX_SET_ITEMS), dtype=np.int64)
        with_item = np.diff(found.rows.indptr).astype(np.int64)
        _greedy(found.items, with_item, *of_search, MIN_ITEM_CASES, PRIOR_CASES, chosen)
        size, f1, rows = np.zeros(m, dtype=np.int64), np.zeros(m), confirm[view].rows
        n = rows.shape[0]
        _confirm(rows.indptr, rows.indices, n, *of_confirm, chosen, GAIN, size, f1)
        for j in np.flatnonzero(f1 > highest + 1e-9).tolist():
            best[j] = ItemSet(view, tuple(chosen[j, : size[j]].tolist()))
            highest[j] = f1[j]
    return BestSets(best, highest)


@numba.njit(cache=True, nogil=True)
def _greedy(
    items: Any,
    with_item: Any,
    active_starts: Any,
    active: Any,
    least: int,
    prior: float,
    chosen: Any,
) -> None:
    """For each latent the items, one after another, with which the F1 of their set is highest.

    Parameters
    ----------
    items
        ``(n, k)`` items in a view of each case, 0 for none.
    with_item
        ``(n_items,)`` how many cases have each in the view.
    least
        Active cases that an item needs.
    prior
        So many cases at the latent's rate of activity are added to those of each item.
    chosen
        ``(m, limit)``, filled; 0 behind the last.
    """
    (n, k), n_items = items.shape, len(with_item)
    hits, touched = np.zeros(n_items, dtype=np.int64), np.empty(n_items, dtype=np.int64)
    expected = np.empty(n_items)
    for j in range(len(chosen)):
        rows = active[active_starts[j] : active_starts[j + 1]]
        n_touched = 0
        for i in range(len(rows)):
            for slot in range(k):
                item = items[rows[i], slot]
                if item > 0 and hits[item] == 0:
                    touched[n_touched] = item
                    n_touched += 1
                hits[item] += 1
        rate = len(rows) / max(n, 1)
        usable = 0
        for i in range(n_touched):
            item = touched[i]
            if hits[item] >= least:
                shrunk = (hits[item] + prior * rate) / (with_item[item] + prior)
                expected[item] = min(shrunk * with_item[item], hits[item])
                touched[usable], touched[i] = item, touched[usable]
                usable += 1
        both, predicted = 0.0, 0.0
        for place in range(chosen.shape[1]):
            highest, where = -1.0, -1
            for i in range(usable):
                item = touched[i]
                f1 = f1_at(both + expected[item], predicted + with_item[item], len(rows))
                if f1 > highest or (f1 == highest and item < touched[where]):
                    highest, where = f1, i
            if where < 0 or (place > 0 and highest <= f1_at(both, predicted, len(rows))):
                break
            item = touched[where]
            both += expected[item]
            predicted += with_item[item]
            chosen[j, place] = item
            usable -= 1
            touched[where], touched[usable] = touched[usable], item
        hits[0] = 0
        for i in range(n_touched):
            hits[touched[i]] = 0


@numba.njit(cache=True, nogil=True)
def _confirm(
    by: Any, cases: Any, n: int, active_starts: Any, active: Any, chosen: Any, gain: float,
    size: Any, f1: Any,
) -> None:  # fmt: skip
    """How many of the first items of each set stay, judged on other users, and their F1 there.

    Parameters
    ----------
    by, cases
        The cases that have each item in the view, by item.
    chosen
        ``(m, limit)`` items, 0 behind the last.
    gain
        Each further item must multiply the F1 by so much.
    size, f1
        ``(m,)``, filled; 0 for an empty set.
    """
    limit = chosen.shape[1]
    place_of = np.full(n, limit, dtype=np.int64)  # the first item of the set that a case has
    predicted, both = np.empty(limit), np.empty(limit)
    for j in range(len(chosen)):
        rows = active[active_starts[j] : active_starts[j + 1]]
        predicted[:], both[:] = 0, 0
        for place in range(limit):
            item = chosen[j, place]
            if item == 0:
                break
            for i in range(by[item], by[item + 1]):
                if place_of[cases[i]] == limit:
                    place_of[cases[i]] = place
                    predicted[place] += 1
        for i in range(len(rows)):
            if place_of[rows[i]] < limit:
                both[place_of[rows[i]]] += 1
        said, right, kept, best = 0.0, 0.0, 0, 0.0
        for place in range(limit):
            item = chosen[j, place]
            if item == 0:
                break
            said += predicted[place]
            right += both[place]
            value = f1_at(right, said, len(rows))
            if kept == 0 or value > gain ** (place + 1 - kept) * best:
                kept, best = place + 1, value
            for i in range(by[item], by[item + 1]):
                place_of[cases[i]] = limit
        size[j], f1[j] = kept, best
