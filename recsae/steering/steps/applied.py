"""A steering applied: edited states, their scores, and lists out of these. The one place for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from recsae.core.errors import InvalidInput
from recsae.core.threads import in_one_piece
from recsae.recommender.lists import rows_at_once
from recsae.sae.editing import Intervention, make_edit, turned_states, turning
from recsae.steering.frontier import LIST_LENGTH
from recsae.steering.steered_scores import HeadScorer, mask_unavailable, steered_scores_of
from recsae.steering.steps.blocks import Blocks
from recsae.steering.steps.goals import goal_of
from recsae.steering.steps.kinds import (
    Calibration,
    Direction,
    Filter,
    ReRanking,
    Wishes,
    edits_states,
    in_order,
)
from recsae.steering.steps.pools import CalibratedP, Pool
from recsae.steering.steps.ranking import (
    NOTHING,
    Beside,
    Calibrated,
    Ranking,
    Reorder,
    best_of,
)
from recsae.steering.steps.targets import item_shares

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.run.workspace import Workspace
    from recsae.sae.model import SAE
    from recsae.steering.calibration.shares import ItemShares
    from recsae.steering.steered_scores import Edit, SteeredScores
    from recsae.steering.steps.first import FirstItems
    from recsae.steering.steps.goals import Goal
    from recsae.steering.steps.kinds import Step

    GoalOf = Callable[[Wishes], Goal]
    SharesOf = Callable[[str], ItemShares]

NO_LATENTS = torch.zeros(0, dtype=torch.int64)
RANKED_AT_ONCE = 1024
"""Cases whose lists are made of pools at a time."""
MAX_KEPT = 2**24
"""Items of pools that are kept from one strength to the next."""


class Applied(NamedTuple):
    """What is done to states, and what to lists, at one strength."""

    latents: torch.Tensor = NO_LATENTS
    """``(m,)`` latents whose activations the edit reads."""
    edit: Edit | None = None
    """Of states ``(b, d)`` and those activations ``(b, m)``; None: states stay."""
    ranking: Ranking | None = None
    """None: lists are those of the scores."""

    @property
    def needs_own(self) -> bool:
        """Whether lists are made of the scores of unedited states as well."""
        return self.ranking is not None and self.ranking.needs_own

    def of_scores(self, scores: torch.Tensor, k: int, beside: Beside = NOTHING) -> torch.Tensor:
        """Lists ``(n, k)`` by scores of the edited states, -inf for what lists leave out."""
        return best_of(scores, k) if self.ranking is None else self.ranking.lists(scores, k, beside)

    def lists(
        self,
        scorer: SteeredScores,
        k: int,
        kept: dict[str, Pool] | None = None,
        first: FirstItems | None = None,
    ) -> NDArray[np.int32]:
        """Lists ``(n, k)`` of the scorer's cases, in threads where scores allow it.

        ``kept`` is where pools are kept between calls that differ in the gain of the last
        re-ranking only, and edit states alike; ``first`` are the first items of the cases, where
        they are known.
        """
        ranking, cases = self.ranking, scorer.cases
        k = min(k, int(cases.catalog.recommendable.sum()))
        if ranking is None and self.edit is None and k <= cases.top_items.shape[1]:
            return cases.top_items[:, :k]  # the model's own
        if ranking is None and isinstance(scorer, HeadScorer):
            return scorer.lists(self.edit, self.latents, k).astype(np.int32)

        last = None if ranking is None else ranking.last
        if ranking is None or last is None or last.width(k) is None:
            return _lists_in_parts(
                scorer,
                rows_at_once(cases.catalog.n_items),
                lambda part: self.of_scores(*self._scores(scorer, part, k)),
            )
        size, pool = self._pools(ranking, scorer, k, first)
        if kept is None or (last.width(k) or 0) * len(cases) > MAX_KEPT:
            return _lists_in_parts(scorer, size, lambda part: last.lists(pool(part), k))
        if "pool" not in kept:
            kept["pool"] = Pool(*_in_parts(scorer, size, lambda part: pool(part).small()))
        known = kept["pool"]
        (lists,) = in_one_piece(
            lambda part: [last.lists(known.take(part), k).int()], len(cases), RANKED_AT_ONCE
        )
        return lists.numpy()

    def _scores(
        self, scorer: SteeredScores, part: slice, k: int
    ) -> tuple[torch.Tensor, int, Beside]:
        """What lists of k of some of the cases are made of."""
        own, cases = None, scorer.cases
        if self.needs_own:
            own = mask_unavailable(scorer.scores(part), cases, part)
        beside = Beside(cases.histories.take(part), own)
        return self._turned(scorer, part), k, beside

    def _turned(self, scorer: SteeredScores, part: slice) -> torch.Tensor:
        """Scores ``(b, n_items)`` of edited states, -inf for what lists leave out."""
        return mask_unavailable(scorer.scores(part, self.edit, self.latents), scorer.cases, part)

    def _pools(
        self, ranking: Ranking, scorer: SteeredScores, k: int, first: FirstItems | None
    ) -> tuple[int, Callable[[slice], Pool]]:
        """How many cases at a time, and what makes the pools of some."""
        alone, size = ranking.alone, rows_at_once(scorer.cases.catalog.n_items)
        if alone and first and alone.begins_with(first):
            if self.needs_own:
                return size, lambda part: alone.pool_of(
                    first.of(part), k, self._turned(scorer, part)
                )
            if self.edit is None:
                return RANKED_AT_ONCE, lambda part: alone.pool_of(first.of(part), k)
        if alone and alone.by_parts and isinstance(scorer, HeadScorer):
            blocks = Blocks(scorer.cases, scorer.head, alone.parts(k))
            return RANKED_AT_ONCE, partial(self._pool_of_blocks, scorer, blocks, alone, k)
        return size, lambda part: ranking.pool(*self._scores(scorer, part, k))

    def _pool_of_blocks(
        self, scorer: HeadScorer, blocks: Blocks, last: Reorder, k: int, part: slice
    ) -> Pool:
        states = scorer.moved(part, self.edit, self.latents)
        with torch.no_grad():
            return last.settled(blocks.pool(states, part, last.temperature), k)


def _in_parts(
    scorer: SteeredScores, size: int, make: Callable[[slice], Iterable[torch.Tensor]]
) -> list[torch.Tensor]:
    return in_one_piece(make, len(scorer.cases), size, at_once=scorer.at_once)


def _lists_in_parts(
    scorer: SteeredScores, size: int, make: Callable[[slice], torch.Tensor]
) -> NDArray[np.int32]:
    (lists,) = _in_parts(scorer, size, lambda part: [make(part).int()])
    return lists.numpy()


def applied(
    steps: Iterable[Step],
    sae: SAE,
    goal_of_wishes: GoalOf,
    shares_of_attribute: SharesOf | None = None,
) -> Applied:
    """Apply steps in their order; every edit of states reads them as they were unsteered.

    ``shares_of_attribute`` looks up what lists are calibrated by; without it no step may calibrate.

    Raises
    ------
    InvalidInput
        Steps that the SAE or the items do not have, or that cannot go together.
    """
    ordered = in_order(steps)
    turned = turning(sae, [step for step in ordered if isinstance(step, Intervention)])
    shift, directions = shift_of(ordered, sae.width), sae.directions()[turned.latents]

    def edit(states: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        edited = states
        if turned.latents:
            edited = turned_states(states, turned.of_activations(z), directions)
        return edited if shift is None else edited + shift.to(states)

    return Applied(
        torch.tensor(turned.latents, dtype=torch.int64),
        edit if any(map(edits_states, ordered)) else None,
        ranking_of(ordered, goal_of_wishes, shares_of_attribute),
    )


def applied_in(work: Workspace, steps: Iterable[Step]) -> Applied:
    """Apply steps to a run; see :func:`applied`."""
    return applied(steps, work.sae, partial(goal_of, work), partial(item_shares, work))


def steered_lists(work: Workspace, cases: Cases, steps: Iterable[Step]) -> NDArray[np.int32]:
    """Make the lists ``(n, 10)`` of the cases under a steering."""
    return applied_in(work, steps).lists(steered_scores_of(work, cases), LIST_LENGTH)


def state_edit(sae: SAE, steps: Iterable[Step]) -> Callable[[torch.Tensor], torch.Tensor]:
    """The edit of raw states ``(..., d)`` by those of the steps that edit states."""
    steps = list(steps)
    edit = make_edit(sae, [step for step in steps if isinstance(step, Intervention)])
    shift = shift_of(steps, sae.width)
    return edit if shift is None else lambda states: edit(states) + shift.to(states)


def shift_of(steps: Iterable[Step], width: int) -> torch.Tensor | None:
    """The vector ``(d,)`` that directions add to every state; None without any.

    Raises
    ------
    InvalidInput
        A direction of another width.
    """
    shift = None
    for step in steps:
        if isinstance(step, Direction):
            if len(step.vector) != width:
                raise InvalidInput(
                    f"The direction {step.name!r} has {len(step.vector)} numbers, and states here "
                    f"have {width}."
                )
            added = step.strength * torch.tensor(step.vector)
            shift = added if shift is None else shift + added
    return shift


def ranking_of(
    steps: Iterable[Step], goal_of_wishes: GoalOf, shares_of_attribute: SharesOf | None
) -> Ranking | None:
    """What the steps do to lists, the items' weights looked up; None: nothing."""
    banned, reorders, calibrated = None, [], None
    for step in steps:
        if isinstance(step, Filter):
            items = torch.from_numpy(goal_of_wishes(Wishes(never=step.never)).items)
            banned = items if banned is None else banned | items
        elif isinstance(step, ReRanking):
            if step.edits == "pushes":  # which weigh by themselves
                weights = torch.zeros(0)
            else:
                goal = goal_of_wishes(step.wishes)
                by = goal.log_popularity if step.by == "log popularity" else goal.weights
                weights = torch.tensor(by)
            how = step.strength * step.unit, step.temperature, step.candidates
            better = calibrated_by(step, goal_of_wishes)
            reorders.append(Reorder.of(weights, *how, step.edits, better))
        elif isinstance(step, Calibration):
            if shares_of_attribute is None:
                raise ValueError("nothing to look attributes up in")
            calibrated = Calibrated(
                shares_of_attribute(step.attribute),
                step.by,
                step.strength,
                step.temperature,
                step.candidates,
            )
    if banned is None and not reorders and calibrated is None:
        return None
    return Ranking(banned, tuple(reorders), calibrated)


def calibrated_by(step: ReRanking, goal_of_wishes: GoalOf) -> CalibratedP | None:
    """What makes better probabilities, the items' popularity looked up; None: the model's own."""
    powers = step.powers
    if powers is None:
        return None
    logs = goal_of_wishes(Wishes(popularity="+")).log_popularity
    return CalibratedP(powers.p, powers.place, powers.popularity * torch.tensor(logs))
