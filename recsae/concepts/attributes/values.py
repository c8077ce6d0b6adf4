"""The attribute values of items that labels are made of, chosen on construction cases."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse

from recsae.concepts.attributes.communities import communities, shared_values, value_of
from recsae.concepts.attributes.names import (
    BANDS,
    BEFORE,
    DECADE,
    DERIVED,
    ERA,
    FANS,
    HALF,
    ITEM_ITSELF,
    LENGTH,
    LENGTHS,
    PERIOD,
    PERIODS,
    POPULARITY,
    REPEAT,
    TERM,
    UPPER,
)
from recsae.concepts.attributes.people import People
from recsae.concepts.attributes.table import ItemAttributes

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.recommender.catalog import ItemCatalog

    Has = tuple[str, str, NDArray[np.bool_]]
    """Attribute, value, and which items have it ``(n_items,)``."""

MAX_VALUES = 300
"""Values of one attribute at most, the most frequent ones: bounds the search for labels."""
MIN_ITEMS = 3
"""A value of fewer items stands for single items."""
MIN_EFFECTIVE = 6
"""So does one that is mostly consumed in fewer: items as effective numbers, ``(sum w)^2 / sum w^2``
for how often each is consumed, or a hundredth of the items of a small catalog."""
MIN_SHARE = 0.002
"""Share of interactions at least: of rarer values too few cases could be tested."""
MAX_SHARE = 0.95
"""Share of interactions below which a value says anything."""
MAX_TERMS = 300
"""Title terms at most, those with most TF-IDF: bounds the search for labels."""
MAX_ITEMS_THEMSELVES = 500
"""Items at most that stand for themselves where nothing else is known of them."""


def own_columns(attributes: ItemAttributes) -> list[int]:
    """The values that are the items' own: not popularity, title words, communities and the like."""
    others = (*DERIVED, TERM, FANS, ITEM_ITSELF)
    return [column for column, (name, _) in enumerate(attributes.names) if name not in others]


def item_attributes(
    catalog: ItemCatalog, cases: Cases, users: pd.DataFrame | None = None
) -> ItemAttributes:
    """Attribute values that are frequent enough to be tested, chosen on construction cases.

    A value is kept if enough different items and 0.2 % of the cases' last items have it: "by John
    Lasseter" of three films would be a name for these. The 300 most frequent per attribute; of
    decades also all before one. Popularity bands, and how early in their histories people consume
    an item, are quarters of all interactions; title terms are words and pairs of words in titles,
    the 300 with most TF-IDF; communities are items of the same
    people (:mod:`recsae.concepts.attributes.communities`), said also by what ``users``, a
    :meth:`Recommender.user_table`, says of most of these; where a catalog has neither titles nor
    attributes, items also stand for themselves. Repetition and length say something of the history.
    """
    weight = np.bincount(cases.last_items[:, 0], minlength=catalog.n_items).astype(float)
    weight[~catalog.recommendable] = 0
    own, of_titles = list(_of_catalog(catalog, weight)), _of_titles(catalog, weight)
    fans = _fans(cases, weight, own, People.of(cases, users))
    names, items = [], []
    for attribute, value, has in chain(own, _derived(cases, weight), fans, of_titles):
        names.append((attribute, value))
        items.append(np.flatnonzero(has & catalog.recommendable))
    bounds = np.cumsum([0, *map(len, items)])
    ones = np.ones(bounds[-1], dtype=np.int8)
    shape = (catalog.n_items, len(names))
    matrix = scipy.sparse.csc_matrix((ones, np.concatenate(items), bounds), shape).tocsr()
    return ItemAttributes(matrix, tuple(names))


def _of_catalog(catalog: ItemCatalog, weight: NDArray[np.float64]) -> Iterator[Has]:
    for attribute in catalog.attributes:
        cells = list(catalog.frame[attribute])
        for value, has in _values(cells, weight, MAX_VALUES):
            yield attribute, value, has
        if attribute == DECADE:
            for value, has in _eras(cells, weight):
                yield ERA, value, has


def _derived(cases: Cases, weight: NDArray[np.float64]) -> Iterator[Has]:
    bands = _quarters(-weight, weight)
    for band, has in zip(BANDS, bands, strict=True):
        yield POPULARITY, band, has
    yield HALF, UPPER, bands[0] | bands[1]
    for period, has in zip(PERIODS, _quarters(_places(cases), weight), strict=True):
        yield PERIOD, period, has
    nothing = np.zeros(len(weight), dtype=bool)  # these are attributes of histories, not of items
    yield REPEAT, BEFORE, nothing
    for length in LENGTHS:
        yield LENGTH, length, nothing


def _fans(
    cases: Cases, weight: NDArray[np.float64], own: list[Has], people: People | None
) -> Iterator[Has]:
    """Communities, with what their items share, and their people: "1980s Horror", "students"."""
    words, seen = [has for has in own if has[0] != ERA], set()
    groups = communities(cases, weight)
    for items in groups:
        shared = [words[place] for place in shared_values(items, words, weight)]
        shared.sort(key=lambda one: one[0] != DECADE)
        said = [(value, has) for _, value, has in shared]
        alike = np.all([has for _, has in said], 0) if said else None
        mostly = people.value_of(items, alike, len(groups)) if people else None
        value = value_of(items, said, cases.catalog.external_ids, mostly)
        if value not in seen:
            seen.add(value)
            yield FANS, value, np.isin(np.arange(len(weight)), items)


def _of_titles(catalog: ItemCatalog, weight: NDArray[np.float64]) -> Iterator[Has]:
    if catalog.title_column is not None:
        for value, has in _terms(catalog, weight):
            yield TERM, value, has
    elif not catalog.attributes:
        for item in np.argsort(-weight, kind="stable")[:MAX_ITEMS_THEMSELVES]:
            if weight[item] > 0:
                yield ITEM_ITSELF, catalog.external_ids[item], np.arange(len(weight)) == item


def _values(
    cells: list[tuple[str, ...]], weight: NDArray[np.float64], limit: int
) -> list[tuple[str, NDArray[np.bool_]]]:
    items_of: dict[str, list[int]] = {}
    for item, values in enumerate(cells):
        for value in values:
            items_of.setdefault(value, []).append(item)
    shares = {v: weight[i].sum() / max(weight.sum(), 1) for v, i in items_of.items()}
    kept = [
        v
        for v, i in items_of.items()
        if len(i) >= MIN_ITEMS
        and MIN_SHARE <= shares[v] < MAX_SHARE
        and _are_many(weight[i], len(cells))
    ]
    kept = sorted(sorted(kept, key=lambda v: (-shares[v], v))[:limit])
    return [(v, np.isin(np.arange(len(cells)), items_of[v])) for v in kept]


def _are_many(weight: NDArray[np.float64], n_items: int) -> bool:
    """Whether items that are consumed so often count as enough different ones.

    >>> _are_many(np.ones(6), 10_000), _are_many(np.array([20.0, 1, 1, 1, 1, 1]), 500)
    (True, False)
    """
    effective = weight.sum() ** 2 / max(np.square(weight).sum(), 1e-12)
    return bool(effective >= min(MIN_EFFECTIVE, n_items / 100))


def _eras(
    cells: list[tuple[str, ...]], weight: NDArray[np.float64]
) -> list[tuple[str, NDArray[np.bool_]]]:
    """All decades before one, for each that divides what was consumed."""
    decades = sorted({value for values in cells for value in values})
    found = []
    for decade in decades[2:]:  # before the second is the first decade itself
        has = np.array([any(value < decade for value in values) for values in cells])
        if MIN_SHARE <= weight[has].sum() / max(weight.sum(), 1) < MAX_SHARE:
            found.append((decade, has))
    return found


def _quarters(value: NDArray[np.float64], weight: NDArray[np.float64]) -> list[NDArray[np.bool_]]:
    """Items in ascending order of a value, cut into quarters of all interactions."""
    order = np.argsort(value, kind="stable")
    reached = np.empty(len(weight))
    cumulative = np.cumsum(weight[order])
    reached[order] = (cumulative - weight[order]) / max(cumulative[-1], 1)
    quarter = np.minimum((reached * 4).astype(int), 3)
    return [quarter == q for q in range(4)]


def _places(cases: Cases) -> NDArray[np.float64]:
    """``(n_items,)`` mean logarithm of an item's place in histories; infinite where it has none."""
    sequences = cases.sequences
    users = np.unique(cases.sequence)
    _, within, items = sequences.first_items(users, sequences.lengths[users] - 1)  # not the test's
    n_items = cases.catalog.n_items
    number = np.bincount(items, minlength=n_items)
    total = np.bincount(items, np.log1p(within), minlength=n_items)
    return np.where(number > 0, total / np.maximum(number, 1), np.inf)


def _terms(
    catalog: ItemCatalog, weight: NDArray[np.float64]
) -> list[tuple[str, NDArray[np.bool_]]]:
    """Words and pairs of words of titles, lower case, with most TF-IDF over what was consumed.

    No stop words, numbers (or Roman ones) and single letters.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        stop_words="english",
        token_pattern=r"(?u)\b(?![ivx]+\b)[^\W\d_]{2,}\b",
        ngram_range=(1, 2),
        min_df=MIN_ITEMS,
        dtype=np.float32,
    )
    real = np.flatnonzero(catalog.recommendable)
    try:
        table = vectorizer.fit_transform([catalog.titles[i] for i in real]).tocsc()
    except ValueError:  # no word is left
        return []
    terms = vectorizer.get_feature_names_out()
    has = (table > 0).astype(np.float64)
    share = np.asarray(weight[real] @ has).ravel() / max(weight.sum(), 1)
    tfidf = np.asarray(weight[real] @ table).ravel()
    usable = np.flatnonzero((share >= MIN_SHARE) & (share < MAX_SHARE))
    best = usable[np.argsort(-tfidf[usable], kind="stable")[:MAX_TERMS]]
    terms_of_titles = []
    for column in sorted(best):
        items = real[table.indices[table.indptr[column] : table.indptr[column + 1]]]
        if not _are_many(weight[items], len(real)):
            continue
        terms_of_titles.append((str(terms[column]), np.isin(np.arange(catalog.n_items), items)))
    return terms_of_titles
