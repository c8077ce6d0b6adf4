"""The shards of a capture: each is made by itself, anywhere, and together they are the store."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
)
from recsae.capture.windows import Windows, windows_of
from recsae.core.errors import ArtifactMismatch, InvalidInput
from recsae.core.files import digest_of, write_arrays, write_atomically, write_json
from recsae.recommender.protocol import as_recommender, find_site

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.recommender.protocol import Recommender, Site


@dataclass(frozen=True)
class CapturePlan:
    """What a capture reads, in shards; wherever it is made of the same arguments it is the same.

    Parameters
    ----------
    windows
        All windows, in the order of the store.
    bounds
        ``(n + 1,)`` for n shards: shard i is whole windows, those from ``bounds[i]`` on up to
        ``bounds[i + 1]``.
    positions
        ``(n,)`` positions up to the end of each shard.
    manifests
        The manifest of each site's store, by the site's name. Shards are named after its
        fingerprint.
    """

    windows: Windows
    bounds: NDArray[np.int64]
    positions: NDArray[np.int64]
    manifests: dict[str, dict[str, Any]]

    def __len__(self) -> int:
        """How many shards there are."""
        return len(self.positions)

    def windows_of(self, number: int) -> Windows:
        """The windows of one shard."""
        return self.windows.take(np.arange(*self.bounds[number : number + 2]))


def plan_capture(
    recommender: Recommender,
    rows: NDArray[np.int64],
    *,
    site: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    exact: bool = False,
) -> CapturePlan:
    """Plan what :func:`recsae.capture.capture` does with the same arguments, without doing it.

    Every machine that takes part makes the plan, which is quick, captures some of its shards by
    :func:`capture_shard`, and one puts them together by :func:`merge_shards`.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from recsae.testing import PlantedRecommender
    >>> recommender = PlantedRecommender(n_users=30, n_items=20, n_concepts=3, width=4, length=9)
    >>> plan, folder = plan_capture(recommender, np.arange(30)), Path(tempfile.mkdtemp())
    >>> _ = [capture_shard(recommender, plan, number, folder) for number in range(len(plan))]
    >>> len(merge_shards(plan, [], folder)) == plan.windows.n_positions
    True
    """
    recommender = as_recommender(recommender)
    name = find_site(recommender, site).name
    (plan,) = plans_of(recommender, rows, [name], limit=limit, seed=seed, exact=exact)
    return plan


def plans_of(
    recommender: Recommender,
    rows: NDArray[np.int64],
    sites: Iterable[str],
    *,
    limit: int | None = None,
    thinned: int | None = None,
    seed: int = 0,
    exact: bool = False,
) -> list[CapturePlan]:
    """A plan for each set of sites whose states come from the same windows.

    See :func:`recsae.capture.capture_sites` for the arguments.
    """
    together: dict[tuple[bool, bool], list[Site]] = {}
    for name in sites:
        site = find_site(recommender, name)
        together.setdefault((site.every_position, site.per_user), []).append(site)
    plans = []
    for alike in together.values():
        windows = windows_of(recommender, alike[0], rows, limit, seed, exact=exact)
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
        n_until = np.cumsum(windows.ends - windows.kept_from)  # positions up to each window's end
        shard_of = (n_until - 1) // store.SHARD
        numbers = np.arange(int(shard_of[-1]) + 1 if len(windows) else 0)
        bounds = np.searchsorted(shard_of, np.append(numbers, len(numbers)))
        manifests = {s.name: _manifest(s, made_from, n_until, numbers) for s in alike}
        plans.append(CapturePlan(windows, bounds, n_until[bounds[1:] - 1], manifests))
    return plans


def _manifest(
    site: Site, made_from: dict[str, Any], n_until: NDArray[np.int64], numbers: NDArray[np.int64]
) -> dict[str, Any]:
    fingerprint = digest_of({**made_from, "site": site.name})
    return {
        "fingerprint": fingerprint,
        "model": made_from["model"],
        "site": site.name,
        "n": int(n_until[-1]) if len(n_until) else 0,
        "width": site.width,
        FILTERS_SEEN: made_from[FILTERS_SEEN],
        "shards": [f"{fingerprint[:12]}-{number:05d}.safetensors" for number in numbers],
    }


def capture_shard(
    recommender: Recommender, plan: CapturePlan, number: int, folder: Path | str
) -> Path:
    """Run the recommender over one shard's histories and leave its file in a folder.

    A file that is there already is kept.

    Parameters
    ----------
    plan
        What :func:`plan_capture` has made.
    number
        Which of the ``len(plan)`` shards, from 0 on.
    folder
        The store's own, where all machines see it, or any other.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ArtifactMismatch
        The plan is of another model.
    InvalidInput
        There is no such shard.
    RecSAEError
        The model gives NaN or infinite states.
    """
    recommender = as_recommender(recommender)
    ((site, manifest),) = plan.manifests.items()
    if recommender.fingerprint() != manifest["model"]:
        raise ArtifactMismatch(
            f"The plan was made of another model or other data than {recommender.name} here: give "
            "all machines the same."
        )
    if not 0 <= number < len(plan):
        raise InvalidInput(f"There is no shard {number}: the plan has {len(plan)}, from 0 on.")
    fill_shard(recommender, plan, number, {site: Path(folder)})
    return Path(folder) / str(manifest["shards"][number])


def fill_shard(
    recommender: Recommender, plan: CapturePlan, number: int, folders: Mapping[str, Path]
) -> None:
    """Make one shard of the sites in ``folders`` together, of those that lack it."""
    files = {
        name: folder / plan.manifests[name]["shards"][number] for name, folder in folders.items()
    }
    missing = [name for name, file in files.items() if not file.exists()]
    if not missing:
        return
    made = forward_all(recommender, missing, plan.windows_of(number))
    shared = {SEQUENCE: made.sequence, POSITION: made.position, TOP: made.top_items}
    for name in missing:
        write_arrays(files[name], {STATES: made.states[name], **shared})


def merge_shards(
    plan: CapturePlan, parts: Sequence[Path | str], folder: Path | str
) -> ActivationStore:
    """Put the shards of a plan together to a store: to the bytes of one captured at once.

    Parameters
    ----------
    parts
        Folders in which shards lie, in any order; they are copied from there.
    folder
        The store's folder. Shards that were captured into it stay where they are.

    Raises
    ------
    ArtifactMismatch
        A shard of the plan is nowhere.
    """
    folder = Path(folder)
    ((site, manifest),) = plan.manifests.items()
    begin_store(folder)
    for name in manifest["shards"]:
        found = [Path(part) / name for part in parts if (Path(part) / name).exists()]
        if found and not (folder / name).exists():
            write_atomically(folder / name, partial(shutil.copyfile, found[0]))
    lacking = [name for name in manifest["shards"] if not (folder / name).exists()]
    if lacking:
        raise ArtifactMismatch(
            f"{len(lacking)} of {len(plan)} shards were captured nowhere, such as number "
            f"{manifest['shards'].index(lacking[0])}: capture them by the same plan, then merge "
            "again."
        )
    close_store(plan, site, folder)
    return ActivationStore(folder)


def begin_store(folder: Path) -> None:
    """Make a store's folder; a manifest is never beside shards that are not its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)


def close_store(plan: CapturePlan, site: str, folder: Path) -> None:
    """Take other shards out of a folder that has all of this store's, then write the manifest."""
    manifest = plan.manifests[site]
    kept = {folder / shard for shard in manifest["shards"]}
    for old in set(folder.glob("*.safetensors")) - kept:
        old.unlink()
    write_json(folder / MANIFEST, manifest)
