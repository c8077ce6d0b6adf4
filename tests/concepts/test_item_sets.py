"""Sets of items that a latent follows: what is searched among, what is kept, what it is called."""

import numpy as np
import scipy.sparse

from helpers.toy import cases
from recsae.concepts.attributes.table import ItemAttributes
from recsae.concepts.item_sets import (
    SET_VIEWS,
    ItemSet,
    ViewItems,
    best_sets,
    theme_of,
)
from recsae.recommender.catalog import build_catalog

TEN = build_catalog([str(i) for i in range(10)], None)


def test_views_leave_the_cases_and_each_other_as_they_are():
    held = cases([0, 1], [[5, 1, 3, 1], [4, 2]], [[8, 2], [7, 3]])
    last, top = held.last_items.copy(), held.top_items.copy()
    views = {view: ViewItems.of(held, view) for view in SET_VIEWS}
    assert (held.last_items == last).all()
    assert (held.top_items == top).all()
    assert views["last"].items.tolist() == [[5], [4]]
    assert views["last5"].items.tolist() == last.tolist()
    for of_view in views.values():
        for case, items in enumerate(of_view.items):
            there = set(np.flatnonzero(of_view.rows[[case]].toarray()))
            assert there == set(np.unique(items))


def views_of(last: list[int], users: list[int]) -> dict[str, ViewItems]:
    held = cases(users, [[item] for item in last], [[9]] * len(last), items=TEN)
    return {"last": ViewItems.of(held, "last")}


def active_on(rows, n):
    column = np.zeros((n, 1))
    column[list(rows)] = 1
    return scipy.sparse.csc_matrix(column)


def test_the_set_is_cut_where_other_users_no_longer_gain():
    """In the search half items 1, 2 and 3 are always active; of other users only 1 and 2 are."""
    last = [1] * 6 + [2] * 5 + [3] * 4 + [4] * 20
    users = list(range(len(last)))
    search, confirm = views_of(last, users), views_of(last, users)
    best = best_sets(search, confirm, (active_on(range(15), 35), active_on(range(11), 35)))
    assert best.of == [ItemSet("last", (1, 2))]
    assert best.f1 == [1]


def test_rates_of_rare_items_are_shrunk():
    """Three of three says less than thirty of thirty-one: the frequent item comes first."""
    last = [1] * 3 + [2] * 31 + [3] * 60
    active = active_on(range(33), len(last))
    views = views_of(last, list(range(len(last))))
    assert best_sets(views, views, (active, active)).of[0].items == (2, 1)


def test_items_with_too_few_active_cases_make_no_set():
    views = views_of([1, 1, 2, 2, 3, 3], list(range(6)))
    active = active_on([0, 1], 6)
    assert best_sets(views, views, (active, active)).of == [None]
    nothing = active_on([], 6)
    found = best_sets(views, views, (nothing, nothing))
    assert found.of == [None]
    assert found.f1 == [0]


def test_what_nine_of_ten_have_and_few_others_is_the_theme():
    names = (("genre", "Drama"), ("genre", "Horror"), ("decade", "1930s"), ("title term", "x"))
    has = np.zeros((31, 4), dtype=np.int8)
    has[1:25, 0] = 1  # most items: no theme
    has[1:9, 1] = 1
    has[1:4, 2] = 1  # the rarest that all of three have
    has[1:4, 3] = 1  # not the items' own
    attributes = ItemAttributes(scipy.sparse.csr_matrix(has), names)
    assert theme_of([1, 2, 3], attributes) == ("decade", "1930s")
    assert theme_of([1, 2, 3, 4], attributes) == ("genre", "Horror")
    assert theme_of([1, 2], attributes) is None  # two items are named themselves
    assert theme_of([1, 2, 3, 20], attributes) is None
    assert theme_of([10, 11, 12], attributes) is None
    bare = ItemAttributes(scipy.sparse.csr_matrix(has[:, 3:]), names[3:])
    assert theme_of([1, 2, 3], bare) is None
