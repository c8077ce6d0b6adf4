"""A RecTools transformer as a :class:`recsae.recommender.protocol.Recommender`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from recsae.core.errors import CannotOpenModel, NotEnoughData
from recsae.core.files import digest_of, digest_of_file, digest_of_module
from recsae.recommender.checks import is_causal, share_of_scores, verify_head
from recsae.recommender.evaluation import leave_one_out
from recsae.recommender.protocol import EvaluationCases, LinearHead, Recommender, Site, find_site
from recsae.recommender.sequences import probe_batch
from recsae_rectools.installation import version_of_rectools
from recsae_rectools.scoring import ModelCaller
from recsae_rectools.sites import SESSION, Place, find_places

if TYPE_CHECKING:
    import torch

    from recsae.recommender.catalog import ItemCatalog
    from recsae.recommender.sequences import Batch, Sequences
    from recsae_rectools.dataset import Data
    from recsae_rectools.sites import Edit

N_PROBES = 32
"""Histories on which sites and the head are tried."""


class RecToolsRecommender(Recommender):
    """A transformer of RecTools' with a data set, attached. The model itself is never changed."""

    plugin = "rectools"

    def __init__(
        self,
        model: Any,
        data: Data,
        catalog: ItemCatalog,
        users: pd.DataFrame | None = None,
        path: Path | None = None,
        items: Path | None = None,
    ) -> None:
        self.rectools_model, self.data, self.catalog, self.users = model, data, catalog, users
        self.path, self.items = path, items
        self.model = model.torch_model
        self.name = type(model).__name__
        self.dataset = data.name
        self._scorer = ModelCaller(model, data)
        self.max_length = self._scorer.layout.max_length
        self._places = {place.name: place for place in find_places(self.model)}

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self._scorer.device

    # -- data ------------------------------------------------------------------------------------
    def sequences(self) -> Sequences:
        """Every user's whole history, of the items that the model knows."""
        return self.data.sequences

    def evaluation(self, split: str = "test") -> EvaluationCases:
        """Leave one out, all items ranked: a RecTools model has no split of its own.

        Nothing is asked of users whose interaction there is with an item that the model does not
        know, as where RecTools' splitters filter cold items.

        Raises
        ------
        NotEnoughData
            So it is of every user.
        """
        cases, sequences = leave_one_out(self.data.sequences, split), self.data.sequences
        place = np.flatnonzero(self.data.back == (0 if split == "test" else 1))
        place = place[~np.isin(place, sequences.offsets)]  # nothing comes before
        if not len(place):
            raise NotEnoughData(
                f"Of no user is the interaction that the split {split!r} asks for with an item "
                f"that {self.name} knows: give a data set that ends sooner after it was fitted."
            )
        rows = np.searchsorted(sequences.offsets, place, side="right") - 1
        return replace(
            cases,
            rows=rows,
            ends=place - sequences.offsets[rows],
            targets=sequences.flat[place].astype(np.int64),
            groups=np.arange(len(rows)),
        )

    def user_table(self) -> pd.DataFrame | None:
        """The data set's categorical features of users."""
        return self.users

    def internal_ids(self, items: pd.Series[Any]) -> pd.Series[Any]:
        """Internal ids of the model's external ids."""
        ids = self.rectools_model.data_preparator.get_known_item_ids()
        return items.map({item: number for number, item in enumerate(ids, start=1)})

    # -- sites -----------------------------------------------------------------------------------
    def sites(self) -> list[Site]:
        """The session representation, then each block with its attention and feed-forward."""
        return self._sites

    @cached_property
    def _probe(self) -> Batch:
        return probe_batch(self.data.sequences, self.max_length, N_PROBES)

    @cached_property
    def _sites(self) -> list[Site]:
        places = list(self._places.values())
        even = probe_batch(self.data.sequences, self.max_length, N_PROBES, even=True)
        widths = self._scorer.states(self._probe, places, positions=False)
        return [
            Site(
                place.name,
                place.meaning,
                int(widths[place.name].shape[1]),
                every_position=is_causal(self, place.name, self._probe),
                share=round(share_of_scores(self, place.name, even), 4),
            )
            for place in places
        ]

    def _place(self, site: str | None) -> Place:
        if site is None:
            return self._places[SESSION]
        return self._places.get(site) or self._places[find_site(self, site).name]

    # -- model -----------------------------------------------------------------------------------
    def represent(
        self, batch: Batch, site: str | None = None, *, positions: bool = False
    ) -> torch.Tensor:
        """States where the prediction is made, the last item or the mask behind it, or at items."""
        name = self._place(site).name
        return self.represent_sites(batch, [name], positions=positions)[name]

    def represent_sites(
        self, batch: Batch, sites: Sequence[str], *, positions: bool = False
    ) -> dict[str, torch.Tensor]:
        """States at several sites out of one forward."""
        return self._scorer.states(batch, list(map(self._place, sites)), positions=positions)

    def input_vectors(self, batch: Batch) -> torch.Tensor:
        """The vector of each item, features and all."""
        return self._scorer.vectors(batch)

    def represent_from(
        self, batch: Batch, vectors: torch.Tensor, site: str | None = None
    ) -> torch.Tensor:
        """States where the prediction is made with these vectors looked up for the items."""
        return self._scorer.states_from(batch, self._place(site), vectors)

    def score(self, batch: Batch) -> torch.Tensor:
        """Products of session and item vectors, both of length one if the model says cosine."""
        return self._scorer.scores(batch)

    @cached_property
    def _head(self) -> LinearHead | None:
        import torch

        with torch.no_grad():
            head = LinearHead(self._scorer.item_vectors().cpu().clone(), None)
        return head if verify_head(self, head, self._probe) else None

    def linear_head(self) -> LinearHead | None:
        """The item vectors, features and all."""
        return self._head

    def edit(self, edit: Edit, site: str | None = None) -> AbstractContextManager[None]:
        """Put ``edit`` where the site is; RecTools' own ``recommend`` sees it too."""
        return self._scorer.edited(self._place(site), edit)

    # -- identity --------------------------------------------------------------------------------
    @cached_property
    def _fingerprint(self) -> str:
        data, scorer = self.data, self._scorer
        histories = [data.sequences.flat, data.sequences.offsets]
        if scorer.preparator.add_unix_ts:
            histories.append(data.times)
        digests = [hashlib.sha256(np.ascontiguousarray(h).tobytes()).hexdigest() for h in histories]
        settings = self.rectools_model.lightning_model.model_config
        ids = [self.catalog.external_ids, data.sequences.users.tolist()]
        return digest_of([digest_of_module(self.model), settings, ids, digests])

    def fingerprint(self) -> str:
        """SHA-256 over weights, settings, ids and, because no model file holds them, histories."""
        return self._fingerprint

    def sources(self) -> list[str]:
        """The files of the model, its data set and its items, of those that there are."""
        files = (self.path, *self.data.files, self.items)
        return [str(file) for file in files if file is not None]

    def describe(self) -> dict[str, Any]:
        """Facts for ``recsae inspect``."""
        model = self.rectools_model
        return {
            "model": self.name,
            "class": f"{type(model).__module__}.{type(model).__qualname__}",
            "rectools": version_of_rectools(),
            "checkpoint_sha256": digest_of_file(self.path) if self.path else None,
            "dataset": self.dataset,
            "users": len(self.data.sequences),
            "items": int(self.catalog.recommendable.sum()),
            "interactions": len(self.data.sequences.flat),
            "max_length": self.max_length,
            "similarity": "cosine" if self._scorer.cosine else "dot",
            "layers": type(self.model.transformer_layers).__name__,
            "item_net": [type(block).__name__ for block in self.model.item_model.item_net_blocks],
            "reads_times": bool(self._scorer.preparator.add_unix_ts),
            "title_column": self.catalog.title_column,
            "attributes": list(self.catalog.attributes),
            "notes": list(self.catalog.notes),
        }


def refuse_strange(model: Any) -> None:
    """Refuse a transformer with parts that are known too little to read it.

    Raises
    ------
    CannotOpenModel
        Its backbone, similarity or data are not those that RecTools comes with.
    """
    from rectools.models.nn.transformers.similarity import DistanceSimilarityModule
    from rectools.models.nn.transformers.torch_backbone import TransformerTorchBackbone

    name, net, preparator = type(model).__name__, model.torch_model, model.data_preparator
    why = ""
    if not isinstance(net, TransformerTorchBackbone):
        why = f"backbone is {type(net).__name__}, and recsae reads TransformerTorchBackbone"
    elif not isinstance(net.similarity_module, DistanceSimilarityModule):
        kind = type(net.similarity_module).__name__
        why = f"similarity is {kind}, and recsae reads dot and cosine (DistanceSimilarityModule)"
    elif preparator.extra_cols:
        why = f"data preparator reads the columns {preparator.extra_cols} beside items and times"
    if why:
        raise CannotOpenModel(f"{name} cannot be attached to: its {why}.")
