"""A finished run opened again, to turn its concepts: a list before and after."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsae.concepts.attributes.table import ItemAttributes
from recsae.concepts.dictionary import ConceptDictionary
from recsae.concepts.wording import concept_name
from recsae.core import columns as C
from recsae.core.errors import ArtifactMismatch, InvalidInput
from recsae.core.files import read_parquet
from recsae.evaluation.scoring import verified_latents
from recsae.recommender.lists import top_of_scores
from recsae.recommender.protocol import hides_history
from recsae.recommender.sequences import pad
from recsae.run.record import Run
from recsae.run.settings import open_recommender
from recsae.sae.editing import Intervention, turning
from recsae.sae.model import SAE
from recsae.sae.statistics import Statistics
from recsae.steering.files import Steering
from recsae.steering.parse import parse_intervention
from recsae.steering.steer import steer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.recommender.protocol import Recommender
    from recsae.recommender.sequences import Batch

N_SHOWN = 10
N_HISTORY = 9
N_PUSHING = 2


@dataclass(frozen=True)
class OpenRun:
    """A run with its recommender attached again."""

    folder: Path
    recommender: Recommender
    sae: SAE
    dictionary: ConceptDictionary
    attributes: ItemAttributes
    statistics: Statistics
    verified: NDArray[np.int64]
    site: str | None

    def interventions(self, settings: tuple[str, ...]) -> list[Intervention]:
        """Read settings such as ``Horror=0``."""
        known = (self.dictionary, self.verified, self.statistics)
        return [parse_intervention(s, *known) for s in settings]

    def targets(self, intervention: Intervention) -> dict[str, NDArray[np.bool_]]:
        """What the intervention's concept says of items, and which items ``(n_items,)`` it fits."""
        row = self.dictionary.table.set_index(C.LATENT).loc[intervention.latents[0]]
        titles = self.recommender.catalog.title_of
        said = (
            (row[attribute], row[value])
            for attribute, value in ((C.ATTRIBUTE, C.VALUE), (C.SECOND_ATTRIBUTE, C.SECOND_VALUE))
            if isinstance(row[attribute], str)
        )
        found = {concept_name(*one, titles): self.attributes.items_with(*one) for one in said}
        return {name: has for name, has in found.items() if has.any()}


def open_run(folder: Path, device: str = "cpu") -> OpenRun:
    """Open a finished run and attach to its model again.

    The checkpoint was trusted when the run was made; it is trusted again only if its bytes are the
    same.

    Raises
    ------
    ArtifactMismatch
        No run, an unfinished one, or a model that has changed since.
    InvalidInput
        The run was made from a model in memory.
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
    recommender = open_recommender(config, trust=True, device=device)
    if recommender.fingerprint() != run.record["model"]:
        raise ArtifactMismatch(f"The model at {config.checkpoint} is not the one of the run.")
    return attached(folder, recommender, config.site)


def attached(folder: Path, recommender: Recommender, site: str | None) -> OpenRun:
    """What the run's folder holds of concepts, with its recommender."""
    return OpenRun(
        folder,
        recommender,
        SAE.load(folder / "sae"),
        ConceptDictionary.load(folder),
        ItemAttributes.load(folder, recommender.catalog.n_items),
        Statistics.load(folder),
        verified_latents(read_parquet(folder / "scores.parquet")),
        site,
    )


class Asked(NamedTuple):
    """One history, as the model reads it, and what its list leaves out."""

    history: list[int]
    batch: Batch
    seen: NDArray[np.int64]


def ask(
    recommender: Recommender, user: str | None, sequence: str | None, *, mask_seen: bool
) -> Asked:
    """A user's history but what the model's own test asks for, or a sequence typed in.

    Items of the history are left out of lists if the model's own lists do that, or if asked.

    Raises
    ------
    InvalidInput
        An unknown user or item, or a sequence for a model that keeps a state per user.
    """
    if sequence is not None:
        history, user_row = _typed_in(recommender, sequence), 0
    else:
        sequences = recommender.sequences()
        row = sequences.row_of(str(user))
        history = sequences[row][: max(1, sequences.known[row])].tolist()
        user_row = int(sequences.user_rows[row])
    hidden = mask_seen or hides_history(recommender)
    seen = np.array(history) if hidden else np.zeros(0, dtype=np.int64)
    return Asked(history, pad([history], recommender.max_length, user_row), seen)


def lists_before_after(
    run: OpenRun,
    steering: Steering,
    user: str | None,
    sequence: str | None,
    *,
    mask_seen: bool,
) -> dict[str, Any]:
    """One list before and after; see :func:`ask` for the history that it is made of."""
    recommender = run.recommender
    history, batch, seen = ask(recommender, user, sequence, mask_seen=mask_seen)

    def top() -> list[int]:
        return top_of_scores(recommender.score(batch), recommender.catalog, N_SHOWN, seen)

    reached = user is None or steering.users is None or user in steering.users
    interventions = steering.interventions if reached else []
    before = top()
    with steer(recommender, run.sae, interventions, site=run.site):
        after = top()
    titles = recommender.catalog.titles
    ids = recommender.catalog.external_ids
    moved = {item: place for place, item in enumerate(before, start=1)}
    gone = [item for item in before if item not in after]
    pushed = _pushed(run, interventions, batch, [*after, *gone])
    return {
        "history": [titles[i] for i in history[-N_HISTORY:]],
        "changed": [str(i) for i in interventions],
        **({} if reached else {"for": f"other users: {user} is not among them"}),
        "left the list": [
            {"item": titles[item], **({"by": pushed[item][1]} if item in pushed else {})}
            for item in gone
        ],
        "table": [
            {
                "place": place,
                "before": f"{titles[old]} ({ids[old]})",
                "after": f"{titles[new]} ({ids[new]})",
                "was": moved.get(new),
                **({"by": pushed[new][0 if moved.get(new, 99) >= place else 1]} if pushed else {}),
            }
            for place, (old, new) in enumerate(zip(before, after, strict=True), start=1)
        ],
    }


def _pushed(
    run: OpenRun, interventions: list[Intervention], batch: Batch, items: list[int]
) -> dict[int, tuple[str, str]]:
    """For each item the turned latents that raised its score most, and those that lowered it most.

    A latent's push is ``(z' - z) d . e`` less its mean over items, since what is added to all
    changes no list. Empty where scores are not linear in the states of the run's site.
    """
    recommender = run.recommender
    head = recommender.linear_head()
    latents, change = turning(run.sae, interventions)
    if head is None or not latents or run.site not in (None, recommender.sites()[0].name):
        return {}
    real = recommender.catalog.recommendable
    centred = head.items[items] - head.items[np.flatnonzero(real)].mean(0)
    z = change(recommender.represent(batch, run.site))[0]
    pushes = (z[:, None] * (run.sae.directions()[latents] @ centred.T)).double().numpy()
    names = run.dictionary.table.set_index(C.LATENT)[C.NAME]

    def told(push: NDArray[np.float64], sign: int) -> str:
        best = [j for j in np.argsort(-sign * push)[:N_PUSHING] if sign * push[j] > 0]
        return ", ".join(f"{names[latents[j]]} ({latents[j]}) {push[j]:+.2f}" for j in best)

    return {
        item: (told(pushes[:, column], 1), told(pushes[:, column], -1))
        for column, item in enumerate(items)
    }


def _typed_in(recommender: Recommender, text: str) -> list[int]:
    if recommender.sites()[0].per_user:
        raise InvalidInput(
            f"{recommender.name} keeps one state for each user and reads no sequence, so it has no "
            "list for one that is typed in: give a user with --user instead."
        )
    return recommender.catalog.parse_sequence(text)
