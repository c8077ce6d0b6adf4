"""Hidden states of many positions on disk: captured once, memory-mapped ever after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsae.capture.moments import ROWS_AT_ONCE, Moments
from recsae.core import layout
from recsae.core.errors import ArtifactMismatch, NotEnoughData
from recsae.core.files import digest_of, let_go, lies_within, map_arrays, read_json
from recsae.core.notebook.cells import card

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


SHARD = 65_536
"""Positions in one file: what is lost when capture is stopped, and the unit of shuffling."""
VALIDATION_ONE_IN = 20
"""One construction user in so many only decides when training stops."""
MANIFEST = layout.MANIFEST
"""The file that lists a store's shards and what they were made from; written last."""
MANIFEST_KEYS = ("fingerprint", "model", "site", "n", "width", "shards")
"""Keys without which a file is no manifest."""
STATES = "states"
SEQUENCE = "sequence"
POSITION = "position"
TOP = "top_items"
KINDS = {STATES: "f", SEQUENCE: "i", POSITION: "i", TOP: "i"}
"""Columns of a shard and the kind of their numbers, as NumPy has it."""
FILTERS_SEEN = "hides_history"
"""The manifest's key for what the protocol calls ``filters_seen``."""


class ActivationStore:
    """A folder of shards, each a safetensors file with, for m positions,

    ``states (m, d)``, the row of the ``sequence (m,)``, the ``position (m,)`` of its last item and
    the model's ten ``top_items (m, 10)`` there, without those of the history where the manifest
    says ``hides_history``. Everything is memory-mapped.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        self._shards: list[Mapping[str, NDArray[Any]]] = [
            self._shard(name) for name in self.manifest["shards"]
        ]
        if sum(len(s[STATES]) for s in self._shards) != self.manifest["n"]:
            raise ArtifactMismatch(
                f"The shards in {self.folder} do not add up to the "
                f"{self.manifest['n']:,} positions of its manifest: run the same "
                "`recsae run` again, which makes them anew."
            )

    def _shard(self, name: str) -> dict[str, NDArray[Any]]:
        arrays = map_arrays(self.folder / name)
        shapes = [arrays[column].shape for column in KINDS if column in arrays]
        if (
            len(shapes) < len(KINDS)
            or any(arrays[column].dtype.kind != kind for column, kind in KINDS.items())
            or [len(shape) for shape in shapes] != [2, 1, 1, 2]
            or len({shape[0] for shape in shapes}) > 1
            or arrays[STATES].shape[1] != self.width
            or min(int(arrays[key].min(initial=0)) for key in (SEQUENCE, POSITION, TOP)) < 0
        ):
            raise ArtifactMismatch(
                f"{self.folder / name} does not hold {self.width} numbers, a sequence, a position "
                "and recommendations for each state: it is not of this store, so make it anew."
            )
        return arrays

    def __len__(self) -> int:
        return int(self.manifest["n"])

    def __repr__(self) -> str:
        return f"ActivationStore({str(self.folder)!r}, {len(self):,} states of width {self.width})"

    def _repr_html_(self) -> str:
        facts = {
            "folder": self.folder,
            "site": self.manifest["site"],
            "states": len(self),
            "width": self.width,
            "shards": len(self._shards),
        }
        return card("Activation store", facts)

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
        starts = np.cumsum([0] + [len(s[SEQUENCE]) for s in self._shards])
        shard = np.searchsorted(starts, index, side="right") - 1
        first = self._shards[0][name]
        gathered = np.empty((len(index), *first.shape[1:]), dtype=first.dtype)
        for number in np.unique(shard):
            mine, column = shard == number, self._shards[number][name]
            gathered[mine] = column[index[mine] - starts[number]]
            let_go([column])
        return gathered

    def only(self, sequences: NDArray[np.bool_]) -> ActivationStore:
        """The states of the sequences marked, as a store of their own; nothing is copied."""
        part = ActivationStore.__new__(ActivationStore)
        part.folder = self.folder
        part._shards = [
            _Part(shard, np.flatnonzero(sequences[shard[SEQUENCE]])) for shard in self._shards
        ]
        marked = digest_of([self.fingerprint, np.flatnonzero(sequences).tolist()])
        n = sum(len(shard[SEQUENCE]) for shard in part._shards)
        part.manifest = {**self.manifest, "n": n, "fingerprint": marked}
        return part

    def moments(self) -> Moments:
        """Mean and variance of the states."""
        return self._moments

    @cached_property
    def _moments(self) -> Moments:
        parts = []
        for states in self.shards:
            parts.append(Moments.of(states))
            let_go([states])
        return Moments.merged(parts)

    @cached_property
    def covariance(self) -> NDArray[np.float64]:
        """``(d, d)`` covariance of the states."""
        mean, total = self.moments().mean, np.zeros((self.width, self.width))
        for states in self.shards:
            for start in range(0, len(states), ROWS_AT_ONCE):
                centred = states[start : start + ROWS_AT_ONCE] - mean
                total += centred.T @ centred
            let_go([states])
        return total / len(self)

    def validation_users(self) -> NDArray[np.bool_]:
        """Mask of sequences: one user in twenty (none of fewer), who decide when training stops."""
        by_shard = [np.unique(shard[SEQUENCE]) for shard in self._shards]
        users = np.unique(np.concatenate(by_shard)) if by_shard else np.zeros(0, dtype=np.int64)
        chosen = np.zeros(int(users[-1]) + 1 if len(users) else 0, dtype=bool)
        chosen[np.random.default_rng(0).permutation(users)[: len(users) // VALIDATION_ONE_IN]] = (
            True
        )
        return chosen

    def states_of(self, sequences: NDArray[np.bool_], limit: int) -> NDArray[np.float32]:
        """At most about ``limit`` states ``(m, d)`` of the sequences marked, evenly spread."""
        rows = [np.flatnonzero(sequences[shard[SEQUENCE]]) for shard in self._shards]
        step = max(1, sum(map(len, rows)) // limit)
        parts = []
        for shard, chosen in zip(self._shards, rows, strict=True):
            states = shard[STATES]
            parts.append(states[chosen[::step]])
            let_go([states])
        return np.concatenate(parts)

    def count_of(self, sequences: NDArray[np.bool_]) -> int:
        """How many states the sequences marked have."""
        return sum(int(sequences[shard[SEQUENCE]].sum()) for shard in self._shards)

    def blocks(
        self,
        seed: int,
        rows: int = 8 * SHARD,
        without: NDArray[np.bool_] | None = None,
        size: int | None = None,
    ) -> Iterator[torch.Tensor]:
        """States in random order: shards shuffled, read a few at a time, rows shuffled within.

        The order depends on ``seed`` alone; at most ``rows`` states are in memory at once. Those of
        the sequences marked in ``without`` are left out. What was read comes ``size`` states at a
        time, if that is given: a shuffled copy of all would cost its page faults.
        """
        import torch

        rng = np.random.default_rng(seed)
        per_block = max(1, rows // SHARD)
        order = rng.permutation(len(self._shards))
        for first in range(0, len(order), per_block):
            parts = [self._shards[i] for i in order[first : first + per_block]]
            sequence = np.concatenate([part[SEQUENCE] for part in parts])
            block, start = np.empty((len(sequence), self.width), dtype=np.float32), 0
            for part in parts:
                states = part[STATES]
                block[start : start + len(states)] = states
                start += len(states)
                let_go([states])
            kept = rng.permutation(len(block))
            if without is not None:
                kept = kept[~without[sequence[kept]]]
            step = size or max(1, len(kept))
            for start in range(0, len(kept), step):
                yield torch.from_numpy(block.take(kept[start : start + step], axis=0))


class _Part(Mapping[str, "NDArray[Any]"]):
    """Some rows of a shard, gathered whenever a column is asked for."""

    def __init__(self, shard: Mapping[str, NDArray[Any]], rows: NDArray[np.int64]) -> None:
        self._shard, self._rows = shard, rows

    def __getitem__(self, name: str) -> NDArray[Any]:
        column: NDArray[Any] = self._shard[name][self._rows]
        let_go([self._shard[name]])
        return column

    def __iter__(self) -> Iterator[str]:
        return iter(self._shard)

    def __len__(self) -> int:
        return len(self._shard)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a store; ArtifactMismatch where the file is something else."""
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or not set(MANIFEST_KEYS) <= set(manifest):
        raise ArtifactMismatch(
            f"{folder / MANIFEST} is not the manifest of a store: choose another folder."
        )
    for name in manifest["shards"]:
        if not lies_within(folder, name):
            raise ArtifactMismatch(
                f"{folder / MANIFEST} names the shard {name!r}, which is not in its folder: it was "
                "not written by recsae."
            )
    return manifest
