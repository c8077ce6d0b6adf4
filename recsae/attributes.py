"""What can be said of an item, and how much of it there is around a case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.cases import Cases
    from recsae.catalog import ItemCatalog

POPULARITY, TERM, ITEM_ITSELF = "popularity", "title term", "item"
# quarters of all interactions, and how a person says it
BANDS = {
    "most popular": "among the most popular",
    "popular": "fairly popular",
    "less popular": "less popular",
    "niche": "niche",
}
SITES = {"last": 1, "last5": 5, "top1": 1, "top10": 10}
MAX_VALUES, MIN_ITEMS, MIN_SHARE = 300, 3, 0.002
MAX_TERMS, MAX_ITEMS = 150, 500


@dataclass(frozen=True)
class ItemAttributes:
    """V values of attributes over the items of a catalog.

    ``matrix (n_items, V)`` says which item has which value; ``names`` are (attribute, value).
    """

    matrix: scipy.sparse.csr_matrix
    names: tuple[tuple[str, str], ...]

    def counts(self, cases: Cases, site: str) -> scipy.sparse.csr_matrix:
        """``(n, V)`` how many of the items at the site have each value (0 is not stored).

        Sites: ``last`` the last item, ``last5`` the five most recent, ``top1`` the model's first
        recommendation, ``top10`` its first ten.
        """
        key = (id(self), site)
        if key not in cases.counted:
            cases.counted[key] = self._count(cases, site)
        return cases.counted[key]

    def _count(self, cases: Cases, site: str) -> scipy.sparse.csr_matrix:
        items = {
            "last": cases.last_items[:, :1],
            "last5": cases.last_items,
            "top1": cases.top_items[:, :1],
            "top10": cases.top_items,
        }[site]
        n, k = items.shape
        bounds = np.arange(n + 1, dtype=np.int64) * k
        ones = np.ones(n * k, dtype=np.int8)
        picked = scipy.sparse.csr_matrix((ones, items.ravel(), bounds), (n, self.matrix.shape[0]))
        counts = (picked @ self.matrix).tocsr()
        counts.sort_indices()
        return counts


def item_attributes(catalog: ItemCatalog, cases: Cases) -> ItemAttributes:
    """Attribute values worth testing, chosen on (construction) cases.

    A value is kept if at least 3 items and 0.2 % of the cases' last items have it; the 300 most
    frequent per attribute. Popularity bands are quarters of all interactions; title terms are
    words in titles; where a catalog has neither titles nor attributes, items stand for themselves.
    """
    weight = np.bincount(cases.last_items[:, 0], minlength=catalog.n_items).astype(float)
    weight[~catalog.recommendable] = 0
    columns: list[NDArray[np.bool_]] = []
    names: list[tuple[str, str]] = []

    def add(attribute: str, value: str, has: NDArray[np.bool_]) -> None:
        columns.append(has & catalog.recommendable)
        names.append((attribute, value))

    for attribute in catalog.attributes:
        for value, has in _values(list(catalog.frame[attribute]), weight, MAX_VALUES):
            add(attribute, value, has)
    for band, has in zip(BANDS, _bands(weight), strict=True):
        add(POPULARITY, band, has)
    if catalog.title_column is not None:
        for value, has in _values(_terms(catalog), weight, MAX_TERMS):
            add(TERM, value, has)
    elif not catalog.attributes:
        for item in np.argsort(-weight, kind="stable")[:MAX_ITEMS]:
            if weight[item] > 0:
                add(ITEM_ITSELF, catalog.external_ids[item], np.arange(catalog.n_items) == item)
    matrix = scipy.sparse.csr_matrix(np.array(columns).T, dtype=np.int8)
    return ItemAttributes(matrix, tuple(names))


def _values(
    cells: list[tuple[str, ...]], weight: NDArray[np.float64], limit: int
) -> list[tuple[str, NDArray[np.bool_]]]:
    items_of: dict[str, list[int]] = {}
    for item, values in enumerate(cells):
        for value in values:
            items_of.setdefault(value, []).append(item)
    shares = {v: weight[i].sum() / max(weight.sum(), 1) for v, i in items_of.items()}
    kept = [v for v, i in items_of.items() if len(i) >= MIN_ITEMS and MIN_SHARE <= shares[v] < 0.95]
    kept = sorted(sorted(kept, key=lambda v: (-shares[v], v))[:limit])
    return [(v, np.isin(np.arange(len(cells)), items_of[v])) for v in kept]


def _bands(weight: NDArray[np.float64]) -> list[NDArray[np.bool_]]:
    order = np.argsort(-weight, kind="stable")
    reached = np.empty(len(weight))
    cumulative = np.cumsum(weight[order])
    reached[order] = (cumulative - weight[order]) / max(cumulative[-1], 1)
    band = np.minimum((reached * len(BANDS)).astype(int), len(BANDS) - 1)
    return [band == b for b in range(len(BANDS))]


def _terms(catalog: ItemCatalog) -> list[tuple[str, ...]]:
    """Words of each title, lower case; no stop words, numbers (or Roman ones), single letters."""
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(
        stop_words="english", token_pattern=r"(?u)\b(?![ivx]+\b)[^\W\d_]{2,}\b"
    )
    analyse = vectorizer.build_analyzer()
    return [tuple(dict.fromkeys(analyse(title))) for title in catalog.titles]


def phrase(attribute: str, value: str, titles: dict[str, str] | None = None) -> str:
    """How a person says that an item has the value, after "is" or "are".

    >>> phrase("genres", "Horror"), phrase("decade", "1990s"), phrase("popularity", "niche")
    ('Horror', 'from the 1990s', 'niche')
    """
    if attribute == "decade":
        return f"from the {value}"
    if attribute == POPULARITY:
        return BANDS[value]
    if attribute == "mpaa":
        return f"rated {value}"
    if attribute == TERM:
        return f"titled with “{value}”"
    if attribute == ITEM_ITSELF:
        return f"“{(titles or {}).get(value, value)}”"
    if attribute in ("director", "author", "artist", "developer", "publisher"):
        return f"by {value}"
    return value


def concept_name(attribute: str, value: str) -> str:
    """Short name of a concept.

    >>> concept_name("genres", "Horror"), concept_name("title term", "star")
    ('Horror', 'title: star')
    """
    if attribute == TERM:
        return f"title: {value}"
    if attribute == POPULARITY:
        return f"{value} items"
    if attribute in (ITEM_ITSELF, "director", "author", "artist", "developer", "publisher"):
        return f"{attribute}: {value}"
    return value
