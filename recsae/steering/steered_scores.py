"""Scores of cases whose states are edited: through the linear head, or by running the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch

from recsae.capture.cases import affordable, spread
from recsae.recommender.lists import top_of_states
from recsae.recommender.protocol import LinearHead
from recsae.sae.editing import active_latents
from recsae.steering.shortlist import FROM_ITEMS, Shortlist

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.recommender.protocol import Recommender
    from recsae.run.workspace import Workspace
    from recsae.sae.model import SAE

    Edit = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

SCORING_BATCH = 4096
"""States, or rows of scores, at a time."""
RUNNING_COST = 20
"""Running the model costs about as many times what its linear head costs."""
MAX_SLOPE_CASES = 100
"""At most so many cases are run to estimate how scores change with each dimension of a state."""
NUDGE = 0.3
"""By how many of its standard deviations a dimension is moved for that."""


class SteeredScores(Protocol):
    """Scores of some cases whose states are edited, for all of them or in parts."""

    cases: Cases
    at_once: bool
    """Whether several threads may ask for scores."""

    def scores(
        self, part: slice, edit: Edit | None = None, latents: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Score a slice of the cases: ``(b, n_items)``.

        ``edit`` takes states ``(m, d)`` and the activations ``(m, len(latents))`` of ``latents``
        there, and returns the states to score in their place.
        """


class HeadScorer:
    """Scores from the states of the cases, through the linear head.

    Activations are computed once.
    """

    at_once = True

    def __init__(self, cases: Cases, sae: SAE, head: LinearHead) -> None:
        self.cases, self.sae, self.head = cases, sae, head
        self.states = torch.from_numpy(cases.states)
        self._activations_of: dict[tuple[int, ...], torch.Tensor] = {}

    def scores(
        self, part: slice, edit: Edit | None = None, latents: torch.Tensor | None = None
    ) -> torch.Tensor:
        """See :class:`SteeredScores`."""
        states = self.states[part]
        if edit is not None:
            states = edit(states, self._read(latents)[part])
        return self.head.score(states)

    def lists(self, edit: Edit | None, latents: torch.Tensor, k: int) -> NDArray[np.int64]:
        """Lists ``(n, k)`` of all cases, their states edited; ``edit`` is as in ``scores``."""
        states = self.states
        if edit is not None:
            z = self._read(latents)
            parts = zip(self.states.split(SCORING_BATCH), z.split(SCORING_BATCH), strict=True)
            states = torch.cat([edit(some, active) for some, active in parts])
        if self.is_large:
            return Shortlist.of(self.cases, self.head).lists(states, k)
        return top_of_states(states, self.head, self.cases.catalog, k, self.cases.seen)

    @property
    def is_large(self) -> bool:
        """Whether there are so many items that lists are made of shortlists."""
        return self.cases.catalog.n_items >= FROM_ITEMS

    def _read(self, latents: torch.Tensor | None) -> torch.Tensor:
        if latents is None or not len(latents):
            return self.states[:, :0]
        key = tuple(latents.tolist())
        if key not in self._activations_of:
            self._activations_of[key] = activations(self.sae, self.states, latents)
        return self._activations_of[key]


class RunningScores:
    """Scores by running the model on the histories of the cases, its states edited at the site."""

    at_once = False  # there is one model to edit

    def __init__(self, cases: Cases, sae: SAE, recommender: Recommender, site: str) -> None:
        self.cases, self.sae, self.recommender, self.site = cases, sae, recommender, site

    def scores(
        self, part: slice, edit: Edit | None = None, latents: torch.Tensor | None = None
    ) -> torch.Tensor:
        """See :class:`SteeredScores`."""
        sequences, length = self.recommender.sequences(), self.recommender.max_length
        rows = self.cases.sequence[part].astype(np.int64)
        ends = self.cases.position[part].astype(np.int64) + 1
        batch = sequences.batch(rows, np.maximum(0, ends - length), ends, length)
        if edit is None:
            return self.recommender.score(batch)
        wanted = torch.zeros(0, dtype=torch.int64) if latents is None else latents

        def edited(states: torch.Tensor) -> torch.Tensor:
            flat = states.reshape(-1, states.shape[-1])
            z = active_latents(self.sae, flat, wanted) if len(wanted) else flat[:, :0]
            return edit(flat, z.to(flat.device)).reshape(states.shape)

        with self.recommender.edit(edited, self.site):
            return self.recommender.score(batch)


def steered_scores_of(work: Workspace, cases: Cases) -> SteeredScores:
    """Return the scores of some cases: through the linear head behind the run's site, or by running
    the model if there is none."""
    if work.head is not None:
        return HeadScorer(cases, work.sae, work.head)
    return RunningScores(cases, work.sae, work.recommender, work.site)


def n_scored(work: Workspace, limit: int, least: int) -> int:
    """Return how many of ``limit`` cases to score.

    Fewer where there are many items, where the model has to be run for each, and where it ranks
    slowly; but not below ``least``.
    """
    n = affordable(limit, work.recommender.catalog.n_items, least)
    if work.head is not None:
        return n
    slow = work.recommender.max_positions or n
    return max(least, min(n // RUNNING_COST, slow // RUNNING_COST))


def thinned(work: Workspace, cases: Cases, limit: int, least: int) -> Cases:
    """Return at most :func:`n_scored` of the cases, evenly spread."""
    n = n_scored(work, limit, least)
    return cases if n >= len(cases) else cases.take(spread(len(cases), n))


def mask_unavailable(
    scores: torch.Tensor, cases: Cases, part: slice | NDArray[np.int64]
) -> torch.Tensor:
    """Return scores ``(b, n_items)`` of some of the cases with -inf for what lists leave out.

    That is what cannot be recommended and, where lists leave them out, the items of the histories.
    """
    banned = torch.from_numpy(~cases.catalog.recommendable)
    masked = scores.masked_fill(banned, float("-inf"))
    seen = cases.seen
    if seen is not None:
        seen.take(part).mask_seen(masked)
    return masked


def activations(sae: SAE, states: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """Activations ``(n, m)`` of some latents on states ``(n, d)``, in batches."""
    return torch.cat([active_latents(sae, part, latents) for part in states.split(SCORING_BATCH)])


class Nearby(NamedTuple):
    """Scores of n cases as a linear function of their states, right near the unedited ones."""

    head: LinearHead
    offsets: torch.Tensor | None = None
    """``(n, n_items)`` of the cases, in place of the head's bias."""

    def score(self, states: torch.Tensor, part: slice) -> torch.Tensor:
        """Scores ``(b, n_items)`` of a slice of the cases, at states ``(b, d)``."""
        scores = self.head.score(states)
        return scores if self.offsets is None else scores + self.offsets[part]

    def among(self, items: NDArray[np.int64]) -> Nearby:
        """The scores of some items alone, ascending."""
        if len(items) == len(self.head.items):
            return self
        bias, which = self.head.bias, torch.from_numpy(items)
        head = LinearHead(self.head.items[which], None if bias is None else bias[which])
        return Nearby(head, None if self.offsets is None else self.offsets[:, which])


def linearised(scorer: SteeredScores) -> Nearby:
    """Return the linear head, or the nearest linear function on the scorer's cases.

    How scores change with each dimension of the states is then the mean over at most a hundred
    cases, by central differences; offsets make up for the rest, so that unedited states have the
    model's own scores.
    """
    if isinstance(scorer, HeadScorer):
        return Nearby(scorer.head)
    cases = scorer.cases
    some = slice(0, len(cases), max(1, -(-len(cases) // MAX_SLOPE_CASES)))
    slopes = []
    for dimension, size in enumerate((NUDGE * cases.states.std(0).clip(1e-6)).tolist()):
        nudge = torch.zeros(cases.states.shape[1])
        nudge[dimension] = size
        up, down = (scorer.scores(some, _adding(by)) for by in (nudge, -nudge))
        slopes.append(((up - down) / (2 * size)).nan_to_num(0, 0, 0).mean(0))
    head = LinearHead(torch.stack(slopes, 1), None)
    parts = [slice(first, first + SCORING_BATCH) for first in range(0, len(cases), SCORING_BATCH)]
    own = torch.cat([scorer.scores(part) for part in parts])
    return Nearby(head, own - head.score(torch.from_numpy(cases.states)))


def _adding(vector: torch.Tensor) -> Edit:
    return lambda states, _: states + vector.to(states)
