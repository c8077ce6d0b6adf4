"""A finished run opened with its model: everything that can be asked of it, by method."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recsae.core import layout
from recsae.explore.concept_facts import ItemLatents, item_latents
from recsae.finished.calibrated import CalibratedSteering, calibrated
from recsae.finished.explained import ExplainedItem, explained_item
from recsae.finished.loaded import LoadedRun
from recsae.finished.profiles import Profile, profiled
from recsae.finished.steered import (
    MigratedSteering,
    Steered,
    TunedSteering,
    Users,
    loaded_steering,
    migrated,
    steered_run,
    text_of,
    texts_of,
    tuned,
)
from recsae.run.open import READ, open_workspace
from recsae.run.tables import RunTables
from recsae.steering.label_check import predictability
from recsae.steering.obeyed.measure import obeyed
from recsae.steering.serving.write import Exported, export
from recsae.steering.tuning.path import MAX_TUNED_LATENTS
from recsae.steering.tuning.request import asked_method, goal_request

if TYPE_CHECKING:
    from recsae.attribution.explanation import Method
    from recsae.attribution.integrated_gradients import Baseline
    from recsae.capture.store import ActivationStore
    from recsae.recommender.protocol import Recommender
    from recsae.run.workspace import Workspace
    from recsae.sae.model import SAE
    from recsae.sae.own import Encodes
    from recsae.steering.label_results import LabelCheck
    from recsae.steering.obeyed.results import Obeyed


class OpenRun(LoadedRun):
    """A finished run and its model: see :func:`open_run`.

    Items are given by id or title, users by id, concepts by name or latent. Every answer is refused
    with ArtifactMismatch if a file that it is worked out from is damaged, or the run was made anew
    meanwhile.
    """

    def __init__(self, work: Workspace, *, trust: bool = False) -> None:
        super().__init__(work.folder)
        self.run = work.run  # as it was when it was opened
        self._work = work
        self._trust = trust

    @property
    def recommender(self) -> Recommender:
        """The model that the run was made of."""
        return self._work.recommender

    @property
    def sae(self) -> SAE:
        """The run's SAE."""
        return self._work.sae

    @property
    def construction_store(self) -> ActivationStore:
        """States of the users that concepts were made from."""
        return self._work.construction_store

    @property
    def heldout_store(self) -> ActivationStore:
        """States of held-out users."""
        return self._work.heldout_store

    def item(self, item: object) -> ItemLatents:
        """The latents that promote an item, and those that are active after it."""
        with self.run.reading(*READ):
            return item_latents(self._work, str(item))

    def profile(
        self,
        *,
        item: object | None = None,
        user: object | None = None,
        users: Users | None = None,
        cohort: str | None = None,
        each_latent: bool = False,
    ) -> Profile:
        """Which concepts are active more often after an item, or among users, than elsewhere.

        Parameters
        ----------
        item, user, users, cohort
            One of these: an item, a user, several users (ids, or a file of ids), or a rule such as
            ``"concept:Horror>0.1"`` or ``"item:Alien"``.
        each_latent
            Every latent by itself, whatever its status.

        Raises
        ------
        InvalidInput
            Not one of them, or it is unknown.
        NotEnoughData
            Too few users to compare.
        """
        with self.run.reading(*READ):
            return profiled(
                self._work, text_of(item), text_of(user), users, cohort, each_latent=each_latent
            )

    def explain(
        self,
        *,
        user: object | None = None,
        sequence: str | Iterable[object] | None = None,
        item: object | None = None,
        latents: Sequence[int] = (),
        method: Method = "both",
        baseline: Baseline = "sampled-users",
        mask_seen: bool = False,
    ) -> ExplainedItem:
        """Why an item stands where it stands in a list: which concepts, from which history.

        Parameters
        ----------
        user, sequence
            One of these: a user, or items, oldest first (a text has them with commas).
        item
            What to explain; None: the first of the list.
        latents
            Attribute these too, besides the three that add most.
        method
            How the items of the history that drive a latent are found.
        baseline
            Where the paths of the gradients begin.
        mask_seen
            Leave out items of the history from the list.

        Raises
        ------
        InvalidInput
            Not one of user and sequence, or something is unknown.
        """
        with self.run.reading(*READ):
            return explained_item(
                self._work,
                self.concepts,
                text_of(user),
                texts_of(sequence),
                text_of(item),
                latents=latents,
                method=method,
                baseline=baseline,
                mask_seen=mask_seen,
            )

    def steer(
        self,
        *settings: str | Mapping[int | str, float] | Steered,
        users: Users | None = None,
        cohort: str | None = None,
    ) -> Steered:
        """Turn concepts, to see lists and metrics without and with that.

        Parameters
        ----------
        settings
            In their order: factors by concept, ``{"Horror": 0, 203: 2}``; texts as ``recsae steer
            --set`` takes them, ``"203+=2sd"``; steerings that were made, found or loaded before.
        users, cohort
            Only for some users; default those of the steerings, or everybody.

        Raises
        ------
        InvalidInput
            A setting that cannot be read, or something is unknown.
        """
        with self.run.reading(*READ):
            return steered_run(self._work, settings, users, cohort)

    def load_steering(self, name: str | Path) -> Steered:
        """A steering file: one kept with the run by its name, or a path ending in ``.json``.

        Raises
        ------
        InvalidInput, ArtifactMismatch
            There is no such file, it was made for another run, or it names what is unknown here.
        """
        return loaded_steering(self._work, str(name))

    def tune(
        self,
        *,
        more: str | Iterable[str] = (),
        less: str | Iterable[str] = (),
        never: str | Iterable[str] = (),
        popularity: str | None = None,
        max_ndcg_loss: float = 0.01,
        users: Users | None = None,
        cohort: str | None = None,
        n_latents: int | None = None,
        method: str | None = None,
        candidates: int | None = None,
        compare: bool = True,
    ) -> TunedSteering:
        """Find the method that gives most of something, or least, and how far to go.

        Parameters
        ----------
        more, less, never
            Names of attributes or concepts: more of them, less of them, or none at all.
        popularity
            Less (``"-"``) or more (``"+"``) popular items, instead.
        max_ndcg_loss
            The part of NDCG@10 that construction users may lose, between 0 and 1.
        users, cohort
            Only for some users.
        n_latents
            How many latents are turned at most; None: 16.
        method
            The one to use: ``"latents"``, ``"latents-by-probability"``, ``"re-ranking"``,
            ``"probability"``, ``"calibrated-probability"``, ``"logit-adjustment"``,
            ``"popularity-direction"``, ``"latents+re-ranking"``, ``"class-mean"``, ``"probe"`` or
            ``"filter"``. None: the one that reaches most on construction users.
        candidates
            Re-rank within so many items, the first by score; None: all. With latents half of them
            are the first after turning. Not with a method that re-ranks nothing.
        compare
            Whether the curves of all methods are drawn as well, on the same held-out users.

        Raises
        ------
        InvalidInput
            Wishes that cannot go together, none, a name that is unknown, a method that is not for
            the goal, or a loss or candidates out of bounds.
        NotEnoughData
            Too few users.
        """
        request = goal_request(_names(more), _names(less), _names(never), popularity, max_ndcg_loss)
        with self.run.reading(*READ):
            return tuned(
                self._work,
                request,
                users,
                cohort,
                n_latents=MAX_TUNED_LATENTS if n_latents is None else n_latents,
                method=asked_method(method, candidates, n_latents, compare=compare),
                candidates=candidates,
                compare=compare,
            )

    def calibrate(
        self,
        attribute: str,
        *,
        max_ndcg_loss: float = 0.01,
        method: str | None = None,
        candidates: int | None = None,
        compare: bool = True,
    ) -> CalibratedSteering:
        """Find lists with each user's own shares of ``"popularity"`` or of an attribute's values.

        ``max_ndcg_loss`` and ``compare`` are as in :meth:`tune`; ``method`` is ``"greedy"`` or
        ``"per-user"`` (None: what leaves the smallest error), ``candidates`` 100 if None.

        Raises
        ------
        InvalidInput
            No such attribute or method, or a loss or candidates out of bounds.
        """
        request = goal_request((), (), (), None, max_ndcg_loss)
        with self.run.reading(*READ):
            return calibrated(
                *(self._work, attribute, request),
                method=method,
                candidates=candidates,
                compare=compare,
            )

    def check_obeyed(self) -> Obeyed:
        """Turn every tested concept and a sample of the baselines' units: which do what they say?

        Returns
        -------
        Obeyed
            One row per unit that was turned, and the two-by-twos of readable and obeyed.
        """
        of_baselines = (layout.BASELINES, f"{layout.PLAIN_FOLDER}/{layout.WEIGHTS_FILE}")
        kept = [name for name in of_baselines if self._has(name)]
        with self.run.reading(*READ, *kept):
            return obeyed(self._work)

    def check_labels(self) -> LabelCheck:
        """Turn every verified concept: does its label say what happens to the lists?"""
        with self.run.reading(*READ):
            return predictability(self._work)

    def migrate(self, name: str | Path, old: str | Path | RunTables) -> MigratedSteering:
        """Carry a steering file of another run over to this one, as after the model was retrained.

        Parameters
        ----------
        name
            A file kept with the other run by its name, or a path ending in ``.json``.
        old
            The other run, or its folder.

        Raises
        ------
        InvalidInput, ArtifactMismatch
            No such file or run, or too little of it has a counterpart here.
        """
        folder = old.folder if isinstance(old, RunTables) else Path(old)
        with self.run.reading(*READ):
            return migrated(self._work, str(name), folder, trust=self._trust)

    def export(
        self,
        out: str | Path,
        *settings: str | Mapping[int | str, float] | Steered,
        formats: Sequence[str] = (),
    ) -> Exported:
        """Write the steered model for serving: weights, a loader without recsae, and a recipe.

        Parameters
        ----------
        out
            An empty folder, or one to make.
        settings
            As in :meth:`steer`.
        formats
            Files to write besides: ``"torch"``, ``"onnx"``.

        Raises
        ------
        InvalidInput
            The folder is not empty, or the SAE or a format cannot be exported.
        """
        with self.run.reading(*READ):
            steered = steered_run(self._work, settings, None, None)
            return export(self._work, steered.steering, Path(out), formats)


def _names(names: str | Iterable[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def open_run(
    folder: str | Path,
    *,
    device: str = "cpu",
    trust: bool = False,
    sae: Encodes | None = None,
) -> OpenRun:
    """Open a finished run and attach to its model again.

    The checkpoint is opened if a file of its very bytes was trusted on this machine before, or with
    ``trust``, which is remembered: the folder may come from somebody else, and vouches for nothing.

    Parameters
    ----------
    folder
        The run's folder.
    device
        Where the model runs.
    trust
        Allow unpickling the checkpoint, which can run code from its author.
    sae
        The SAE that the run was given, where it encodes by code that the run's folder cannot keep.

    Returns
    -------
    OpenRun
        With everything that :func:`load_run` gives, which needs no model, and what the model is
        asked for: explanations, steering, tuning, profiles, export.

    Raises
    ------
    ArtifactMismatch
        No run, an unfinished one, a model that has changed since, or another SAE.
    InvalidInput
        The run was made from a model in memory.
    CannotOpenModel
        The checkpoint has to be trusted, and was not.
    """
    return OpenRun(open_workspace(Path(folder), device, trust=trust, sae=sae), trust=trust)
