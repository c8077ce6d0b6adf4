"""Measure what steering costs and gives groups of users, and warn where that is uneven."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsae.core.intervals import paired_ratio, ratio_difference
from recsae.steering.fairness.groups import divided
from recsae.steering.fairness.results import GroupEffect, GroupEffects, users_words
from recsae.steering.steps.goals import popularity_of

if TYPE_CHECKING:
    from recsae.capture.cases import Cases
    from recsae.run.workspace import Workspace
    from recsae.steering.fairness.groups import Divided, Division, Group
    from recsae.steering.frontier import Estimate, Outcome

SEVERAL = 3.0
"""One group must lose so many times the part of NDCG@10 that another loses."""
SURELY = 2.0
"""And by the interval more than so many times that."""
CHANCE = 0.05
"""How likely any pair of groups at all may seem to differ by chance."""


class Pair(NamedTuple):
    """Two groups of one division, the one that loses more of NDCG@10 first.

    Losses are parts of a group's own NDCG@10; intervals allow for the number of pairs.
    """

    more: Group
    less: Group
    difference: Estimate
    """By how much the loss of the first exceeds that of the second."""
    beyond: Estimate
    """By how much it exceeds twice that of the second."""


def group_effects(
    work: Workspace, cases: Cases, before: Outcome, after: Outcome, quantity: str | None
) -> GroupEffects:
    """What steering costs and gives groups of the users of some cases, from their outcomes.

    ``quantity`` is the name of what is counted in the lists; None if nothing is.
    """
    popularity = popularity_of(work.construction)
    return effects_of(
        divided(cases, work.recommender.user_table(), popularity), before, after, quantity
    )


def effects_of(
    groups: Divided, before: Outcome, after: Outcome, quantity: str | None
) -> GroupEffects:
    """Measure groups, and warn of each division in which one loses several times what another does.

    There is a warning if a group loses at least three times the part of NDCG@10 that another loses
    and if intervals say that this is a loss, that it is larger, and that it is more than twice as
    large: the estimate alone comes out too large where it is looked for among many. The 5 % that
    may go wrong are shared by all divisions alike, and in each by its pairs (Bonferroni): where
    groups differ in nothing, there is a warning in one of twenty steerings at most.
    """
    divisions = [
        division._replace(groups=tuple(g for g in division.groups if before.ndcg[g.users].any()))
        for division in groups.divisions
    ]
    pairs = [_pairs(one, before, after, CHANCE / len(divisions)) for one in divisions]
    intervals = [pair.beyond for some in pairs for pair in some]
    warnings = [
        _warning(division.by, some, before, after)
        for division, some in zip(divisions, pairs, strict=True)
    ]
    return GroupEffects(
        quantity=quantity,
        rows=tuple(
            _effect(division, group, before, after, counted=quantity is not None)
            for division in divisions
            for group in division.groups
        ),
        warnings=tuple(said for said in warnings if said),
        n_compared=len(intervals),
        margin=min(((high - low) / 2 for _, low, high in intervals), default=None),
        left_out=groups.left_out,
    )


def _effect(
    division: Division, group: Group, before: Outcome, after: Outcome, *, counted: bool
) -> GroupEffect:
    mine = group.users
    n = float(before.n[mine].sum())
    ratio = paired_ratio(after.share[mine], before.share[mine])
    return GroupEffect(
        by=division.by,
        value=group.value,
        n_users=int(mine.sum()),
        ndcg_before=float(before.ndcg[mine].sum()) / n,
        ndcg_kept=_kept(before, after, group),
        before=float(before.share[mine].sum()) / n if counted else None,
        after=float(after.share[mine].sum()) / n if counted else None,
        ratio=ratio if counted and np.isfinite(ratio).all() else None,
    )


def _kept(before: Outcome, after: Outcome, group: Group) -> Estimate:
    return paired_ratio(after.ndcg[group.users], before.ndcg[group.users])


def _pairs(division: Division, before: Outcome, after: Outcome, chance: float) -> list[Pair]:
    """All pairs of groups, with intervals that are all true but for so much chance."""
    pairs = list(combinations(division.groups, 2))
    lost, confidence = before.ndcg - after.ndcg, 1 - chance / max(1, len(pairs))

    def compared(more: Group, less: Group) -> Pair:
        users = more.users, less.users
        return Pair(
            *(more, less),
            ratio_difference(lost, before.ndcg, users, confidence),
            ratio_difference(lost, before.ndcg, users, confidence, SURELY),
        )

    found = [compared(one, other) for one, other in pairs]
    return [x if x.difference[0] >= 0 else compared(x.less, x.more) for x in found]


def _warning(by: str, pairs: list[Pair], before: Outcome, after: Outcome) -> str | None:
    """A sentence on the pair that differs most surely; None if none differs so."""
    for pair in sorted(pairs, key=lambda pair: -pair.beyond[1]):
        if min(pair.difference[1], pair.beyond[1]) <= 0:
            continue
        more, less = (_kept(before, after, group) for group in (pair.more, pair.less))
        if more[2] < 1 and 1 - more[0] >= SEVERAL * (1 - less[0]):
            who, others = (users_words(by, group.value) for group in (pair.more, pair.less))
            return f"Uneven by {by}: {who} {_loses(more)}, {others} {_loses(less)}."
    return None


def _loses(kept: Estimate) -> str:
    """What is lost, in words.

    >>> _loses((0.958, 0.945, 0.971)), _loses((1.004, 0.998, 1.01))
    ('lose 4.2% of NDCG@10 (2.9 to 5.5)', 'gain 0.4% of NDCG@10 (-0.2 to 1.0)')
    >>> _loses((1.0003, 0.99, 1.01))
    'lose 0.0% of NDCG@10 (-1.0 to 1.0)'
    """
    gained, low, high = (100 * (figure - 1) for figure in kept)
    if gained < 0.05:
        return f"lose {abs(gained):.1f}% of NDCG@10 ({-high:.1f} to {-low:.1f})"
    return f"gain {gained:.1f}% of NDCG@10 ({low:.1f} to {high:.1f})"
