"""Hidden states of many positions on disk: captured once, memory-mapped ever after."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsae.errors import ArtifactMismatch, NotEnoughData, RecSAEError
from recsae.files import digest_of, map_arrays, read_json, write_arrays, write_json
from recsae.recommender import find_site, top_items
from recsae.windows import Windows, plan_windows

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from recsae.recommender import LinearHead, Recommender

SHARD = 65_536
BATCH = 256
N_TOP = 10
MANIFEST = "manifest.json"
KEYS = ("fingerprint", "model", "site", "n", "width", "shards")
STATES, SEQUENCE, POSITION, TOP = "states", "sequence", "position", "top_items"
Progress = Callable[[int, int, str], None]


class ActivationStore:
    """A folder of shards, each a safetensors file with, for m positions,

    ``states (m, d)``, the row of the ``sequence (m,)``, the ``position (m,)`` of its last item and
    the model's ten ``top_items (m, 10)`` there. Everything is memory-mapped.
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

    def mean(self) -> NDArray[np.float64]:
        """Mean state ``(d,)``, one pass."""
        total = sum(s.sum(0, dtype=np.float64) for s in self.shards)
        return np.asarray(total / len(self), dtype=np.float64)

    def variance(self) -> float:
        """Mean over positions of ``||h - mean||^2``."""
        mean = self.mean()
        return float(sum(np.square(s - mean).sum() for s in self.shards) / len(self))

    def blocks(self, seed: int, rows: int = 8 * SHARD) -> Iterator[torch.Tensor]:
        """States in random order: shards shuffled, read a few at a time, rows shuffled within.

        The order depends on ``seed`` alone; at most ``rows`` states are in memory at once.
        """
        import torch

        rng = np.random.default_rng(seed)
        per_block = max(1, rows // SHARD)
        order = rng.permutation(len(self._shards))
        for first in range(0, len(order), per_block):
            block = np.concatenate([self.shards[i] for i in order[first : first + per_block]])
            yield torch.from_numpy(block[rng.permutation(len(block))])


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
) -> ActivationStore:
    """Run the recommender over the histories of the users in ``rows`` and keep its states.

    A folder that is partly filled by the same call is continued after its last whole shard.

    Parameters
    ----------
    rows
        Rows of ``recommender.sequences()``.
    limit
        At most about this many positions; windows are drawn at random beyond it.
    progress
        Called with (positions done, positions in all, what).

    Raises
    ------
    RecSAEError
        The model gives NaN or infinite states.
    """
    place = find_site(recommender, site)
    sequences = recommender.sequences()
    windows = plan_windows(
        sequences,
        rows,
        recommender.max_length,
        every_position=place.every_position,
        limit=limit,
        seed=seed,
    )
    made_from = digest_of(
        {
            "model": recommender.fingerprint(),
            "site": place.name,
            "rows": digest_of(rows.tolist()),
            "windows": [len(windows), windows.n_positions],
            "limit": limit,
            "seed": seed,
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / MANIFEST).exists():
        known = _read_manifest(folder)
        whole = all((folder / name).exists() for name in known["shards"])
        if whole and known["fingerprint"] == made_from:
            return ActivationStore(folder)
        (folder / MANIFEST).unlink()  # never beside shards that are not its own
    shards = _capture_shards(recommender, place.name, windows, folder, made_from, progress)
    write_json(
        folder / MANIFEST,
        {
            "fingerprint": made_from,
            "model": recommender.fingerprint(),
            "site": place.name,
            "n": windows.n_positions,
            "width": place.width,
            "shards": shards,
        },
    )
    return ActivationStore(folder)


def _capture_shards(
    recommender: Recommender,
    site: str,
    windows: Windows,
    folder: Path,
    made_from: str,
    progress: Progress | None,
) -> list[str]:
    """Shards are whole windows, at most SHARD positions, named after what they are made from."""
    sizes = windows.ends - windows.kept_from
    shard_of = (np.cumsum(sizes) - 1) // SHARD
    default = recommender.sites()[0].name
    head = recommender.linear_head() if site == default else None
    names, done = [], 0
    for number in range(int(shard_of[-1]) + 1 if len(windows) else 0):
        mine = windows.take(np.flatnonzero(shard_of == number))
        name = f"{made_from[:12]}-{number:05d}.safetensors"
        if not (folder / name).exists():
            write_arrays(folder / name, _capture_windows(recommender, site, mine, head))
        names.append(name)
        done += mine.n_positions
        if progress:
            progress(done, windows.n_positions, "positions captured")
    for old in set(folder.glob("*.safetensors")) - {folder / n for n in names}:
        old.unlink()
    return names


def _capture_windows(
    recommender: Recommender, site: str, windows: Windows, head: LinearHead | None
) -> dict[str, NDArray[Any]]:
    parts: list[dict[str, NDArray[Any]]] = []
    for first in range(0, len(windows), BATCH):
        index = np.arange(first, min(first + BATCH, len(windows)))
        parts.append(_capture_batch(recommender, site, windows.take(index), head))
    return {key: np.concatenate([p[key] for p in parts]) for key in parts[0]}


def _capture_batch(
    recommender: Recommender, site: str, windows: Windows, head: LinearHead | None
) -> dict[str, NDArray[Any]]:
    import torch

    batch = recommender.sequences().batch(
        windows.rows, windows.starts, windows.ends, recommender.max_length
    )
    offset = torch.arange(batch.items.shape[1])
    first = torch.from_numpy(windows.kept_from - windows.starts)
    kept = (offset >= first[:, None]) & (offset < batch.lengths[:, None])
    last_only = bool((kept.sum(1) == 1).all())
    if last_only:
        states = recommender.represent(batch, site)
    else:
        states = recommender.represent(batch, site, positions=True)[kept]
    if not bool(torch.isfinite(states).all()):
        bad = int((~torch.isfinite(states)).any(1).sum())
        raise RecSAEError(
            f"{recommender.name} gives NaN or infinite states at {bad} of {len(states)} positions "
            f"of site {site!r}: the model is broken there, nothing can be learned from it."
        )
    if head is not None:
        scores = head.score(states)
    elif last_only:
        scores = recommender.score(batch)
    else:
        scores = _scores_of_prefixes(recommender, windows)
    which, where = (t.numpy() for t in torch.nonzero(kept, as_tuple=True))
    return {
        STATES: states.float().numpy(),
        SEQUENCE: windows.rows[which].astype(np.int32),
        POSITION: (windows.starts[which] + where).astype(np.int32),
        TOP: top_items(scores, recommender.catalog, N_TOP).to(torch.int32).numpy(),
    }


def _scores_of_prefixes(recommender: Recommender, windows: Windows) -> torch.Tensor:
    """Where scores are not linear in the site, the model scores every kept prefix by itself."""
    import torch

    counts = windows.ends - windows.kept_from
    index = np.repeat(np.arange(len(windows)), counts)
    step = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    ends = windows.kept_from[index] + step + 1
    parts = []
    for first in range(0, len(ends), BATCH):
        part = slice(first, first + BATCH)
        rows, starts = windows.rows[index][part], windows.starts[index][part]
        batch = recommender.sequences().batch(rows, starts, ends[part], recommender.max_length)
        parts.append(recommender.score(batch))
    return torch.cat(parts)
