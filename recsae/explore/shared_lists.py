"""The lists that the models of two runs make for the same users after the same items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recsae.capture.store import SEQUENCE
from recsae.core.errors import RecSAEError
from recsae.explore.common_cases import same_beginnings
from recsae.recommender.lists import History, best_items, rows_at_once
from recsae.report.compare_page import SharedLists, UserLists
from recsae.report.sharing import remembered
from recsae.run.open import open_workspace

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from recsae.recommender.protocol import Recommender

N_LISTED = 10
"""Recommendations of a list."""
N_USERS = 6
"""Users whose lists are shown."""
MAX_COMPARED = 200
"""Users whose lists are counted, evenly spread over those that both runs have."""
N_HISTORY = 6
"""Items of a history that are shown, the last ones."""


def shared_lists(before: Path, after: Path, *, trust: bool = False) -> SharedLists | str:
    """Compare the lists of two runs' models, or say in a sentence why that cannot be done.

    Users are those held out of the first run of whom both models know the same items in the same
    order, by external ids. Seen items are left out as each model leaves them out.

    Parameters
    ----------
    trust
        Open the checkpoints of both runs, see :func:`recsae.run.open.open_workspace`.

    Raises
    ------
    ArtifactMismatch
        What a run's report is to hide of users cannot be read.
    """
    hidden = [remembered(folder) for folder in (before, after)]
    try:
        works = [open_workspace(folder, trust=trust) for folder in (before, after)]
    except RecSAEError as error:
        return str(error)
    one, two = (work.recommender for work in works)
    rows = np.unique(works[0].heldout_store.column(SEQUENCE)).astype(np.int64)
    mine, theirs = _same_histories(one, two, rows)
    if not len(mine):
        return "No held-out user has the same items in the same order in both runs."
    mine, theirs = (_spread(found, MAX_COMPARED) for found in (mine, theirs))
    lists = _lists(one, mine), _lists(two, theirs)
    common = [set(ours) & set(yours) for ours, yours in zip(*lists, strict=True)]
    titles, names = _titles(two) | _titles(one), one.sequences().users
    n_shown = min([N_HISTORY, *(h.max_history for h in hidden if h.max_history is not None)])

    def in_words(items: list[str]) -> tuple[str, ...]:
        return tuple(titles[item] for item in items)

    def of_user(number: int, place: int) -> UserLists:
        row = int(mine[place])
        known = one.sequences()[row][: int(one.sequences().known[row])]
        last = [str(one.catalog.external_ids[item]) for item in known[-n_shown:]]
        user = f"user {number}" if any(h.users for h in hidden) else str(names[row])
        ours, yours = (items[place] for items in lists)
        marks = [tuple(item in common[place] for item in items) for items in (ours, yours)]
        return UserLists(
            *(user, in_words(last), len(known)), in_words(ours), in_words(yours), *marks
        )

    places = _spread(np.arange(len(mine)), N_USERS).tolist()
    users = tuple(of_user(number, place) for number, place in enumerate(places, start=1))
    return SharedLists(users, len(mine), float(np.mean([len(i) for i in common])), N_LISTED)


def _same_histories(
    one: Recommender, two: Recommender, rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Those of the rows whose known items both models have, and the rows of the other model."""
    other, shared = same_beginnings(one, two, rows)
    known = one.sequences().known[rows]
    same = (other >= 0) & (known > 0) & (shared >= known)
    same &= two.sequences().known[np.maximum(other, 0)] == known
    return rows[same], other[same]


def _spread(values: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """At most n of the values, evenly spread."""
    if len(values) <= n:
        return values
    return values[np.linspace(0, len(values) - 1, n).astype(np.int64)]


def _lists(recommender: Recommender, rows: NDArray[np.int64]) -> list[list[str]]:
    """External ids of the best items after the known ones of each row."""
    import torch

    sequences, catalog, length = (
        recommender.sequences(),
        recommender.catalog,
        recommender.max_length,
    )
    lists: list[list[str]] = []
    for first in range(0, len(rows), size := rows_at_once(catalog.n_items)):
        part = rows[first : first + size]
        ends = sequences.known[part].astype(np.int64)
        batch = sequences.batch(part, np.maximum(0, ends - length), ends, length)
        history = History(sequences, part, ends) if recommender.filters_seen else None
        with torch.no_grad():
            best = best_items(recommender.score(batch).clone(), catalog, N_LISTED, history)
        lists += [[str(catalog.external_ids[i]) for i in items if i] for items in best.tolist()]
    return lists


def _titles(recommender: Recommender) -> dict[str, str]:
    catalog = recommender.catalog
    return {str(i): str(t) for i, t in zip(catalog.external_ids, catalog.titles, strict=True)}
