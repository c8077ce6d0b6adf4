"""The items in the views of cases that sets of items are searched among."""

import numpy as np

from helpers.toy import cases
from recsae.concepts.item_sets import SET_VIEWS, ViewItems


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
            there = {item for item in range(9) if case in of_view.cases_with(item)}
            assert there == set(np.unique(items))
