"""Hidden states of many positions on disk: captured once, memory-mapped ever after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsae.capture.forward import forward_all
from recsae.capture.windows import Windows, windows_of
from recsae.core.distributed import ALONE, Ranks
from recsae.core.errors import ArtifactMismatch, NotEnoughData
from recsae.core.files import digest_of, map_arrays, read_json, write_arrays, write_json
from recsae.core.progress import Progress
from recsae.recommender.protocol import find_site, hides_history

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from recsae.recommender.protocol import Recommender, Site

SHARD = 65_536
JURY = 20
MANIFEST = "manifest.json"
KEYS = ("fingerprint", "model", "site", "n", "width", "shards")
STATES = "states"
SEQUENCE = "sequence"
POSITION = "position"
TOP = "top_items"
HIDES = "hides_history"


class ActivationStore:
    """A folder of shards, each a safetensors file with, for m positions,

    ``states (m, d)``, the row of the ``sequence (m,)``, the ``position (m,)`` of its last item and
    the model's ten ``top_items (m, 10)`` there, without those of the history where the manifest
    says ``hides_history``. Everything is memory-mapped.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.manifest = _read_manifest(self.folder)
        self._shards = [map_arrays(self.folder / name) for name in self.manifest["shards"]]
        if sum(len(s[STATES]) for s in self._shards) != self.manifest["n"]:
            raise ArtifactMismatch(
                f"The shards in {self.folder} do not add up to the "
                f"{self.manifest['n']:,} positions of its manifest; delete it and run again."
            )

    def __len__(self) -> int:
        return int(self.manifest["n"])

    @property
    def width(self) -> int:
        """Dimension d of the states."""
        return int(self.manifest["width"])

    @property
    def fingerprint(self) -> str:
        """What the states were made from: model, site, positions."""
        return str(self.manifest["fingerprint"])

    @property
    def shards(self) -> list[NDArray[np.float32]]:
        """The states, shard by shard, memory-mapped."""
        return [shard[STATES] for shard in self._shards]

    def column(self, name: str) -> NDArray[Any]:
        """One of ``sequence``, ``position``, ``top_items`` or ``states`` over all shards."""
        if not self._shards:
            raise NotEnoughData(f"The store {self.folder} is empty.")
        return np.concatenate([shard[name] for shard in self._shards])

    def rows(self, name: str, index: NDArray[np.int64]) -> NDArray[Any]:
        """Rows of a column in the order of ``index``, without reading the others."""
        starts = np.cumsum([0] + [len(s[name]) for s in self._shards])
        shard = np.searchsorted(starts, index, side="right") - 1
        first = self._shards[0][name]
        found = np.empty((len(index), *first.shape[1:]), dtype=first.dtype)
        for number in np.unique(shard):
            mine = shard == number
            found[mine] = self._shards[number][name][index[mine] - starts[number]]
        return found

    def only(self, sequences: NDArray[np.bool_]) -> ActivationStore:
        """The states of the sequences marked, as a store of their own that is held in memory."""
        part = copy(self)
        part._shards = []
        for shard in self._shards:
            rows = np.flatnonzero(sequences[shard[SEQUENCE]])
            part._shards.append({name: column[rows] for name, column in shard.items()})
        marked = digest_of([self.fingerprint, np.flatnonzero(sequences).tolist()])
        n = sum(len(shard[STATES]) for shard in part._shards)
        part.manifest = {**self.manifest, "n": n, "fingerprint": marked}
        return part

    def mean(self) -> NDArray[np.float64]:
        """Mean state ``(d,)``, one pass."""
        total = sum(s.sum(0, dtype=np.float64) for s in self.shards)
        return np.asarray(total / len(self), dtype=np.float64)

    def variance(self) -> float:
        """Mean over positions of ``||h - mean||^2``."""
        mean = self.mean()
        return float(sum(np.square(s - mean).sum() for s in self.shards) / len(self))

    def jury(self) -> NDArray[np.bool_]:
        """True for one user in twenty (none of fewer), who only tells when training should stop."""
        found = [np.unique(shard[SEQUENCE]) for shard in self._shards]
        users = np.unique(np.concatenate(found)) if found else np.zeros(0, dtype=np.int64)
        chosen = np.zeros(int(users[-1]) + 1 if len(users) else 0, dtype=bool)
        chosen[np.random.default_rng(0).permutation(users)[: len(users) // JURY]] = True
        return chosen

    def states_of(self, sequences: NDArray[np.bool_], limit: int) -> NDArray[np.float32]:
        """At most about ``limit`` states ``(m, d)`` of the sequences marked, evenly spread."""
        rows = [np.flatnonzero(sequences[shard[SEQUENCE]]) for shard in self._shards]
        step = max(1, sum(map(len, rows)) // limit)
        parts = [s[STATES][r[::step]] for s, r in zip(self._shards, rows, strict=True)]
        return np.concatenate(parts)

    def count_of(self, sequences: NDArray[np.bool_]) -> int:
        """How many states the sequences marked have."""
        return sum(int(sequences[shard[SEQUENCE]].sum()) for shard in self._shards)

    def blocks(
        self, seed: int, rows: int = 8 * SHARD, without: NDArray[np.bool_] | None = None
    ) -> Iterator[torch.Tensor]:
        """States in random order: shards shuffled, read a few at a time, rows shuffled within.

        The order depends on ``seed`` alone; at most ``rows`` states are in memory at once. Those of
        the sequences marked in ``without`` are left out.
        """
        import torch

        rng = np.random.default_rng(seed)
        per_block = max(1, rows // SHARD)
        order = rng.permutation(len(self._shards))
        for first in range(0, len(order), per_block):
            parts = [self._shards[i] for i in order[first : first + per_block]]
            block = np.concatenate([part[STATES] for part in parts])
            kept = rng.permutation(len(block))
            if without is not None:
                sequence = np.concatenate([part[SEQUENCE] for part in parts])
                kept = kept[~without[sequence[kept]]]
            yield torch.from_numpy(block[kept])


def _read_manifest(folder: Path) -> dict[str, Any]:
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or not set(KEYS) <= set(manifest):
        raise ArtifactMismatch(
            f"{folder / MANIFEST} is not the manifest of a store; delete it and run again."
        )
    return manifest


def capture(
    recommender: Recommender,
    rows: NDArray[np.int64],
    folder: Path,
    *,
    site: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    ranks: Ranks = ALONE,
) -> ActivationStore:
    """Run the recommender over the histories of the users in ``rows`` and keep its states.

    The case of one site, by default the first, of :func:`capture_sites`.
    """
    name = find_site(recommender, site).name
    stores = capture_sites(
        recommender, rows, {name: folder}, limit=limit, seed=seed, progress=progress, ranks=ranks
    )
    return stores[name]


def capture_sites(
    recommender: Recommender,
    rows: NDArray[np.int64],
    folders: Mapping[str, Path],
    *,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    ranks: Ranks = ALONE,
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
    progress
        Called with (positions done, positions in all, what), for each set of windows.
    ranks
        The processes that share the work, each of which calls this: shards are dealt out.

    Raises
    ------
    RecSAEError
        The model gives NaN or infinite states.
    SiteNotFound
        There is no such site.
    """
    together: dict[tuple[bool, bool], list[Site]] = {}
    for name in folders:
        site = find_site(recommender, name)
        together.setdefault((site.every_position, site.per_user), []).append(site)
    hides = hides_history(recommender)
    for sites in together.values():
        windows = windows_of(recommender, sites[0], rows, limit, seed)
        made_from = {
            "model": recommender.fingerprint(),
            "rows": digest_of(rows.tolist()),
            "windows": [len(windows), windows.n_positions],
            "limit": limit,
            "seed": seed,
            HIDES: hides,
        }
        manifests = {
            site.name: {
                "fingerprint": digest_of({**made_from, "site": site.name}),
                "model": made_from["model"],
                "site": site.name,
                "n": windows.n_positions,
                "width": site.width,
                HIDES: hides,
            }
            for site in sites
        }
        _capture_plan(recommender, windows, manifests, folders, progress, ranks)
    return {name: ActivationStore(folder) for name, folder in folders.items()}


def _capture_plan(
    recommender: Recommender,
    windows: Windows,
    manifests: dict[str, dict[str, Any]],
    folders: Mapping[str, Path],
    progress: Progress | None,
    ranks: Ranks,
) -> None:
    """Shards are whole windows, at most SHARD positions, named after what they are made from."""
    todo = ranks.from_first(
        lambda: [n for n, m in manifests.items() if not _is_whole(folders[n], m["fingerprint"])]
    )
    reached = np.cumsum(windows.ends - windows.kept_from)
    shard_of = (reached - 1) // SHARD
    n_shards = int(shard_of[-1]) + 1 if todo and len(windows) else 0
    names = {n: manifests[n]["fingerprint"][:12] + "-{:05d}.safetensors" for n in todo}
    shards = {n: [name.format(i) for i in range(n_shards)] for n, name in names.items()}

    def fill(number: int) -> None:
        mine = np.flatnonzero(shard_of == number)
        files = {name: folders[name] / shards[name][number] for name in todo}
        missing = [name for name, file in files.items() if not file.exists()]
        if missing:
            found = forward_all(recommender, missing, windows.take(mine))
            shared = {SEQUENCE: found.sequence, POSITION: found.position, TOP: found.top_items}
            for name in missing:
                write_arrays(files[name], {STATES: found.states[name], **shared})
        if progress:
            progress(int(reached[mine[-1]]), windows.n_positions, "positions captured")

    def close() -> None:
        for name in todo:
            kept = {folders[name] / shard for shard in shards[name]}
            for old in set(folders[name].glob("*.safetensors")) - kept:
                old.unlink()
            write_json(folders[name] / MANIFEST, {**manifests[name], "shards": shards[name]})

    ranks.divide({number: partial(fill, number) for number in range(n_shards)})
    ranks.from_first(close)


def _is_whole(folder: Path, fingerprint: str) -> bool:
    """Whether the folder holds this very store; another store's manifest is taken away."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / MANIFEST).exists():
        return False
    known = _read_manifest(folder)
    whole = all((folder / name).exists() for name in known["shards"])
    if whole and known["fingerprint"] == fingerprint:
        return True
    (folder / MANIFEST).unlink()  # never beside shards that are not its own
    return False
