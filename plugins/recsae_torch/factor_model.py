"""A model that keeps one vector for each user as a :class:`recsae.recommender.Recommender`."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from recsae.core.errors import CannotOpenModel, InvalidInput
from recsae.core.files import digest_of, digest_of_module
from recsae.recommender.hooks import edited_output
from recsae.recommender.protocol import EvaluationCases, LinearHead, Recommender, Site, find_site

if TYPE_CHECKING:
    import pandas as pd

    from recsae.recommender.catalog import ItemCatalog
    from recsae.recommender.sequences import Batch, Sequences
    from recsae_torch.sites import Edit

SITE = "user"
"""Name of the one site, as RecBole's general models have it."""


class FactorModel(torch.nn.Module):
    """The vectors of users and of items; row 0 of each is padding.

    Parameters
    ----------
    users, items
        ``(1 + n_users, d)`` and ``(1 + n_items, d)``.
    biases
        ``(1 + n_items,)``; None if there are none.
    """

    users: torch.Tensor
    items: torch.Tensor
    biases: torch.Tensor | None

    def __init__(
        self, users: torch.Tensor, items: torch.Tensor, biases: torch.Tensor | None
    ) -> None:
        super().__init__()
        self.register_buffer("users", users)
        self.register_buffer("items", items)
        self.register_buffer("biases", biases)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """The vectors ``(n, d)`` of users."""
        return self.users[rows]


@dataclass(eq=False, kw_only=True)
class FactorRecommender(Recommender):
    """What :func:`recsae_torch.attach_factors` returns.

    Parameters
    ----------
    data
        Every user's items: those that the vectors were trained on, then those of the test.
    tested
        How the items of the test came about, in words.
    files
        Files that the items' titles were read from.
    users
        What is known of users, by their ids.
    """

    model: FactorModel
    catalog: ItemCatalog
    data: Sequences
    tested: str
    filters_seen: bool
    files: list[str]
    users: pd.DataFrame | None
    name: str
    max_length: int = field(init=False)
    plugin: str = "torch"
    dataset: str = "given"

    def __post_init__(self) -> None:
        self.max_length = int(self.data.known.max())

    def sequences(self) -> Sequences:
        """Every user's items, those of the test last."""
        return self.data

    def evaluation(self, split: str = "test") -> EvaluationCases:
        """All items that a user has in the test are the targets of one list.

        Raises
        ------
        InvalidInput
            There is no such split.
        """
        if split != "test":
            raise InvalidInput(f"There is no split {split!r}: factors have 'test' alone.")
        n_tested = self.data.lengths - self.data.known
        rows = np.repeat(np.arange(len(n_tested)), n_tested)
        before = np.repeat(np.cumsum(n_tested) - n_tested, n_tested)
        ends = self.data.known[rows] + np.arange(len(rows)) - before
        return EvaluationCases(
            rows,
            ends,
            targets=self.data.flat[self.data.offsets[rows] + ends].astype(np.int64),
            groups=np.unique(rows, return_inverse=True)[1],
            candidates=None,
            metrics=("recall", "ndcg", "mrr"),
            topk=(10,),
            description=f"{self.tested}, full ranking",
            filters_seen=self.filters_seen,
        )

    def user_table(self) -> pd.DataFrame | None:
        """What was given of users."""
        return self.users

    def sites(self) -> list[Site]:
        """The users' vectors: nothing else makes a difference to scores."""
        width = self.model.users.shape[1]
        return [Site(SITE, "the vector of the user", width, False, per_user=True, share=1.0)]

    def represent(
        self, batch: Batch, site: str | None = None, *, positions: bool = False
    ) -> torch.Tensor:
        """The vectors ``(n, d)`` of the users, whatever items are shown.

        Raises
        ------
        CannotOpenModel
            States of all ``positions`` are asked for.
        InvalidInput
            There is no user.
        """
        find_site(self, site)
        if positions:
            raise CannotOpenModel(f"{self.name} has one state for each user, none for positions.")
        if not bool((batch.users > 0).all()):
            raise InvalidInput(
                f"{self.name} knows users, not sequences: it can only be asked about users that "
                "it has a vector of."
            )
        states: torch.Tensor = self.model(batch.users)
        return states

    def score(self, batch: Batch) -> torch.Tensor:
        """Products with the items' vectors, and the items' biases."""
        return self.linear_head().score(self.represent(batch))

    def linear_head(self) -> LinearHead:
        """The items' vectors and biases."""
        return LinearHead(self.model.items, self.model.biases)

    def edit(self, edit: Edit, site: str | None = None) -> AbstractContextManager[None]:
        """Put ``edit`` behind the look-up of users' vectors."""
        find_site(self, site)
        return edited_output(self.model, edit)

    @cached_property
    def _fingerprint(self) -> str:
        data, histories = self.data, hashlib.sha256(self.data.flat.tobytes())
        histories.update(self.data.offsets.tobytes() + self.data.known.tobytes())
        users = [data.users.tolist(), data.user_rows.tolist(), histories.hexdigest()]
        items = self.catalog.frame.to_dict("list")
        settings = [self.name, self.filters_seen]
        return digest_of([settings, digest_of_module(self.model), items, users])

    def fingerprint(self) -> str:
        """SHA-256 over vectors, items and, because no file holds them, histories and the test."""
        return self._fingerprint

    def sources(self) -> list[str]:
        """The item table, if it was given as a file."""
        return self.files

    def describe(self) -> dict[str, Any]:
        """Facts for ``recsae inspect``."""
        return {
            "model": self.name,
            "class": "factors",
            "torch": str(torch.__version__),
            "checkpoint_sha256": None,
            "dataset": self.dataset,
            "users": len(self.data),
            "items": int(self.catalog.recommendable.sum()),
            "interactions": len(self.data.flat),
            "max_length": self.max_length,
            "evaluation": self.tested,
            "title_column": self.catalog.title_column,
            "attributes": list(self.catalog.attributes),
            "notes": list(self.catalog.notes),
        }
