"""Data small enough to work out by hand, shared by the tests."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse
import torch

from recsae.capture.cases import Cases, recent_items
from recsae.capture.store import ActivationStore
from recsae.core.files import write_arrays, write_json
from recsae.recommender.catalog import ItemCatalog, build_catalog
from recsae.recommender.hooks import edited_output
from recsae.recommender.protocol import EvaluationCases, LinearHead, Recommender, Site, find_site
from recsae.recommender.sequences import Sequences
from recsae.testing.planted import PlantedRecommender

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


def cases_of(*histories: list[int], items: ItemCatalog | None = None) -> Cases:
    """A case after every item of these histories but the last, which is what comes next."""
    where = np.repeat(np.arange(len(histories)), [len(h) - 1 for h in histories]).astype(np.int32)
    position = np.concatenate([np.arange(len(h) - 1) for h in histories]).astype(np.int32)
    held = sequences(*histories)
    return Cases(
        where,
        position,
        recent_items(held, where, position, 5),
        np.ones((len(where), 3), dtype=np.int32),
        held.flat[held.offsets[where] + position + 1],
        np.zeros((len(where), 2), dtype=np.float32),
        held,
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
    return LinearHead(torch.from_numpy(table.astype(np.float32)), None)


class UserTable(Recommender):
    """One state per user, times an item table; lists leave out the history.

    ``states (n_users + 1, d)`` by internal user id, ``table (n_items, d)``; all items of a user
    after the first ``learned`` ones are tested together.
    """

    name, plugin, dataset, max_length, filters_seen = "UserTable", "testing", "toy", 6, True

    def __init__(self, histories, learned, states, table, items=None):
        self._sequences = replace(histories, learned=np.array(learned, dtype=np.int64))
        self.catalog = items or catalog()
        self.model = torch.nn.Embedding.from_pretrained(torch.tensor(states, dtype=torch.float32))
        self.table = torch.tensor(table, dtype=torch.float32)

    def sequences(self):
        return self._sequences

    def evaluation(self, split="test"):
        histories = self._sequences
        ends = np.concatenate(
            [np.arange(a, b) for a, b in zip(histories.learned, histories.lengths, strict=True)]
        )
        rows = np.repeat(np.arange(len(histories)), histories.lengths - histories.learned)
        targets = histories.flat[histories.offsets[rows] + ends].astype(np.int64)
        groups = np.unique(rows, return_inverse=True)[1]
        metrics = ("recall", "precision", "hit", "mrr", "ndcg")
        return EvaluationCases(
            rows, ends, targets, groups, None, metrics, (3, 10), "by user", filters_seen=True
        )

    def sites(self):
        width = self.model.embedding_dim
        return [Site("user", "what the model knows of a user", width, False, per_user=True)]

    def represent(self, batch, site=None, *, positions=False):
        find_site(self, site)
        assert not positions
        return self.model(batch.users)

    def score(self, batch):
        return self.represent(batch) @ self.table.T

    def linear_head(self):
        return LinearHead(self.table, None)

    def edit(self, edit, site=None):
        find_site(self, site)
        return edited_output(self.model, edit)

    def fingerprint(self):
        values = (self.model.weight, self.table)
        return hashlib.sha256(b"".join(v.numpy().tobytes() for v in values)).hexdigest()

    def sources(self):
        return []

    def describe(self):
        return {"model": self.name, "users": len(self._sequences)}


def user_table(n_users: int, width: int = 16, n_items: int = 200, seed: int = 0) -> UserTable:
    """Users are the mean of the items that they had, but for the last three of each."""
    planted = PlantedRecommender(
        n_users=n_users, n_items=n_items, n_concepts=6, width=width, length=24, taste=0.2, seed=seed
    )
    histories, table = planted.sequences(), planted.model.items
    learned = histories.lengths - 3
    means = [table[histories[row][:n].tolist()].mean(0) for row, n in enumerate(learned)]
    states = torch.stack([torch.zeros(width), *means])
    noise = 0.02 * torch.randn(states.shape, generator=torch.Generator().manual_seed(seed))
    return UserTable(histories, learned, (states + noise).tolist(), table.tolist(), planted.catalog)
