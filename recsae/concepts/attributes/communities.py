"""Items that the same people consume close together: "fans of Horror such as A, B and C"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse

from recsae.concepts.attributes.names import MOSTLY, SEPARATOR, SHARED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from recsae.capture.cases import Cases

SIZES = (16, 32, 64, 128, 256)
"""Numbers of groups, from large groups to small ones; those that the items cannot fill are left
out."""
WINDOW = 10
"""Two items stand close together within so many places of a history."""
WIDTH = 64
"""Singular vectors by which items are compared."""
MAX_COMMUNITY_POSITIONS = 1_000_000
"""Positions at most that are read, of users evenly spread: bounds the time."""
MAX_COMMUNITY_ITEMS = 20_000
"""Items at most that are grouped, the most frequent ones: bounds the table of pairs."""
MIN_MEMBERS = 3
"""Items of a group at least: fewer than are named make no group."""
MIN_ALIKE = 0.6
"""Mean cosine of a group's items with their centre at least: groups of what is left over are below,
and three of their items do not tell what the others are."""
MIN_PEOPLE = 5
"""People at least who consumed two of a group's items: what fewer did is not common."""
N_NAMED = 3
"""Items that a group is named after, the most typical ones."""
MIN_SHARED = 0.7
"""A value says what a group is if at least so much of what is consumed of the group has it ..."""
MIN_LIFT = 2.0
"""... and so many times as much as of all items."""


def communities(cases: Cases, weight: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Groups of items by who consumed them, from 16 large ones to 256 small ones.

    Items are close if they stand within ten places of each other in many of the users' histories:
    positive pointwise mutual information, its first 64 singular vectors, k-means. Groups whose
    items are not alike are left out.

    Parameters
    ----------
    cases
        Of construction users; the histories they come from are read.
    weight
        ``(n_items,)`` how often each item was consumed; items with 0 belong to no group.

    Returns
    -------
    list of items
        Of each group, the most typical first; no two groups begin with the same three.
    """
    from sklearn.cluster import KMeans
    from sklearn.preprocessing import normalize
    from threadpoolctl import threadpool_limits

    used = np.sort(np.argsort(-weight, kind="stable")[:MAX_COMMUNITY_ITEMS])
    used = used[weight[used] > 0]
    sizes = [k for k in SIZES if k * MIN_MEMBERS <= len(used)]
    if not sizes:
        return []
    groups: dict[tuple[int, ...], NDArray[np.int64]] = {}
    with threadpool_limits(1):  # sums of several threads differ in their last bits
        together = _together(cases, used)
        if not together.nnz:
            return []
        vectors, people = _vectors(together), _people(cases, used)
        for k in sizes:
            means = KMeans(k, n_init=1, random_state=0)
            label = means.fit(vectors, sample_weight=np.sqrt(weight[used])).labels_
            alike = np.linalg.norm(means.cluster_centers_, axis=1)
            centres = normalize(means.cluster_centers_)
            typical = (vectors * centres[label]).sum(1) * np.log1p(weight[used])
            for group in range(k):
                members = np.flatnonzero(label == group)
                if len(members) < MIN_MEMBERS or alike[group] < MIN_ALIKE:
                    continue
                if (people[:, members].sum(1) > 1).sum() < MIN_PEOPLE:
                    continue
                items = used[members[np.argsort(-typical[members], kind="stable")]]
                groups.setdefault(tuple(items[:N_NAMED].tolist()), items)
    return list(groups.values())


def value_of(
    items: NDArray[np.int64],
    shared: Sequence[tuple[str, NDArray[np.bool_]]],
    external_ids: Sequence[str],
    people: tuple[str, str] | None = None,
) -> str:
    """The value that stands for a group: what its items share, and the ids of three of them.

    ``items`` are the group's, most typical first; ``shared`` what they share and ``(n_items,)``
    which items have it. Of those three as many as possible have all of it. ``people`` is what most
    of its people are: column and value.

    >>> horror = np.array([1, 1, 0, 1], bool)
    >>> value_of(np.array([2, 0, 1, 3]), [("Horror", horror)], "abcd")
    'Horror ∷ a | b | d'
    >>> value_of(np.array([2, 0, 1, 3]), [], "abcd", ("occupation", "student"))
    'c | a | b ∷∷ occupation=student'
    """
    has_all = np.all([has[items] for _, has in shared], 0) if shared else np.ones(len(items), bool)
    named = items[np.argsort(~has_all, kind="stable")[:N_NAMED]]
    said = " ".join(value for value, _ in shared)
    ids = SEPARATOR.join(external_ids[i] for i in named)
    group = f"{said}{SHARED}{ids}" if said else ids
    return f"{group}{MOSTLY}{'='.join(people)}" if people else group


def telling(share: float, base: float, least: float) -> float:
    """How much a value tells a group from all: the divergence of its share there from that of all.

    0 where fewer than ``least`` of the group have it, or not twice as many as of all.

    >>> telling(0.5, 0.3, 0.5), telling(0.4, 0.1, 0.5), round(telling(1.0, 0.25, 0.5), 2)
    (0.0, 0.0, 1.39)
    """
    if base <= 0 or share < max(least, MIN_LIFT * base):
        return 0.0
    rest = (1 - share) * np.log((1 - share) / (1 - base)) if share < 1 else 0.0
    return float(share * np.log(share / base) + rest)


def shared_values(
    items: NDArray[np.int64],
    values: Sequence[tuple[str, str, NDArray[np.bool_]]],
    weight: NDArray[np.float64],
) -> list[int]:
    """What most items of a group have and few others: places of at most two values, best first.

    Items count as often as they were consumed. The second is of another attribute. Best is what
    tells the group from all items, see :func:`telling`.

    Parameters
    ----------
    items
        Of the group.
    values
        Attribute, value, and ``(n_items,)`` which items have it.
    weight
        ``(n_items,)`` how often each item was consumed.

    >>> horror, old = np.array([1, 1, 0, 0, 0, 0], bool), np.array([1, 1, 1, 1, 0, 1], bool)
    >>> values = [("era", "old", old), ("genre", "Horror", horror)]
    >>> shared_values(np.array([0, 1]), values, np.ones(6))
    [1]
    """
    total, own = weight.sum(), weight[items].sum()
    worth: dict[int, float] = {}
    for place, (_, _, has) in enumerate(values):
        share, base = weight[items][has[items]].sum() / own, weight[has].sum() / total
        told = telling(share, base, MIN_SHARED)
        if told > 0:
            worth[place] = told
    ranked = sorted(worth, key=lambda place: (-worth[place], place))
    others = [place for place in ranked[1:] if values[place][0] != values[ranked[0]][0]]
    return [*ranked[:1], *others[:1]]


def _vectors(together: scipy.sparse.csr_matrix) -> NDArray[np.float64]:
    """``(m, 64)`` unit vectors whose products say how alike the users of two of m items are."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.preprocessing import normalize

    rows = np.asarray(together.sum(1)).ravel()
    columns = rows**0.75  # so that rare items are not close to everything
    pairs = together.tocoo()
    expected = rows[pairs.row] * columns[pairs.col] / max(columns.sum(), 1)
    information = np.log(pairs.data / expected)
    keep = information > 0
    shape = together.shape
    positive = scipy.sparse.csr_matrix(
        (information[keep], (pairs.row[keep], pairs.col[keep])), shape=shape
    )
    width = min(WIDTH, shape[0] - 1)
    return np.asarray(normalize(TruncatedSVD(width, random_state=0).fit_transform(positive)))


def _people(cases: Cases, used: NDArray[np.int64]) -> scipy.sparse.csc_matrix:
    """``(n_sequences, n_used)`` ones where a history, but for its last item, has an item."""
    rows = np.unique(cases.sequence)
    owner, items = _histories(cases, used, rows)
    known = items >= 0
    pairs = np.unique(np.stack([items[known], owner[known]]), axis=1)
    ones = np.ones(pairs.shape[1], dtype=np.int32)
    shape = (len(rows), len(used))
    return scipy.sparse.csc_matrix((ones, (pairs[1], pairs[0])), shape)


def _together(cases: Cases, used: NDArray[np.int64]) -> scipy.sparse.csr_matrix:
    """``(n_used, n_used)`` how often two items stand within ten places in a history."""
    users = np.unique(cases.sequence)
    step = max(1, int(cases.sequences.lengths[users].sum()) // MAX_COMMUNITY_POSITIONS)
    total = scipy.sparse.csr_matrix((len(used), len(used)))
    owner, flat = _histories(cases, used, users[::step])
    for back in range(1, WINDOW + 1):
        left, right = flat[:-back], flat[back:]
        same = (owner[:-back] == owner[back:]) & (left >= 0) & (right >= 0) & (left != right)
        ones = np.ones(int(same.sum()))
        total = total + scipy.sparse.csr_matrix((ones, (left[same], right[same])), total.shape)
    return (total + total.T).tocsr()


def _histories(
    cases: Cases, used: NDArray[np.int64], rows: NDArray[np.integer[Any]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Whose histories, but for their last items, have which of the used items; -1 for others."""
    place = np.full(cases.catalog.n_items, -1, dtype=np.int64)
    place[used] = np.arange(len(used))
    lengths = cases.sequences.lengths[rows] - 1  # the last item is the test's
    owner, _, items = cases.sequences.first_items(rows, lengths)
    return owner, place[items]
