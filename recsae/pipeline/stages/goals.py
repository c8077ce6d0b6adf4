"""The stage that tries goals: what latents reach for a few of them, and whether labels say so."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from recsae.concepts.attributes.values import own_columns
from recsae.core.errors import InvalidInput, NotEnoughData
from recsae.core.files import plain
from recsae.steering.label_check import predictability
from recsae.steering.tuning.goals import goal_of
from recsae.steering.tuning.popularity import popularity_goal, popularity_of
from recsae.steering.tuning.tune import IN_BRIEF, tune

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recsae.run.workspace import Workspace
    from recsae.steering.tuning.goals import Goal

MAX_LOSS = 0.01
MAX_LOSS_POPULARITY = 0.02
N_GOALS = 2
LOWEST = 0.01
HIGHEST = 0.5
"""Shares of the lists between which values are chosen: of what fills half of them there is little
more to be had, and what is hardly there is known too little."""
MAX_TURNED = 100
MAX_CASES = 1_000
SLOW = (
    "The model ranks so slowly that this would take longer than all the rest: ask for what you "
    "need with `recsae tune` and `recsae steer --check`."
)


def goal_stage(work: Workspace) -> dict[str, Any]:
    """More of up to two attribute values, less popular items, and the check of labels.

    Returns
    -------
    dict
        ``goals``: what :func:`recsae.steering.tuning.tune.tune` found for each, beside other ways
        only where the model need not be run for every case; ``skipped``: goals that could not be
        tried, and why; ``check``: the summary of
        :func:`recsae.steering.label_check.predictability`, None with the reason in
        ``check_skipped`` where it cannot be made.
    """
    found: dict[str, Any] = {"goals": [], "skipped": {}, "check": None, "check_skipped": None}
    if work.recommender.max_positions:
        return {**found, "skipped": {"all goals": SLOW}, "check_skipped": SLOW}
    goals = list(_goals(work))
    for number, (goal, loss) in enumerate(goals, start=1):
        try:
            tuned = tune(work, goal, loss, compare=work.head is not None, sizes=IN_BRIEF)
            found["goals"].append(tuned.found)
        except (InvalidInput, NotEnoughData) as error:
            found["skipped"][goal.name] = str(error)
        if work.progress:
            work.progress(number, len(goals), "goals tried")
    try:
        found["check"] = predictability(work, MAX_TURNED, MAX_CASES)["summary"]
    except InvalidInput as error:
        found["check_skipped"] = str(error)
    return dict(plain(found))


def _goals(work: Workspace) -> Iterator[tuple[Goal, float]]:
    """Goals and what they may cost; where the model must be run for every case, fewer of them."""
    names = _values(work)
    for name in names[: N_GOALS if work.head is not None else 1]:
        yield goal_of(work, (name,), ()), MAX_LOSS
    counts = popularity_of(work.construction)
    real = work.recommender.catalog.recommendable
    yield popularity_goal(counts, real, more=False), MAX_LOSS_POPULARITY


def _values(work: Workspace) -> list[str]:
    """Values of the items' own attributes: the most frequent one and the rarest.

    Of the attribute that says most of items; values are ordered by their share of the lists.
    """
    own = own_columns(work.attributes)
    if not own:
        return []
    lists = np.bincount(work.heldout.top_items.ravel(), minlength=work.attributes.matrix.shape[0])
    has = work.attributes.matrix[:, own] > 0
    share = np.asarray((has.T @ lists) / max(int(lists.sum()), 1)).ravel()
    names = [work.attributes.names[column] for column in own]
    says = Counter[str]()
    for (attribute, _), n in zip(names, np.asarray(has.sum(0)).ravel().tolist(), strict=True):
        says[attribute] += n
    attribute = says.most_common(1)[0][0]
    mine = [
        j
        for j in np.argsort(-share, kind="stable").tolist()
        if names[j][0] == attribute and LOWEST <= share[j] <= HIGHEST
    ]
    places = np.unique(np.linspace(0, len(mine) - 1, min(N_GOALS, len(mine))).astype(int))
    return [": ".join(names[mine[place]]) for place in places.tolist()]
