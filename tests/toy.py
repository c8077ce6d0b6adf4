"""Data small enough to work out by hand, shared by the tests."""

from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse

from recsae.activations import ActivationStore
from recsae.cases import Cases
from recsae.catalog import ItemCatalog, build_catalog
from recsae.files import write_arrays, write_json
from recsae.recommender import LinearHead
from recsae.sequences import Sequences

# internal ids 1 to 8; 0 is padding
ITEMS = pd.DataFrame(
    {
        "item_id": ["m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8"],
        "movie_title": [
            *("Alien", "Star_Wars", "Star Trek", "The Thing"),
            *("Good, the Bad, The", "Grease", "Star Born", "Alien"),
        ],
        "release_year": ["1979", "1977", "1979", "1982", "1966", "1978", "1976", "1992"],
        "class": [
            "Horror Sci-Fi",
            "Sci-Fi",
            "Sci-Fi",
            "Horror",
            "Western",
            "Musical",
            "Musical",
            "",
        ],
    }
)


def catalog() -> ItemCatalog:
    return build_catalog(["[PAD]", *ITEMS["item_id"]], ITEMS)


def sequences(*histories: list[int], users: list[str] | None = None) -> Sequences:
    """Users u0, u1, ... with these internal item ids."""
    names = users or [f"u{i}" for i in range(len(histories))]
    return Sequences(
        np.array([i for h in histories for i in h], dtype=np.int32),
        np.cumsum([0, *map(len, histories)]).astype(np.int64),
        np.array(names, dtype=object),
        np.arange(1, len(histories) + 1, dtype=np.int64),
    )


def cases(
    user: list[int],
    last: list[list[int]] | np.ndarray,
    top: list[list[int]] | np.ndarray,
    *,
    targets: list[int] | None = None,
    states: np.ndarray | None = None,
    items: ItemCatalog | None = None,
) -> Cases:
    """Cases given outright: ``last`` newest first, padded with 0 to five, and ``top`` lists."""
    n = len(user)
    lasts = np.zeros((n, 5), dtype=np.int32)
    for row, recent in enumerate(last):
        lasts[row, : len(recent)] = recent
    where = np.array(user, dtype=np.int32)
    position = np.array([sum(u == v for v in user[:i]) for i, u in enumerate(user)], dtype=np.int32)
    histories = [[1] * (user.count(u) + 1) for u in range(max(user) + 1)]
    return Cases(
        where,
        position,
        lasts,
        np.array(top, dtype=np.int32),
        np.array(targets or [1] * n, dtype=np.int32),
        np.zeros((n, 2), dtype=np.float32) if states is None else states.astype(np.float32),
        sequences(*histories),
        items or catalog(),
    )


def random_cases(
    rng: np.random.Generator, n: int, n_users: int, width: int = 4, items: ItemCatalog | None = None
) -> Cases:
    """Cases of random users, items and states."""
    last = (items or catalog()).n_items - 1
    user = np.sort(np.r_[np.arange(n_users), rng.integers(0, n_users, n - n_users)]).tolist()
    return cases(
        user,
        rng.integers(1, last + 1, (n, 5)),
        np.array([rng.permutation(last)[:6] + 1 for _ in range(n)]),
        targets=rng.integers(1, last + 1, n).tolist(),
        states=rng.normal(size=(n, width)),
        items=items,
    )


def sparse(dense: object) -> scipy.sparse.csr_matrix:
    return scipy.sparse.csr_matrix(np.array(dense, dtype=np.float32))


def store(
    folder: Path, states: np.ndarray, shard: int = 1000, **columns: np.ndarray
) -> ActivationStore:
    """A store of given states without a recommender behind it."""
    n = len(states)
    arrays = {
        "states": states.astype(np.float32),
        "sequence": columns.get("sequence", np.arange(n)).astype(np.int32),
        "position": columns.get("position", np.zeros(n)).astype(np.int32),
        "top_items": columns.get("top_items", np.ones((n, 3))).astype(np.int32),
    }
    names = []
    for first in range(0, n, shard):
        names.append(f"{first:07d}.safetensors")
        part = {key: value[first : first + shard] for key, value in arrays.items()}
        write_arrays(folder / names[-1], part)
    manifest = {"n": n, "width": states.shape[1], "shards": names, "model": "toy", "site": "toy"}
    fingerprint = f"toy {states.astype(np.float64).sum()!r}"
    write_json(folder / "manifest.json", {**manifest, "fingerprint": fingerprint})
    return ActivationStore(folder)


def head(table: np.ndarray) -> LinearHead:
    """Scores are products with these item vectors; row 0 is padding."""
    import torch

    return LinearHead(torch.from_numpy(table.astype(np.float32)), None)
