"""A RecBole sequential model as a :class:`recsae.recommender.Recommender`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsae.catalog import ItemCatalog
from recsae.errors import CannotOpenModel, InvalidInput, NotEnoughData
from recsae.files import digest_of_file
from recsae.hooks import edited_output
from recsae.recommender import (
    EvaluationCases,
    LinearHead,
    Site,
    find_site,
    is_causal,
    verify_head,
)
from recsae.sequences import Batch, Sequences

from .boundary import recbole_boundary
from .dataset import Data
from .evaluation import evaluation_cases
from .states import full_scores, gap, states_of, states_of_positions, verified_width

if TYPE_CHECKING:
    import torch

SITE = "sequence"
MEANING = "what the model knows of a sequence: its scores are made from this vector alone"
PROBES = 32


class _Head(NamedTuple):
    head: LinearHead
    parameter: str
    error: float  # largest difference from the model's scores, relative to the largest score


class ItemSource(NamedTuple):
    """Where titles and attributes of items were looked for."""

    path: Path | None
    columns: tuple[str, ...]


NO_ITEMS = ItemSource(None, ())


class RecBoleRecommender:
    """A RecBole model, attached. The model itself is never changed."""

    plugin = "recbole"

    def __init__(
        self,
        model: Any,
        config: Any,
        data: Data,
        catalog: ItemCatalog,
        path: Path | None = None,
        items: ItemSource = NO_ITEMS,
    ) -> None:
        self.model = model
        self.config = config
        self.data = data
        self.catalog = catalog
        self.path = path
        self.items = items
        self.name = str(config["model"])
        self.dataset = str(config["dataset"])
        self.max_length = int(config["MAX_ITEM_LIST_LENGTH"])
        self.device = next(model.parameters()).device

    # -- data ------------------------------------------------------------------------------------
    def sequences(self) -> Sequences:
        """Every user's whole history."""
        return self.data.sequences

    def evaluation(self, split: str = "test") -> EvaluationCases:
        """The cases of the checkpoint's own evaluation settings.

        Raises
        ------
        InvalidInput, NotEnoughData
            There is no such split; the settings leave it empty.
        """
        sizes = {name: len(part) for name, part in self.data.splits.items()}
        if split not in sizes:
            raise InvalidInput(f"There is no split {split!r}; there are {list(sizes)}.")
        if not sizes[split]:
            settings = self.config["eval_args"]["split"]
            raise NotEnoughData(
                f"The checkpoint's evaluation settings (split {settings}) leave nothing in the "
                f"{split} part; in the others there are {sizes}."
            )
        with recbole_boundary():
            return evaluation_cases(self.config, self.data, split)

    # -- model -----------------------------------------------------------------------------------
    def sites(self) -> list[Site]:
        """The sequence representation, which is what the model's ``forward`` gives."""
        return [self._site]

    @cached_property
    def _site(self) -> Site:
        width = verified_width(self, self.model, self._probe)
        return Site(SITE, MEANING, width, self._gives_every_position())

    def _gives_every_position(self) -> bool:
        try:
            return is_causal(self, None, self._probe)
        except CannotOpenModel:
            return False

    def represent(
        self, batch: Batch, site: str | None = None, *, positions: bool = False
    ) -> torch.Tensor:
        """States at the last item, or at every item through what the model gathers from."""
        if site not in (None, SITE):
            find_site(self, site)
        read = states_of_positions if positions else states_of
        return read(self.model, self.interaction(batch))

    def score(self, batch: Batch) -> torch.Tensor:
        """Scores by the model's own ``full_sort_predict``."""
        return full_scores(self.model, self.interaction(batch))

    def interaction(self, batch: Batch) -> Any:
        """The batch as RecBole's ``Interaction``."""
        from recbole.data.interaction import Interaction

        names = (self.model.ITEM_SEQ, self.model.ITEM_SEQ_LEN, self.model.USER_ID)
        return Interaction(dict(zip(names, batch, strict=True))).to(self.device)

    @cached_property
    def _head(self) -> _Head | None:
        batch = self._probe
        for name, table in self.model.named_parameters():
            if table.shape == (self.catalog.n_items, self._site.width):
                head = LinearHead(table.detach().cpu(), None)
                if verify_head(self, head, batch):
                    ours = head.score(self.represent(batch))
                    return _Head(head, name, gap(self, self.score(batch), ours))
        return None

    def linear_head(self) -> LinearHead | None:
        """The item table whose products with the states are the scores, found by trying."""
        return self._head.head if self._head else None

    def edit(
        self, edit: Callable[[torch.Tensor], torch.Tensor], site: str | None = None
    ) -> AbstractContextManager[None]:
        """Put ``edit`` behind the model's ``forward``; RecBole's own evaluation sees it too."""
        find_site(self, site)
        return edited_output(self.model, edit)

    # -- identity --------------------------------------------------------------------------------
    @cached_property
    def _fingerprint(self) -> str:
        known = {name for names in self.config.parameters.values() for name in names}
        settings = {k: v for k, v in self.config.final_config_dict.items() if k not in known}
        settings["device"] = None
        settings["length"] = self.max_length
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        digest.update("\n".join(self.catalog.external_ids).encode())
        return digest.hexdigest()

    def fingerprint(self) -> str:
        """SHA-256 over weights, the model's own settings, maximum length and item ids."""
        return self._fingerprint

    def sources(self) -> list[str]:
        """The checkpoint, the files of the data set and the item table."""
        paths = [self.path, *self.data.files, self.items.path]
        return list(dict.fromkeys(str(p) for p in paths if p))

    def describe(self) -> dict[str, Any]:
        """Facts for ``recsae inspect``, fit for JSON."""
        import recbole

        sequences, head = self.sequences(), self._head
        found = {"parameter": head.parameter, "relative_error": head.error} if head else None
        return {
            "model": self.name,
            "class": f"{type(self.model).__module__}.{type(self.model).__qualname__}",
            "recbole": str(recbole.__version__),
            "checkpoint_sha256": digest_of_file(self.path) if self.path else None,
            "dataset": self.dataset,
            "data_files": [str(f) for f in self.data.files],
            "users": len(sequences),
            "items": int(self.catalog.recommendable.sum()),
            "interactions": len(sequences.flat),
            "max_length": self.max_length,
            "evaluation": self.config["eval_args"],
            "sites": [vars(site) for site in self.sites()],
            "head": found,
            "items_from": str(self.items.path) if self.items.path else None,
            "item_columns": list(self.items.columns),
            "title_column": self.catalog.title_column,
            "attributes": list(self.catalog.attributes),
            "notes": list(self.catalog.notes),
        }

    @cached_property
    def _probe(self) -> Batch:
        """Some real sequences of different lengths, for numerical checks."""
        sequences = self.sequences()
        rows = np.flatnonzero(sequences.lengths >= 2)
        rows = rows[np.linspace(0, len(rows) - 1, min(PROBES, len(rows))).astype(np.int64)]
        room = np.minimum(sequences.lengths[rows], self.max_length)
        ends = np.maximum(2, room - np.arange(len(rows)) % 7).clip(max=room)
        return sequences.batch(rows, np.zeros_like(rows), ends, self.max_length)
