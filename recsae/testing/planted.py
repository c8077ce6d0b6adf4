"""A recommender with planted, therefore known, concepts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F

from recsae.core.errors import InvalidInput
from recsae.core.files import digest_of, digest_of_module
from recsae.recommender.catalog import PAD, ItemCatalog, build_catalog
from recsae.recommender.evaluation import leave_one_out
from recsae.recommender.hooks import edited_output
from recsae.recommender.protocol import EvaluationCases, LinearHead, Recommender, Site, find_site
from recsae.recommender.sequences import Batch, Sequences

if TYPE_CHECKING:
    import scipy.sparse
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases

PLANTED_SITE = "sequence"
"""Name of the only site."""
N_RECENT = 5
"""Most recent items that a state depends on."""
ON_FROM = 2
"""Of the recent items so many must have a genre for its concept to be active."""
RUN_LENGTH = 6.0
"""Mean number of items in a row of one genre, so that concepts stay active for a while."""
GENRES = (
    *("Action", "Animation", "Comedy", "Crime", "Documentary", "Drama"),
    *("Fantasy", "Horror", "Musical", "Romance", "Sci-Fi", "Western"),
)
ADJECTIVES = ("Silent", "Golden", "Broken", "Last", "Hidden", "Burning", "Frozen", "Lonely")
NOUNS = ("River", "Garden", "Station", "Letter", "Mountain", "Harbour", "Winter", "Mirror")


class PlantedModel(nn.Module):
    """States are sums of planted directions, scores are their products with item vectors.

    Genre g is on where at least 2 of the last 5 items have it; its activation is then
    ``strength_g * count / 5``. The state is the sum of activations times directions, plus noise
    that depends on the recent items alone.
    """

    directions: torch.Tensor
    strengths: torch.Tensor
    genres: torch.Tensor
    noise: torch.Tensor
    items: torch.Tensor

    def __init__(self, genres: NDArray[np.bool_], width: int, noise: float, seed: int) -> None:
        super().__init__()
        n_items, m = genres.shape
        rng = np.random.default_rng(seed)
        basis = np.linalg.qr(rng.normal(size=(width, width)))[0]
        own = 0.3 * rng.normal(size=(n_items, width)) / np.sqrt(width)
        values = {
            "directions": basis[:m],
            "strengths": rng.uniform(0.8, 1.6, m),
            "genres": genres,
            "noise": noise
            * rng.normal(size=(N_RECENT, n_items, width))
            / np.sqrt(N_RECENT * width),
            "items": (genres @ basis[:m] + own) * genres.any(1, keepdims=True),
        }
        for name, value in values.items():
            self.register_buffer(name, torch.from_numpy(value.astype(np.float32)))

    def activations(self, recent: torch.Tensor) -> torch.Tensor:
        """True activations ``(..., m)`` after the most recent items ``(..., 5)``, 0 where none."""
        count = self.genres[recent].sum(-2)
        return torch.where(count >= ON_FROM, self.strengths * count / N_RECENT, 0.0)

    def states(self, items: torch.Tensor) -> torch.Tensor:
        """States ``(n, length, d)`` at every position of ``(n, length)`` items."""
        recent = F.pad(items, (N_RECENT - 1, 0)).unfold(1, N_RECENT, 1)
        noise = sum(self.noise[place][recent[..., place]] for place in range(N_RECENT))
        states: torch.Tensor = self.activations(recent) @ self.directions + noise
        return states

    def forward(self, items: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """States ``(n, d)`` at the last item."""
        return self.states(items)[torch.arange(len(items)), lengths - 1]


class PlantedRecommender(Recommender):
    """A causal recommender with a linear head whose concepts are genres, known exactly.

    Parameters
    ----------
    n_users, n_items, n_concepts
        How many; padding comes on top of the items. Every item has one or two genres.
    length
        Mean number of items of a user (from half to one and a half times as many).
    max_length
        Most recent items that the model reads, at least 7 so that every window holds five.
    width
        Hidden size d, at least ``n_concepts``: directions are orthonormal.
    noise
        Norm of the part of a state that no concept explains; an activation is about 0.3 to 1.6.
    taste
        How alike users are: Dirichlet parameter of their genres, the smaller the more different.
    seed
        Everything depends on it and on nothing else.

    Examples
    --------
    >>> planted = PlantedRecommender(n_users=20, n_items=40, n_concepts=4, width=8)
    >>> planted.directions.shape, planted.linear_head().items.shape
    ((4, 8), torch.Size([41, 8]))
    """

    name, plugin, dataset = "Planted", "testing", "planted"

    def __init__(
        self,
        *,
        n_users: int = 600,
        n_items: int = 300,
        n_concepts: int = 12,
        length: int = 40,
        max_length: int = 20,
        width: int = 32,
        noise: float = 0.2,
        taste: float = 1.0,
        seed: int = 0,
    ) -> None:
        if width < n_concepts or n_items < 3 * n_concepts or max_length < N_RECENT + 2:
            raise InvalidInput(
                f"{n_concepts} planted concepts need a width of as many, three times as many items "
                f"and a maximum length of {N_RECENT + 2} (seen: {width}, {n_items}, {max_length})."
            )
        rng = np.random.default_rng(seed)
        self.max_length = max_length
        genres = _draw_genres(n_items, n_concepts, rng)
        self.catalog: ItemCatalog = _catalog(genres, rng)
        self._sequences = _draw_sequences(genres, n_users, length, taste, rng)
        self.model: PlantedModel = PlantedModel(genres, width, noise, seed).eval()

    # -- the truth -------------------------------------------------------------------------------
    @property
    def directions(self) -> NDArray[np.float32]:
        """``(n_concepts, d)`` what one unit of each concept adds to a state."""
        return self.model.directions.numpy()

    @property
    def concepts(self) -> list[str]:
        """Genre of each concept."""
        return _names(len(self.directions))

    def true_code(self, cases: Cases) -> scipy.sparse.csr_matrix:
        """True activations ``(n, n_concepts)`` on cases."""
        import scipy.sparse

        recent = torch.from_numpy(cases.last_items[:, :N_RECENT].astype(np.int64))
        return scipy.sparse.csr_matrix(self.model.activations(recent).numpy())

    # -- the protocol ----------------------------------------------------------------------------
    def sequences(self) -> Sequences:
        """Every user's whole history."""
        return self._sequences

    def evaluation(self, split: str = "test") -> EvaluationCases:
        """Leave one out, all items ranked."""
        return leave_one_out(self._sequences, split)

    def sites(self) -> list[Site]:
        """The one site: what is multiplied with the item vectors."""
        return [Site(PLANTED_SITE, "sum of the planted concepts", self.directions.shape[1], True)]

    def represent(
        self, batch: Batch, site: str | None = None, *, positions: bool = False
    ) -> torch.Tensor:
        """States at the last item, or at every item."""
        find_site(self, site)
        with torch.no_grad():
            if positions:
                return self.model.states(batch.items)
            return self.model(batch.items, batch.lengths)  # type: ignore[no-any-return]

    def score(self, batch: Batch) -> torch.Tensor:
        """Products of states and item vectors."""
        return self.represent(batch) @ self.model.items.T

    def linear_head(self) -> LinearHead:
        """The item vectors."""
        return LinearHead(self.model.items, None)

    def edit(
        self, edit: Callable[[torch.Tensor], torch.Tensor], site: str | None = None
    ) -> AbstractContextManager[None]:
        """Put ``edit`` behind the model's forward."""
        find_site(self, site)
        return edited_output(self.model, edit)

    @cached_property
    def _fingerprint(self) -> str:
        flat = hashlib.sha256(self._sequences.flat.tobytes()).hexdigest()
        return digest_of(["planted", self.max_length, digest_of_module(self.model), flat])

    def fingerprint(self) -> str:
        """SHA-256 over weights, maximum length and sequences."""
        return self._fingerprint

    def sources(self) -> list[str]:
        """Nothing was read."""
        return []

    def describe(self) -> dict[str, Any]:
        """Facts for ``recsae inspect``."""
        return {
            "model": self.name,
            "checkpoint_sha256": None,
            "dataset": self.dataset,
            "users": len(self._sequences),
            "items": int(self.catalog.recommendable.sum()),
            "interactions": len(self._sequences.flat),
            "max_length": self.max_length,
            "planted_concepts": self.concepts,
            "attributes": list(self.catalog.attributes),
            "notes": list(self.catalog.notes),
        }


def _names(m: int) -> list[str]:
    return [GENRES[g] if g < len(GENRES) else f"Genre {g + 1}" for g in range(m)]


def _draw_genres(n_items: int, m: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """``(n_items + 1, m)``: each genre as a first one of about as many items, a second for half."""
    genres = np.zeros((n_items + 1, m), dtype=bool)
    item = np.arange(1, n_items + 1)
    first = rng.permutation(n_items) % m
    genres[item, first] = True
    second = (first + rng.integers(1, max(m, 2), n_items)) % m
    both = rng.random(n_items) < 0.5
    genres[item[both], second[both]] = True
    return genres


def _catalog(genres: NDArray[np.bool_], rng: np.random.Generator) -> ItemCatalog:
    names = np.array(_names(genres.shape[1]), dtype=object)
    ids = [PAD] + [f"i{i}" for i in range(1, len(genres))]
    words = zip(rng.choice(ADJECTIVES, len(ids)), rng.choice(NOUNS, len(ids)), strict=True)
    table = pd.DataFrame(
        {
            "item_id": ids,
            "title": [f"{a} {b} {i}" for i, (a, b) in enumerate(words)],
            "genre": ["|".join(names[row]) for row in genres],
        }
    )
    return build_catalog(ids, table.iloc[1:], separator="|")


def _draw_sequences(
    genres: NDArray[np.bool_], n_users: int, length: int, taste: float, rng: np.random.Generator
) -> Sequences:
    """Users go through runs of one genre, about six items each, popular items first in demand."""
    popularity = 1 / (1 + rng.permutation(len(genres))) ** 0.5
    weights = genres * popularity[:, None]
    chances = np.cumsum(weights / weights.sum(0), axis=0)
    lengths = rng.integers(max(N_RECENT, length // 2), length + length // 2 + 1, n_users)
    parts = []
    for size in lengths:
        liked = rng.dirichlet(np.full(genres.shape[1], taste))
        n_runs = 1 + int((rng.random(size - 1) < 1 / RUN_LENGTH).sum())
        starts = np.sort(rng.choice(np.arange(1, size), n_runs - 1, replace=False))
        runs = np.diff(np.r_[0, starts, size])
        genre = np.repeat(rng.choice(genres.shape[1], n_runs, p=liked), runs)
        drawn = (rng.random(size)[:, None] > chances[:, genre].T).sum(1)
        parts.append(np.minimum(drawn, len(genres) - 1))
    return Sequences(
        np.concatenate(parts).astype(np.int32),
        np.r_[0, np.cumsum(lengths)].astype(np.int64),
        np.array([f"u{u}" for u in range(n_users)], dtype=object),
        np.arange(1, n_users + 1, dtype=np.int64),
    )
