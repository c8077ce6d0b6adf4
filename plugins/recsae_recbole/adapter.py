"""A RecBole model as a :class:`recsae.recommender.protocol.Recommender`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsae.core.errors import CannotOpenModel, InvalidInput, NotEnoughData
from recsae.core.files import digest_of, digest_of_file, digest_of_module
from recsae.recommender.catalog import ItemCatalog
from recsae.recommender.checks import is_causal
from recsae.recommender.protocol import (
    EvaluationCases,
    LinearHead,
    Recommender,
    Site,
    StatedScore,
    find_site,
)
from recsae.recommender.sequences import Batch, Sequences, probe_batch
from recsae_recbole.boundary import recbole_boundary
from recsae_recbole.dataset import Data
from recsae_recbole.evaluation import evaluation_cases
from recsae_recbole.items import NO_ITEMS, ItemSource
from recsae_recbole.scoring import ModelCaller
from recsae_recbole.sites.default import DefaultSite, ProbedModel, find_default
from recsae_recbole.sites.embeddings import differentiable_states, lookups_of
from recsae_recbole.sites.heads import Head, facts, find_head
from recsae_recbole.sites.inner import inner_sites
from recsae_recbole.sites.taps import Tap, at_last_item, read, watching_gathered

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from recsae.recommender.embeddings import EmbeddingLookups

SEQUENCE_SITE = "sequence"
"""Name of the default site of sequential models."""
USER_SITE = "user"
"""Name of the default site of general models."""
N_PROBES = 32
"""Sequences on which sites and heads are tried."""
MAX_PAIRS = 5_000_000
"""Predictions that a capture may take of a model that ranks pair by pair: minutes of them."""


class RecBoleRecommender(Recommender):
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
        stated: StatedScore | None = None,
    ) -> None:
        self.model = model
        self.config = config
        self.data = data
        self.catalog = catalog
        self.path = path
        self.items = items
        self.stated = stated
        self.users: pd.DataFrame | None = None
        self.name = str(config["model"])
        self.dataset = str(config["dataset"])
        self.general = not hasattr(model, "ITEM_SEQ")
        self.filters_seen = data.filters_seen
        self.max_length = self._longest()
        self.device = next(model.parameters()).device
        self._scorer = ModelCaller(model, catalog.n_items, self.interaction(self._probe))
        self.max_positions = MAX_PAIRS // catalog.n_items + 1 if self._scorer.by_pairs else None
        self._taps: dict[str, Tap] = {}

    def _longest(self) -> int:
        if not self.general:
            return int(self.config["MAX_ITEM_LIST_LENGTH"])
        learned = self.data.sequences.learned
        return int(self.data.sequences.lengths.max() if learned is None else learned.max())

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

    def stated_score(self) -> StatedScore | None:
        """What the checkpoint says that the model scored in validation."""
        return self.stated

    def user_table(self) -> pd.DataFrame | None:
        """What the data set's ``.user`` file says of users."""
        return self.users

    # -- sites -----------------------------------------------------------------------------------
    def sites(self) -> list[Site]:
        """The sequence's (or user's) representation, then places inside the model."""
        return self._sites

    @cached_property
    def _probed(self) -> ProbedModel:
        import torch

        real = torch.from_numpy(self.catalog.recommendable)
        even = probe_batch(self.sequences(), self.max_length, N_PROBES, even=True)
        tried = self.interaction(self._probe), self.interaction(even)
        return ProbedModel(self.model, self._scorer, *tried, real)

    @cached_property
    def _default(self) -> DefaultSite:
        return find_default(self._probed, general=self.general)

    @cached_property
    def _sites(self) -> list[Site]:
        default, per_user = self._default, self.general
        first = USER_SITE if per_user else SEQUENCE_SITE
        self._taps = {first: default.tap}
        sites = [self._site(first, default.meaning, default.share)]
        for tap, meaning in inner_sites(self._probed):
            if (tap.call, tap.layout) != (default.tap.call, default.tap.layout):
                self._taps[tap.call] = tap
                sites.append(self._site(tap.call, meaning, self._probed.share(tap)))
        return sites

    def _site(self, name: str, meaning: str, share: float) -> Site:
        width = self._probed.states(self._taps[name]).shape[1]
        every, share = self._gives_every_position(name), round(share, 4)
        return Site(name, meaning, width, every, self.general, share)

    def _gives_every_position(self, site: str) -> bool:
        if self.general or self._scorer.by_pairs:
            return False
        try:
            return is_causal(self, site, self._probe)
        except CannotOpenModel:
            return False

    def _tap(self, site: str | None) -> Tap:
        if site is None or site not in self._taps:
            site = find_site(self, site).name
        return self._taps[site]

    # -- model -----------------------------------------------------------------------------------
    def represent(
        self, batch: Batch, site: str | None = None, *, positions: bool = False
    ) -> torch.Tensor:
        """States at the last item, or at every item where one forward has them."""
        name = site if site in self._taps else find_site(self, site).name
        return self.represent_sites(batch, [name], positions=positions)[name]

    def represent_sites(
        self, batch: Batch, sites: Sequence[str], *, positions: bool = False
    ) -> dict[str, torch.Tensor]:
        """States at several sites out of one scoring, which stops behind the last of them."""
        if positions and sites and self.general:
            raise CannotOpenModel(f"{self.name} does not give the states of all positions there.")
        taps = [self._tap(site) for site in sites]
        interaction = self.interaction(batch)
        gathered: list[torch.Tensor] = []
        with ExitStack() as stack:
            if positions and any(tap.layout == "rows" for tap in taps):
                stack.enter_context(watching_gathered(self.model, gathered))
            by_tap = read(taps, lambda: self._scorer.until(interaction))
        states = {}
        for site, tap, seen in zip(sites, taps, by_tap, strict=True):
            if not seen:
                raise CannotOpenModel(f"{tap.call} of {self.name} was not reached in its scoring.")
            last = at_last_item(self.model, tap, seen[-1], interaction)
            every = gathered[-1:] if tap.layout == "rows" else seen[-1:]
            states[site] = self._every(every, last, batch) if positions else last
        return states

    def _every(self, outputs: list[torch.Tensor], last: torch.Tensor, batch: Batch) -> torch.Tensor:
        """States ``(n, length, d)``; whether they are what a forward gives, is_causal says."""
        shape = (*batch.items.shape, last.shape[1])
        if not outputs or outputs[0].shape != shape:
            raise CannotOpenModel(f"{self.name} does not give the states of all positions there.")
        return outputs[0].detach().cpu()

    @cached_property
    def _lookups(self) -> EmbeddingLookups:
        return lookups_of(self.model, self._scorer, self.interaction(self._probe), self._probe)

    def input_vectors(self, batch: Batch) -> torch.Tensor:
        """What the model's item table holds for each item."""
        return self._lookups.vectors(batch.items)

    def represent_from(
        self, batch: Batch, vectors: torch.Tensor, site: str | None = None
    ) -> torch.Tensor:
        """States at the last item with these vectors looked up for the items."""
        tap, interaction = self._tap(site), self.interaction(batch)
        with self._lookups.replaced(batch.items, batch.lengths, vectors):
            return differentiable_states(self.model, tap, self._scorer, interaction)

    def score(self, batch: Batch) -> torch.Tensor:
        """Scores by the model's own ``full_sort_predict``, or ``predict`` over all items."""
        return self._scorer(self.interaction(batch))

    def interaction(self, batch: Batch) -> Any:
        """The batch as RecBole's ``Interaction``."""
        import torch
        from recbole.data.interaction import Interaction

        model = self.model
        if self.general:
            if not bool((batch.users > 0).all()):
                raise InvalidInput(
                    f"{self.name} knows users, not sequences: it can only be asked about users it "
                    "was trained on."
                )
            return Interaction({model.USER_ID: batch.users}).to(self.device)
        names = (model.ITEM_SEQ, model.ITEM_SEQ_LEN, model.USER_ID)
        fields = dict(zip(names, batch, strict=True))
        if hasattr(model, "NEG_ITEM_SEQ"):  # read by DIEN's loss, on which no score depends
            fields[model.NEG_ITEM_SEQ] = torch.zeros_like(batch.items)
        return Interaction(fields).to(self.device)

    @cached_property
    def _head(self) -> Head | None:
        return find_head(self._probed, self._default.tap)

    def linear_head(self) -> LinearHead | None:
        """The item table whose products with the default site's states are the scores."""
        return self._head.head if self._head else None

    def edit(
        self, edit: Callable[[torch.Tensor], torch.Tensor], site: str | None = None
    ) -> AbstractContextManager[None]:
        """Put ``edit`` where the site is; RecBole's own evaluation sees it too."""
        return self._tap(site).edit(edit)

    # -- identity --------------------------------------------------------------------------------
    @cached_property
    def _fingerprint(self) -> str:
        known = {name for names in self.config.parameters.values() for name in names}
        settings = {k: v for k, v in self.config.final_config_dict.items() if k not in known}
        settings["device"] = None
        settings["length"] = self.max_length
        learned = self.data.sequences.learned
        if learned is not None:  # their scores also come from the histories they were trained on
            settings["histories"] = [self.data.sequences.flat.tolist(), learned.tolist()]
        ids = self.catalog.external_ids
        return digest_of([settings, digest_of_module(self.model), ids])

    def fingerprint(self) -> str:
        """SHA-256 over weights, settings, length, item ids and what a general model learned."""
        return self._fingerprint

    def sources(self) -> list[str]:
        """The checkpoint, the files of the data set and the item table."""
        paths = [self.path, *self.data.files, self.items.path]
        return list(dict.fromkeys(str(p) for p in paths if p))

    def describe(self) -> dict[str, Any]:
        """Facts for ``recsae inspect``, fit for JSON."""
        import recbole

        sequences = self.sequences()
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
            "scores_by": "pairs (predict)" if self._scorer.by_pairs else "full_sort_predict",
            "sites": [vars(site) for site in self.sites()],
            "head": facts(self._head),
            "items_from": str(self.items.path) if self.items.path else None,
            "item_columns": list(self.items.columns),
            "user_columns": [] if self.users is None else list(self.users.columns),
            "title_column": self.catalog.title_column,
            "attributes": list(self.catalog.attributes),
            "notes": list(self.catalog.notes),
        }

    @cached_property
    def _probe(self) -> Batch:
        """Some real sequences for numerical checks."""
        batch = probe_batch(self.sequences(), self.max_length, N_PROBES)
        if len(batch.lengths) < 2:
            raise NotEnoughData(
                f"The data has {len(batch.lengths)} histories of two items or more, too few to try "
                "anything on. At least a few dozen are needed."
            )
        return batch
