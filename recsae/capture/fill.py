"""Filling of activation stores: the recommender runs over histories, shard by shard."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsae.capture import store
from recsae.capture.forward import forward_all
from recsae.capture.store import (
    FILTERS_SEEN,
    MANIFEST,
    POSITION,
    SEQUENCE,
    STATES,
    TOP,
    ActivationStore,
    read_manifest,
)
from recsae.capture.windows import Windows, windows_of
from recsae.core.distributed import SINGLE_PROCESS, Ranks
from recsae.core.files import digest_of, write_arrays, write_json
from recsae.core.progress import Progress
from recsae.recommender.protocol import as_recommender, find_site

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.recommender.protocol import Recommender, Site


def capture(
    recommender: Recommender,
    rows: NDArray[np.int64],
    folder: Path,
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
    folders: Mapping[str, Path],
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
    together: dict[tuple[bool, bool], list[Site]] = {}
    for name in folders:
        site = find_site(recommender, name)
        together.setdefault((site.every_position, site.per_user), []).append(site)
    for sites in together.values():
        windows = windows_of(recommender, sites[0], rows, limit, seed, exact=exact)
        if thinned is not None:
            windows = windows.thinned(thinned, seed)
        made_from = {
            "model": recommender.fingerprint(),
            "rows": digest_of(rows.tolist()),
            "windows": [len(windows), windows.n_positions],
            "limit": limit,
            "seed": seed,
            FILTERS_SEEN: recommender.filters_seen,
            **({} if thinned is None else {"thinned": thinned}),
        }
        manifests = {site.name: _manifest(site, made_from, windows.n_positions) for site in sites}
        _fill_stores(recommender, windows, manifests, folders, progress, ranks)
    return {name: ActivationStore(folder) for name, folder in folders.items()}


def _manifest(site: Site, made_from: dict[str, Any], n_positions: int) -> dict[str, Any]:
    """The manifest of a site's store, but for its shards."""
    return {
        "fingerprint": digest_of({**made_from, "site": site.name}),
        "model": made_from["model"],
        "site": site.name,
        "n": n_positions,
        "width": site.width,
        FILTERS_SEEN: made_from[FILTERS_SEEN],
    }


def _fill_stores(
    recommender: Recommender,
    windows: Windows,
    manifests: dict[str, dict[str, Any]],
    folders: Mapping[str, Path],
    progress: Progress | None,
    ranks: Ranks,
) -> None:
    """Fill shards of whole windows, about ``SHARD`` positions each, named after the fingerprint."""
    todo = ranks.broadcast_from_main(lambda: _prepare_folders(manifests, folders))
    n_until = np.cumsum(windows.ends - windows.kept_from)  # positions up to each window's end
    shard_of = (n_until - 1) // store.SHARD
    n_shards = int(shard_of[-1]) + 1 if todo and len(windows) else 0
    names = {n: manifests[n]["fingerprint"][:12] + "-{:05d}.safetensors" for n in todo}
    shards = {n: [name.format(i) for i in range(n_shards)] for n, name in names.items()}

    def fill(number: int) -> None:
        mine = np.flatnonzero(shard_of == number)
        files = {name: folders[name] / shards[name][number] for name in todo}
        missing = [name for name, file in files.items() if not file.exists()]
        if missing:
            made = forward_all(recommender, missing, windows.take(mine))
            shared = {SEQUENCE: made.sequence, POSITION: made.position, TOP: made.top_items}
            for name in missing:
                write_arrays(files[name], {STATES: made.states[name], **shared})
        if progress:
            progress(int(n_until[mine[-1]]), windows.n_positions, "positions captured")

    def close() -> None:
        for name in todo:
            kept = {folders[name] / shard for shard in shards[name]}
            for old in set(folders[name].glob("*.safetensors")) - kept:
                old.unlink()
            write_json(folders[name] / MANIFEST, {**manifests[name], "shards": shards[name]})

    ranks.scatter({number: partial(fill, number) for number in range(n_shards)})
    ranks.broadcast_from_main(close)


def _prepare_folders(
    manifests: dict[str, dict[str, Any]], folders: Mapping[str, Path]
) -> list[str]:
    """Make the folders of stores that are not whole yet, without a manifest; return their sites."""
    todo = [n for n, m in manifests.items() if not _is_whole(folders[n], m["fingerprint"])]
    for name in todo:
        folders[name].mkdir(parents=True, exist_ok=True)
        # a manifest is never beside shards that are not its own
        (folders[name] / MANIFEST).unlink(missing_ok=True)
    return todo


def _is_whole(folder: Path, fingerprint: str) -> bool:
    """Whether the folder holds this very store."""
    if not (folder / MANIFEST).exists():
        return False
    known = read_manifest(folder)
    whole = all((folder / name).exists() for name in known["shards"])
    return whole and bool(known["fingerprint"] == fingerprint)
