"""Filling of activation stores: the recommender runs over histories, shard by shard."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from recsae.capture.shards import CapturePlan, begin_store, close_store, fill_shard, plans_of
from recsae.capture.store import MANIFEST, ActivationStore, read_manifest
from recsae.core.distributed import SINGLE_PROCESS, Ranks
from recsae.core.progress import Progress
from recsae.recommender.protocol import as_recommender, find_site

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from recsae.recommender.protocol import Recommender


def capture(
    recommender: Recommender,
    rows: NDArray[np.int64],
    folder: str | Path,
    *,
    site: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    exact: bool = False,
    progress: Progress | None = None,
    ranks: Ranks = SINGLE_PROCESS,
) -> ActivationStore:
    """Run the recommender over the histories of the users in ``rows`` and keep its states.

    Like :func:`capture_sites`, for one site (default: the first).
    """
    name = find_site(recommender, site).name
    stores = capture_sites(
        *(recommender, rows, {name: folder}),
        limit=limit,
        seed=seed,
        exact=exact,
        progress=progress,
        ranks=ranks,
    )
    return stores[name]


def capture_sites(
    recommender: Recommender,
    rows: NDArray[np.int64],
    folders: Mapping[str, str | Path],
    *,
    limit: int | None = None,
    thinned: int | None = None,
    seed: int = 0,
    exact: bool = False,
    progress: Progress | None = None,
    ranks: Ranks = SINGLE_PROCESS,
) -> dict[str, ActivationStore]:
    """Run the recommender over the histories of the users in ``rows``; a store for each site.

    Sites whose states come from the same windows share their forwards. A folder that is partly
    filled by the same call is continued after its last whole shard.

    Parameters
    ----------
    rows
        Rows of ``recommender.sequences()``.
    folders
        The folder of each site's store.
    limit
        At most about this many positions; windows are drawn at random beyond it.
    exact
        States that the model has when it recommends; else those late in a window, where one forward
        gives all positions, may lack up to a fifth of their context, and are far cheaper.
    thinned
        Of those, at most about so many, of windows drawn evenly: a small picture of the store that
        ``limit`` alone gives.
    progress
        Called with (positions done, positions in all, what), for each set of windows.
    ranks
        The processes that share the work, each of which calls this: shards are dealt out.

    Raises
    ------
    CannotOpenModel
        The adapter lacks a part of the protocol.
    RecSAEError
        The model gives NaN or infinite states.
    SiteNotFound
        There is no such site.
    """
    recommender = as_recommender(recommender)
    places = {name: Path(folder) for name, folder in folders.items()}
    plans = plans_of(
        *(recommender, rows, places), limit=limit, thinned=thinned, seed=seed, exact=exact
    )
    for plan in plans:
        _fill_stores(recommender, plan, places, progress, ranks)
    return {name: ActivationStore(folder) for name, folder in places.items()}


def _fill_stores(
    recommender: Recommender,
    plan: CapturePlan,
    folders: Mapping[str, Path],
    progress: Progress | None,
    ranks: Ranks,
) -> None:
    """Deal the shards out that a plan's stores lack, then close the stores."""
    sites = ranks.broadcast_from_main(lambda: _begin_stores(plan, folders))
    todo = {site: folders[site] for site in sites}

    def fill(number: int) -> None:
        fill_shard(recommender, plan, number, todo)
        if progress:
            progress(int(plan.positions[number]), int(plan.positions[-1]), "positions captured")

    def close() -> None:
        for site, folder in todo.items():
            close_store(plan, site, folder)

    ranks.scatter({n: partial(fill, n) for n in range(len(plan) if todo else 0)})
    ranks.broadcast_from_main(close)


def _begin_stores(plan: CapturePlan, folders: Mapping[str, Path]) -> list[str]:
    """Begin those of a plan's stores that are not whole yet; return their sites."""
    todo = [n for n, m in plan.manifests.items() if not _is_whole(folders[n], m["fingerprint"])]
    for name in todo:
        begin_store(folders[name])
    return todo


def _is_whole(folder: Path, fingerprint: str) -> bool:
    """Whether the folder holds this very store."""
    if not (folder / MANIFEST).exists():
        return False
    known = read_manifest(folder)
    whole = all((folder / name).exists() for name in known["shards"])
    return whole and bool(known["fingerprint"] == fingerprint)
