"""A plain PyTorch module with its data as a :class:`recsae.recommender.protocol.Recommender`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from recsae.core.errors import CannotOpenModel
from recsae.core.files import digest_of, digest_of_module
from recsae.recommender.evaluation import leave_one_out
from recsae.recommender.protocol import EvaluationCases, LinearHead, Recommender, Site, find_site
from recsae.recommender.sequences import probe_batch

if TYPE_CHECKING:
    import pandas as pd

    from recsae.recommender.catalog import ItemCatalog
    from recsae.recommender.embeddings import EmbeddingLookups
    from recsae.recommender.sequences import Batch, Sequences
    from recsae_torch.scoring import ModelCaller
    from recsae_torch.sites import Edit, Place

N_LOOKUP_PROBES = 32
"""Histories during whose scoring it is noted in which tables items are looked up."""


@dataclass(eq=False)
class TorchRecommender(Recommender):
    """What :func:`recsae_torch.attach` returns.

    Parameters
    ----------
    places, known_sites
        Where the sites are and what is known of them, the sequence representation first.
    data
        Every user's whole history.
    files
        Files that the data was read from.
    head_is_next
        Whether nothing but the head lies behind the sequence representation: no other site.
    users
        What is known of users, by their ids.
    """

    scorer: ModelCaller
    places: list[Place]
    known_sites: list[Site]
    catalog: ItemCatalog
    data: Sequences
    max_length: int
    files: list[str]
    head: LinearHead | None = None
    head_is_next: bool = False
    users: pd.DataFrame | None = None
    name: str = field(init=False)
    plugin: str = "torch"
    dataset: str = "given"

    def __post_init__(self) -> None:
        self.name, self.model = self.scorer.name, self.scorer.module

    def sequences(self) -> Sequences:
        """Every user's whole history."""
        return self.data

    def evaluation(self, split: str = "test") -> EvaluationCases:
        """Leave one out, all items ranked."""
        return leave_one_out(self.data, split)

    def user_table(self) -> pd.DataFrame | None:
        """What was given of users."""
        return self.users

    def sites(self) -> list[Site]:
        """The sequence representation, then the others."""
        return self.known_sites

    def represent(
        self, batch: Batch, site: str | None = None, *, positions: bool = False
    ) -> torch.Tensor:
        """States at the last item, or the mask behind it, or at every item."""
        name = find_site(self, site).name
        return self.represent_sites(batch, [name], positions=positions)[name]

    def represent_sites(
        self, batch: Batch, sites: Sequence[str], *, positions: bool = False
    ) -> dict[str, torch.Tensor]:
        """States of several sites out of one forward."""
        places = [self._place(name) for name in sites]
        by_site, span = self.scorer.states(places, batch), self.scorer.span(batch)
        for name, states in by_site.items():
            if states.dim() == 3:
                length = batch.items.shape[1]
                by_site[name] = span.aligned(states, length) if positions else span.last(states)
            elif positions:
                raise CannotOpenModel(f"{self.name} gives one state for each history at {name!r}.")
        return by_site

    @cached_property
    def _lookups(self) -> EmbeddingLookups:
        return self.scorer.lookups(probe_batch(self.data, self.max_length, N_LOOKUP_PROBES))

    def input_vectors(self, batch: Batch) -> torch.Tensor:
        """What the model's item table holds for each item."""
        return self._lookups.vectors(self.scorer.own_ids[batch.items].clamp_min(0))

    def represent_from(
        self, batch: Batch, vectors: torch.Tensor, site: str | None = None
    ) -> torch.Tensor:
        """States at the last item with these vectors looked up for the items."""
        states = self.scorer.states_from(self._lookups, self._place(site), batch, vectors)
        return self.scorer.span(batch).last(states) if states.dim() == 3 else states

    def score(self, batch: Batch) -> torch.Tensor:
        """Scores by the model itself.

        Where these are linear in the sequence representation and the model makes them for every
        position, only those at the last are made, unless a site lies between the two.
        """
        every_position = self.scorer.n_outputs >= 2 * self.catalog.n_items
        if self.head is None or not self.head_is_next or not every_position:
            return self.scorer.scores(batch)
        return self.head.score(self.represent(batch))

    def linear_head(self) -> LinearHead | None:
        """The head, if scores are linear in the sequence representation."""
        return self.head

    def edit(self, edit: Edit, site: str | None = None) -> AbstractContextManager[None]:
        """Put ``edit`` where the site is, at every item."""
        return self.scorer.edited(self._place(site), edit)

    def _place(self, site: str | None) -> Place:
        return self.places[self.known_sites.index(find_site(self, site))]

    @cached_property
    def _fingerprint(self) -> str:
        data, scorer = self.data, self.scorer
        histories = hashlib.sha256(data.flat.tobytes() + data.offsets.tobytes())
        names = [place.name for place in self.places]
        settings = [self.name, self.max_length, scorer.padding, names]
        layout = scorer.layout
        settings += [layout.behind] if layout.behind else []
        settings += [["before", layout.before]] if layout.before else []
        items = [scorer.ids.tolist(), self.catalog.frame.to_dict("list")]
        users = [data.users.tolist(), histories.hexdigest()]
        return digest_of([digest_of_module(self.model), settings, items, users])

    def fingerprint(self) -> str:
        """SHA-256 over weights, settings, items and, because no file holds them, histories."""
        return self._fingerprint

    def sources(self) -> list[str]:
        """The item table, if it was given as a file."""
        return self.files

    def describe(self) -> dict[str, Any]:
        """Facts for ``recsae inspect``."""
        return {
            "model": self.name,
            "class": f"{type(self.model).__module__}.{type(self.model).__qualname__}",
            "torch": str(torch.__version__),
            "checkpoint_sha256": None,
            "dataset": self.dataset,
            "users": len(self.data),
            "items": int(self.catalog.recommendable.sum()),
            "interactions": len(self.data.flat),
            "max_length": self.max_length,
            "title_column": self.catalog.title_column,
            "attributes": list(self.catalog.attributes),
            "notes": list(self.catalog.notes),
        }
