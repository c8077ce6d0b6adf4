"""What attributes, their values and the views of a case are called. Nothing is imported here."""

from __future__ import annotations

BY_ATTRIBUTES = "attributes"
"""The labeler whose labels are statements on attributes."""
POPULARITY = "popularity"
TERM = "title term"
ITEM_ITSELF = "item"
PERIOD = "typical place"
DECADE = "decade"
ERA = "before decade"
LENGTH = "length"
REPEAT = "repetition"
FANS = "fans of"
BANDS = {
    "most popular": "among the most popular",
    "popular": "fairly popular",
    "less popular": "less popular",
    "niche": "niche",
}
"""Popularity bands, quarters of all interactions, and how a person says them."""
HALF = "popularity half"
UPPER = "more popular"
PERIODS = {
    "first": "usually consumed among the first",
    "early": "usually consumed in the second quarter",
    "late": "usually consumed in the third quarter",
    "last": "usually consumed among the last",
}
"""Where in their histories people consume an item, by quarters, and how a person says it."""
DERIVED = (POPULARITY, HALF, PERIOD, REPEAT, LENGTH)
"""Attributes of items and histories that need no column of the catalog."""
BEFORE = "consumed before"
CUTS = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 32, 40, 50, 70, 100, 150, 200, 300, 500)
"""Lengths that a history can be at most, or more than: a ruler fine enough that no count of
something frequent stands in for the length."""
AT_MOST = "at most"
MORE_THAN = "more than"
LENGTHS = {f"{AT_MOST} {n} item{'s' * (n > 1)}": n for n in CUTS}
SHARED = " ∷ "
"""Between what the items of a group share and those that it is named after."""
MOSTLY = " ∷∷ "
"""Before what most of its people are, as ``occupation=student``."""
SEPARATOR = " | "
"""Between the external ids of items that stand together for a value."""
SHARE = "share50"
OF_SHARE = "last50"
"""The view that shares are of."""
VIEWS: dict[str, tuple[int, ...]] = {
    "last": (1,),
    "last5": (1, 2, 3, 4, 5),
    "last20": (1, 2, 3, 4, 5, 6, 8, 10, 12, 15),
    "last50": (1, 2, 3, 4, 6, 8, 11, 15, 20, 30),
    "top1": (1,),
    "top10": (1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
    SHARE: (10, 20, 30, 40, 50, 60, 70, 80, 90, 100),
    "history": (1,),
}
"""The views of a case and the thresholds of each, numbers of items that have a value; of ``SHARE``
per cent of the last 50 items, or of as many as there are.

About ten thresholds are enough: where a view has more items, numbers are skipped.
"""
VIEW_SIZES = {"last": 1, "last5": 5, "last20": 20, "last50": 50, "top1": 1, "top10": 10, SHARE: 100}
"""The highest count of each view; the history itself has none."""
