"""The search for the few items that a latent follows: "the last item is one of these".

Most latents of a wide dictionary are active after one to a few items, which no attribute says. For
every latent and view, up to ten items are chosen one after another on the search half of the
construction users; how many of them stay, and of which view, is decided on the confirm half.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse

from recsae.concepts.attributes.table import items_in
from recsae.concepts.attributes.values import own_columns
from recsae.concepts.predicates import f1_of

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

    def cases_with(self, item: int) -> NDArray[np.int32]:
        """The cases that have an item in the view."""
        start, stop = self.rows.indptr[item : item + 2]
        cases: NDArray[np.int32] = self.rows.indices[start:stop]
        return cases


class BestSet(NamedTuple):
    """The best item set of a latent, and its F1 on the confirm half."""

    of: ItemSet | None
    f1: float


def best_set(
    search: dict[str, ViewItems],
    confirm: dict[str, ViewItems],
    active: tuple[NDArray[np.int32], NDArray[np.int32]],
) -> BestSet:
    """The set of items, and the view, by which a latent is told best.

    Parameters
    ----------
    search, confirm
        The items of both halves by view.
    active
        The cases of both halves where the latent is active.
    """
    best = BestSet(None, 0.0)
    for view, of_search in search.items():
        items = _greedy(of_search, active[0])
        if not items:
            continue
        f1 = _confirmed(confirm[view], items, active[1])
        size = 1
        for more in range(2, len(items) + 1):
            if f1[more - 1] > GAIN ** (more - size) * f1[size - 1]:
                size = more
        if f1[size - 1] > best.f1 + 1e-9:
            best = BestSet(ItemSet(view, tuple(items[:size])), float(f1[size - 1]))
    return best


def _greedy(view: ViewItems, active: NDArray[np.int32]) -> list[int]:
    """Up to ten items, each the one with which the F1 of the set, by shrunk rates, is highest."""
    n, n_active = len(view.items), len(active)
    items, hits = np.unique(view.items[active], return_counts=True)
    usable = (hits >= MIN_ITEM_CASES) & (items > 0)
    items, hits = items[usable], hits[usable]
    with_item = np.diff(view.rows.indptr)[items]
    rate = (hits + PRIOR_CASES * n_active / max(n, 1)) / (with_item + PRIOR_CASES)
    expected = np.minimum(rate * with_item, hits)
    chosen: list[int] = []
    both, predicted, open_ = 0.0, 0.0, np.ones(len(items), dtype=bool)
    while open_.any() and len(chosen) < MAX_SET_ITEMS:
        f1 = np.where(open_, f1_of(both + expected, predicted + with_item, n_active), -1.0)
        best = int(f1.argmax())
        if chosen and f1[best] <= f1_of(both, predicted, n_active):
            break
        both, predicted = both + expected[best], predicted + with_item[best]
        open_[best] = False
        chosen.append(int(items[best]))
    return chosen


def _confirmed(view: ViewItems, items: list[int], active: NDArray[np.int32]) -> NDArray[np.float64]:
    """The F1 ``(len(items),)`` of the first item, the first two, ... on other users."""
    first = np.full(len(view.items), len(items))  # the place of the first item that a case has
    for place in range(len(items) - 1, -1, -1):
        first[view.cases_with(items[place])] = place
    predicted = np.bincount(first, minlength=len(items) + 1)[:-1].cumsum()
    both = np.bincount(first[active], minlength=len(items) + 1)[:-1].cumsum()
    return f1_of(both, predicted, len(active))
