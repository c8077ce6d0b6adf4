"""A run and its recommender: stores, cases, the SAE, codes, labels, each made when first used."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from recsae.capture.cases import Cases, read_cases
from recsae.capture.fill import capture
from recsae.capture.store import ActivationStore
from recsae.capture.windows import Windows, windows_of
from recsae.concepts.attributes.learnable import UnlearnableAttribute, learnable_attributes
from recsae.concepts.attributes.table import ItemAttributes
from recsae.concepts.attributes.values import item_attributes
from recsae.concepts.corrections import corrected
from recsae.concepts.dictionary import ConceptDictionary, build_concepts
from recsae.concepts.gates.core import Core, FoundCore, find_core
from recsae.concepts.labeler import AttributeLabeler, Labeler, named_labeler
from recsae.concepts.status import verified_latents
from recsae.core import layout
from recsae.core.distributed import SINGLE_PROCESS, Ranks
from recsae.core.files import digest_of, read_parquet
from recsae.core.progress import Progress
from recsae.recommender.protocol import as_recommender, find_site
from recsae.recommender.score_metric import score_metric
from recsae.recommender.sequences import split_users
from recsae.run.active import (
    MAX_CASES,
    TRIED,
    UNTRIED,
    default_latents,
    fewest_that_keep_enough,
    ndcg_kept,
)
from recsae.run.config import RunConfig
from recsae.run.record import Run
from recsae.run.stores import LABEL_CASES, Planned, planned_stores
from recsae.sae.baselines import (
    Baseline,
    LinearCode,
    neurons,
    pca,
    random_directions,
)
from recsae.sae.codes import Codes, sparse_code
from recsae.sae.config import SAEConfig, make_config
from recsae.sae.model import SAE, Gates
from recsae.sae.own import as_sae, given_again, save_own
from recsae.sae.statistics import Statistics
from recsae.sae.train import train_sae

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from recsae.recommender.protocol import LinearHead, Recommender
    from recsae.sae.own import Encodes


class Workspace:
    """A run and its recommender: everything that stages and questions need, made when first used.

    Parameters
    ----------
    run
        The folder and its record.
    recommender
        The recommender that the run was, or is to be, made of.
    progress
        Called with (done, in all, what).
    ranks
        The processes that share the run. They make the stores, the SAE and its codes together;
        :meth:`encode` shares its work only if they are passed to it.
    finished
        The run is read as it is: its SAE is loaded, whatever it was trained with.
    given
        The SAE that the run takes, or took, instead of training one.
    """

    def __init__(
        self,
        run: Run,
        recommender: Recommender,
        progress: Progress | None = None,
        ranks: Ranks = SINGLE_PROCESS,
        *,
        finished: bool = False,
        given: SAE | Encodes | None = None,
    ) -> None:
        self.run, self.finished, self._given = run, finished, given
        self.config: RunConfig = run.config
        self.recommender = recommender = as_recommender(recommender)
        self.progress = progress
        self.ranks = ranks
        self.folder: Path = run.folder
        site = find_site(recommender, run.config.site)
        self.site = site.name
        config = run.config
        self._requested_config = make_config(
            n_latents=config.latents,
            k=config.k or UNTRIED,
            activation=config.activation,
            n_samples=config.samples,
            seed=config.seed,
        )
        self._requested_config.resolved(
            site.width
        )  # refuses what cannot be before anything is written

    @cached_property
    def heldout_users(self) -> NDArray[np.bool_]:
        """``(n_sequences,)`` True for users kept for testing."""
        return split_users(self.recommender.sequences())

    @cached_property
    def _planned(self) -> dict[str, Planned]:
        return planned_stores(self.config, self.heldout_users)

    def store(self, name: str) -> ActivationStore:
        """Capture (or open) the states of construction users, ``activations``, or ``heldout``."""
        if self.finished:
            with self.run.reading(f"{name}/*"):
                return ActivationStore(self.folder / name)
        plan = self._planned[name]
        return capture(
            self.recommender,
            plan.rows,
            self.folder / name,
            site=self.site,
            limit=plan.limit,
            seed=self.config.seed,
            exact=plan.exact,
            progress=self.progress,
            ranks=self.ranks,
        )

    def windows(self, name: str) -> Windows:
        """The windows that a store is captured from."""
        site, plan = find_site(self.recommender, self.site), self._planned[name]
        seed = self.config.seed
        return windows_of(self.recommender, site, plan.rows, plan.limit, seed, exact=plan.exact)

    @cached_property
    def construction_store(self) -> ActivationStore:
        """States that the SAE is trained on."""
        return self.store(layout.CONSTRUCTION_STORE)

    @cached_property
    def heldout_store(self) -> ActivationStore:
        """States that everything is tested on."""
        return self.store(layout.HELDOUT_STORE)

    @cached_property
    def construction(self) -> Cases:
        """Cases that concepts are built on."""
        recommender = self.recommender
        sequences, catalog = recommender.sequences(), recommender.catalog
        return read_cases(self.construction_store, sequences, catalog, LABEL_CASES)

    @cached_property
    def heldout(self) -> Cases:
        """Cases that everything is tested on."""
        recommender = self.recommender
        return read_cases(self.heldout_store, recommender.sequences(), recommender.catalog)

    @cached_property
    def halves(self) -> tuple[tuple[NDArray[np.int64], Cases], tuple[NDArray[np.int64], Cases]]:
        """Rows and cases of every other held-out user, and of the rest."""
        even = self.heldout.user % 2 == 0
        first, second = np.flatnonzero(even), np.flatnonzero(~even)
        return (first, self.heldout.take(first)), (second, self.heldout.take(second))

    @property
    def users_of_halves(self) -> list[NDArray[np.int64]]:
        """The users of each half, as the held-out cases number them."""
        return [np.unique(self.heldout.user[rows]) for rows, _ in self.halves]

    @cached_property
    def head(self) -> LinearHead | None:
        """The linear head behind the run's site, if there is one."""
        default = self.recommender.sites()[0].name
        return self.recommender.linear_head() if self.site == default else None

    @property
    def item_table(self) -> torch.Tensor | None:
        """``(n, d)`` of the items that can be recommended, where scores are products with it."""
        if self.head is None:
            return None
        return self.head.items[torch.from_numpy(self.recommender.catalog.recommendable)]

    def _sae_config(self, k: int) -> SAEConfig:
        """Settings of the SAE, all filled in."""
        width = self.construction_store.width
        n_latents = self._requested_config.n_latents or default_latents(
            width, k, len(self.heldout_store)
        )
        size = {"n_latents": n_latents, "k": k}
        beside = len(self.core.core.statements) > 0
        return self._requested_config.model_copy(update=size).resolved(width, beside_gates=beside)

    @cached_property
    def metric(self) -> NDArray[np.float64]:
        """``(d, d)`` what an error in a state does to the scores."""
        width = find_site(self.recommender, self.site).width
        return score_metric(self.head, self.recommender.catalog.recommendable, width)

    @cached_property
    def core(self) -> FoundCore:
        """The gates beside the SAE: found, or read where that was done."""
        if self.finished:
            with self.run.reading(layout.CORE, layout.CORE_ARRAYS):
                return FoundCore.load(self.folder)
        _ = self.construction_store  # which all processes make together
        return self.ranks.broadcast_from_main(self._core_of_config)

    def _core_of_config(self) -> FoundCore:
        config = self.config
        if config.core == "none":
            asked: object = None
        else:
            attributes = self.attribute_labeler.attributes
            asked = attributes.names, attributes.digest, config.attributes_first, config.seed
        made_from = digest_of([self.construction_store.fingerprint, asked])
        if FoundCore.is_there(self.folder, made_from):
            return FoundCore.load(self.folder)
        if config.core == "none":
            found = FoundCore.nothing(self.construction_store.width)
        else:
            first = config.attributes_first or []
            found = find_core(
                self.attribute_labeler, self.construction, self.metric, config.seed, first
            )
        found.save(self.folder, made_from)
        return found

    @cached_property
    def sae(self) -> SAE:
        """The SAE: trained, or read where that was done."""
        if self.finished and self._given is None:
            return SAE.load(self.folder / layout.SAE_FOLDER)
        if self.finished:
            return given_again(self._given, self.config.sae, self.construction_store, self.folder)
        if self._given is not None:
            sae = as_sae(self._given, self.construction_store)
            main = self.ranks.broadcast_from_main
            main(lambda: save_own(sae, self.construction_store, self.folder))
            return sae
        tried = TRIED if self.head is not None else (UNTRIED,)
        gates, config = gates_of(self.core.core), self._sae_config(UNTRIED).model_dump()
        store = self.construction_store.fingerprint
        return fewest_that_keep_enough(
            tried if self.config.k is None else (self.config.k,),
            self._trained,
            lambda sae: ndcg_kept(sae, self.construction.sample(MAX_CASES), self.head),
            self.folder / layout.K_TRIED,
            digest_of([store, config, [part.tolist() for part in gates]]),
            self.ranks,
        )

    def _trained(self, k: int) -> SAE:
        """The SAE with so many active latents, besides open gates."""
        return train_sae(
            self.construction_store,
            self._sae_config(k),
            self.folder / layout.SAE_FOLDER,
            gates=gates_of(self.core.core),
            items=self.item_table,
            progress=self.progress,
            ranks=self.ranks,
        )

    @cached_property
    def users_digest(self) -> str | None:
        """Another one if the recommender knows other things of its users; None if nothing."""
        table = self.recommender.user_table()
        return None if table is None else digest_of(table.to_csv())

    @cached_property
    def _learnable(self) -> tuple[ItemAttributes, list[UnlearnableAttribute]]:
        return learnable_attributes(
            item_attributes(
                self.recommender.catalog, self.construction, self.recommender.user_table()
            ),
            self.construction,
        )

    @property
    def left_out(self) -> list[UnlearnableAttribute]:
        """Attributes that no probe can learn from the states: no label speaks of them."""
        return self._learnable[1]

    @cached_property
    def attribute_labeler(self) -> AttributeLabeler:
        """Labels by item attributes, chosen on construction cases."""
        return AttributeLabeler(self._learnable[0])

    @cached_property
    def labeler(self) -> Labeler:
        """Who labels the SAE's latents and those of all it is compared with."""
        name = self.config.labeler
        if name is None:
            return self.attribute_labeler
        return named_labeler(name)(self.attribute_labeler.attributes)

    def label(self) -> ConceptDictionary:
        """Concepts of the SAE's latents: gates are called what they were asked for."""
        asked = self.core.core.statements
        return build_concepts(self.sae_codes[0], self.construction, self.labeler, asked)

    @cached_property
    def tested_dictionary(self) -> ConceptDictionary:
        """The SAE's concepts, as they were tested: without people's corrections."""
        return ConceptDictionary.load(self.folder)

    @cached_property
    def dictionary(self) -> ConceptDictionary:
        """The SAE's concepts, with the names that people gave."""
        return corrected(self.tested_dictionary, self.folder)

    @cached_property
    def attributes(self) -> ItemAttributes:
        """Values that labels speak of and the items that have them, as kept with the run."""
        return ItemAttributes.load(self.folder, self.recommender.catalog.n_items)

    @cached_property
    def statistics(self) -> Statistics:
        """How large the activations of each latent are, as kept with the run."""
        return Statistics.load(self.folder)

    @cached_property
    def label_scores(self) -> Any:
        """The SAE's concepts, tested: one row per latent."""
        return read_parquet(self.folder / layout.SCORES)

    @cached_property
    def sae_codes(self) -> Codes:
        """The SAE's activations on construction and held-out cases."""
        return self.encode(self.sae, self.ranks)

    @cached_property
    def n_active(self) -> int:
        """Active latents per case, rounded: so many units of a baseline are active too."""
        if not self.sae.n_gates:
            return self.sae.config.k
        construction = self.sae_codes.construction
        return max(1, round(int(construction.nnz) / int(construction.shape[0])))

    @cached_property
    def plain_sae(self) -> SAE:
        """An SAE without gates, of as many latents, as many of them active; the run's own if it has
        none. The process that asks for it trains it."""
        if not self.sae.n_gates:
            return self.sae
        size = {"n_latents": self.sae.n_latents, "k": self.n_active}
        config = self._requested_config.model_copy(update=size).resolved(self.sae.width)
        store, folder = self.construction_store, self.folder / layout.PLAIN_FOLDER
        return train_sae(store, config, folder, progress=self.progress)

    def encode(self, code: SAE | Baseline, ranks: Ranks = SINGLE_PROCESS) -> Codes:
        """A code's activations on construction and held-out cases."""
        encode = code.encode_sparse
        n = code.n_latents
        return Codes(
            sparse_code(encode, self.construction.states, n, ranks),
            sparse_code(encode, self.heldout.states, n, ranks),
        )

    def on_main_process(self, do: Callable[[], object]) -> None:
        """Run ``do`` in the first process only.

        The stores, the SAE and its codes, which all processes make together, are made first.
        """
        if self.ranks.size > 1:
            _ = self.sae_codes  # of the SAE and both stores
        self.ranks.broadcast_from_main(lambda: (do(), None)[1])

    def baseline(self, name: str, k: int | None) -> LinearCode:
        """A baseline code with k active units per state (None: dense)."""
        store = self.construction_store
        if name == "neurons":
            return neurons(store, k)
        if name == "pca":
            return pca(store, k)
        return random_directions(store, k or 1, self.sae.n_latents, self.config.seed + 1)

    @cached_property
    def verified(self) -> NDArray[np.int64]:
        """Latents whose concepts are verified."""
        return verified_latents(self.label_scores)


def gates_of(core: Core) -> Gates:
    """The gates of a core, as an SAE takes them."""
    return Gates(*(torch.from_numpy(part) for part in core[1:]))
