"""A finished run opened again, and the history that a list is made for."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsae.core import layout
from recsae.core.errors import ArtifactMismatch, CannotOpenModel, InvalidInput
from recsae.recommender.sequences import pad
from recsae.run.kept import KeptRecommender
from recsae.run.record import Run
from recsae.run.settings import open_recommender
from recsae.run.tables import check_latents
from recsae.run.trust import is_trusted, remember_trust
from recsae.run.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from recsae.recommender.protocol import Recommender
    from recsae.recommender.sequences import Batch
    from recsae.run.record import Run
    from recsae.sae.own import Encodes

KEPT = ("sae", "dictionary", "attributes", "statistics", "verified")
"""Pieces of a finished run that are read on opening, so that damage is reported at once."""

READ = (
    *(layout.SAE_CONFIG, layout.SAE_WEIGHTS, layout.CONCEPTS, layout.EXAMPLES),
    *(layout.ATTRIBUTES, layout.LATENTS, layout.SCORES),
    *(f"{store}/{layout.MANIFEST}" for store in layout.STORES),
)
"""Files that answers are worked out from; reports may be written on."""


def open_workspace(
    folder: Path,
    device: str = "cpu",
    *,
    trust: bool = False,
    sae: Encodes | None = None,
) -> Workspace:
    """Open a finished run and attach to its model again, as :func:`recsae.open_run` says it.

    Returns
    -------
    Workspace
        The run; its pieces are read when first used.
    """
    run = Run(folder)
    config = run.config
    if "scoring" not in run.record["stages"]:
        raise ArtifactMismatch(f"The run in {folder} is not finished: run the same command again.")
    for path in run.changed_sources():
        raise ArtifactMismatch(
            f"{path} is gone or has changed since the run in {folder} was made: make a new run."
        )
    if config.checkpoint is None:
        raise InvalidInput(
            f"The run in {folder} was made from a model in memory, which cannot be opened from "
            "here: in Python, use recsae.steer(recommender, SAE.load(folder / 'sae'), ...)."
        )
    with run.reading(*READ):
        model = _recommender(run, device, trust=trust)
        work = Workspace(run, model, finished=True, given=sae)
        for piece in KEPT:
            getattr(work, piece)
    check_latents(work.tested_dictionary.table, folder)
    if len(work.tested_dictionary.table) != work.sae.n_latents:
        raise ArtifactMismatch(
            f"The run in {folder} has {len(work.tested_dictionary.table)} concepts for "
            f"{work.sae.n_latents} latents: run the same `recsae run` again, in another folder."
        )
    return work


def _recommender(run: Run, device: str, *, trust: bool) -> Recommender:
    """The recommender that a run was made of: what the run keeps of it, if it may be opened."""
    checkpoint = Path(str(run.config.checkpoint))
    trusted = trust or is_trusted(checkpoint)
    if layout.KEPT_FACTS not in run.record["stages"]["capture"]["outputs"] or not trusted:
        return _model(run, device, trusted=trusted)
    if trust:
        remember_trust(checkpoint)
    sources = [path for path in run.record["sources"] if path != run.config.items]
    with run.reading(layout.KEPT):
        kept = KeptRecommender(run.folder, sources, partial(_model, run, device, trusted=True))
    return _of_the_run(run, kept)


def _model(run: Run, device: str, *, trusted: bool) -> Recommender:
    """Open the recommender that a run was made of."""
    try:
        recommender = open_recommender(run.config, trust=trusted, device=device)
    except CannotOpenModel as error:
        if trusted:
            raise
        raise CannotOpenModel(
            f"{error} The run in {run.folder} was made elsewhere, or before trust was remembered "
            "on this machine: once with --trust is enough."
        ) from error
    return _of_the_run(run, recommender)


def _of_the_run(run: Run, recommender: Recommender) -> Recommender:
    if recommender.fingerprint() != run.record["model"]:
        raise ArtifactMismatch(f"The model at {run.config.checkpoint} is not the one of the run.")
    return recommender


class ListRequest(NamedTuple):
    """The history that a list of recommendations is made for, and what the list leaves out."""

    history: list[int]
    """Internal item ids, oldest first."""
    batch: Batch
    """The history as the model reads it, one row."""
    seen: NDArray[np.int64]
    """Internal ids of the items that the list leaves out."""


def list_request(
    recommender: Recommender,
    user: str | None,
    sequence: str | Iterable[str] | None,
    *,
    mask_seen: bool,
) -> ListRequest:
    """The request for the list of a user, or of a sequence that was typed in.

    A sequence is item ids or titles, oldest first: one text with commas, or one text for each. A
    user's history is cut before the items that the model's own test holds out. Its items are left
    out of the list with ``mask_seen``, or where the model's own lists leave them out.

    Raises
    ------
    InvalidInput
        An unknown user or item, a sequence for a model that keeps a state per user, or not one of
        user and sequence.
    """
    if (user is None) == (sequence is None):
        raise InvalidInput("Give one of user and sequence.")
    if sequence is not None:
        history, user_row = _typed_in(recommender, sequence), 0
    else:
        sequences = recommender.sequences()
        row = sequences.row_of(str(user))
        history = sequences[row][: max(1, sequences.known[row])].tolist()
        user_row = int(sequences.user_rows[row])
    masked = mask_seen or recommender.filters_seen
    seen = np.array(history) if masked else np.zeros(0, dtype=np.int64)
    return ListRequest(history, pad([history], recommender.max_length, user_row), seen)


def _typed_in(recommender: Recommender, typed: str | Iterable[str]) -> list[int]:
    if recommender.sites()[0].per_user:
        raise InvalidInput(
            f"{recommender.name} keeps one state for each user and reads no sequence, so it has no "
            "list for one that is typed in: give a user with --user instead."
        )
    return recommender.catalog.parse_sequence(typed)
