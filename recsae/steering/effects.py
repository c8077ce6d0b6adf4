"""Effects of steering on held-out users: on the model's own test cases, and at all positions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from recsae.core.errors import NotEnoughData
from recsae.core.intervals import paired_ratio
from recsae.core.notebook.cells import Table, card
from recsae.recommender.evaluation import (
    evaluation_cases,
    histories_of_groups,
    hits_in,
    list_length,
    restrict,
    scores_of_groups,
    top_lists,
)
from recsae.recommender.metrics import ranking_metrics
from recsae.recommender.sequences import split_users
from recsae.sae.editing import Intervention
from recsae.steering.calibration.figures import divergence
from recsae.steering.fairness.measure import group_effects
from recsae.steering.frontier import LIST_LENGTH, Counted, outcome_of
from recsae.steering.parse import targets_of
from recsae.steering.steered_scores import steered_scores_of, thinned
from recsae.steering.steps.applied import Applied, applied_in, state_edit, steered_lists
from recsae.steering.steps.goals import goal_of
from recsae.steering.steps.kinds import Calibration, Filter, ReRanking, Wishes
from recsae.steering.steps.ranking import Beside
from recsae.steering.steps.targets import item_shares
from recsae.steering.unchanged import Unchanged, why_unchanged
from recsae.steering.words import in_words, promoted_values, unknown_users

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.recommender.lists import History
    from recsae.recommender.protocol import EvaluationCases
    from recsae.run.workspace import Workspace
    from recsae.steering.fairness.results import GroupEffects
    from recsae.steering.files import Steering
    from recsae.steering.frontier import Estimate, Outcome
    from recsae.steering.steps.kinds import Step

    Floats = NDArray[np.float64]
    Targets = Mapping[str, NDArray[np.bool_] | NDArray[np.int64]]

POPULARITY = "average popularity"
MIN_POSITIONS = 500
"""Where the model must be run for each position, so many are measured at least."""


@dataclass(frozen=True)
class MeasureChange:
    """One measure of the lists without and with steering."""

    measure: str
    before: float
    after: float
    ratio: Estimate
    """``after`` as a multiple of ``before``."""

    def to_dict(self) -> dict[str, Any]:
        """As a row of a table."""
        ratio, low, high = self.ratio
        return {
            "measure": self.measure,
            "before": self.before,
            "after": self.after,
            "times": ratio,
            "low": low,
            "high": high,
        }


@dataclass(frozen=True)
class SteeringEffect:
    """What steering does to the held-out users it is for."""

    steps: tuple[Step, ...]
    done: tuple[str, ...]
    """The steps in words."""
    n_intended_users: int | None
    """How many users it is for; None: everybody."""
    n_unknown_users: int
    """How many of these the model does not know."""
    n_users: int
    """How many of them are held out, and so measured."""
    lists_changed: float
    """Part of the lists of the model's own test that are not as they were."""
    own_test: tuple[MeasureChange, ...]
    """On the recommender's own test cases, by its own metrics; what the steering was tuned towards
    comes first."""
    at_positions: tuple[MeasureChange, ...]
    """At every position of their histories that has a next item, or at fewer of them where the
    model must be run for each."""
    promoted: dict[int, str | None]
    """The turned latents, and the attribute value whose items each promotes most; None where that
    is not known."""
    unchanged: Unchanged | None = None
    """Why all lists are as they were, if they are."""
    groups: GroupEffects | None = None
    """What it costs and gives groups of users at these positions; None where that was not
    measured."""

    def to_dict(self) -> dict[str, Any]:
        """As ``recsae steer --json`` has it."""
        n = self.n_intended_users
        promoted = {str(latent): what for latent, what in self.promoted.items() if what}
        return {
            **({} if self.unchanged is None else {"nothing changes": str(self.unchanged)}),
            "changed": list(self.done),
            "latents": list(self.promoted),
            **({"promote": promoted} if promoted else {}),
            **({} if n is None else {"for": f"{n:,} users"}),
            **({"unknown users": self.n_unknown_users} if self.n_unknown_users else {}),
            "held-out users": self.n_users,
            "lists that changed": f"{100 * self.lists_changed:.1f} %",
            "table": [row.to_dict() for row in self.own_test],
            "positions": [row.to_dict() for row in self.at_positions],
            **({} if self.groups is None else {"user groups": self.groups.to_dict()}),
        }

    def __repr__(self) -> str:
        turned, changed = "; ".join(self.done), 100 * self.lists_changed
        return f"SteeringEffect({turned}: {changed:.1f} % of the lists of {self.n_users:,} users)"

    def _repr_html_(self) -> str:
        facts = {
            "turned": "; ".join(self.done),
            "nothing changes": self.unchanged,
            "unknown users": self.n_unknown_users or None,
            "held-out users": self.n_users,
            "lists that changed": f"{100 * self.lists_changed:.1f} %",
            "uneven": None if self.groups is None else " ".join(self.groups.warnings) or None,
        }
        columns = ("measure", "before", "after", "times", "low", "high")
        tables = [
            Table(title, columns, [tuple(row.to_dict().values()) for row in rows])
            for title, rows in (
                ("The model's own test", self.own_test),
                ("Every held-out position that has a next item", self.at_positions),
            )
        ]
        if self.groups is not None:
            tables.append(self.groups.table())
        return card("What steering does", facts, tables)


def metrics_before_after(work: Workspace, steering: Steering) -> SteeringEffect:
    """Measure metrics, and shares of what the concepts speak of, without and with steering.

    Raises
    ------
    NotEnoughData
        It is for no held-out user.
    """
    recommender, steps = work.recommender, steering.steps
    mine = split_users(recommender.sequences())
    if steering.users is not None:
        mine &= np.isin(recommender.sequences().users, np.array(steering.users, dtype=str))
    own = evaluation_cases(recommender)
    own = restrict(own, mine[own.rows])
    if not len(own.rows):
        raise NotEnoughData(
            "None of these users was held out for testing, so nothing can be measured on them; "
            "look at single lists with --user."
        )
    targets = _targets(work, steering)
    promoted = promoted_values(work, steering.interventions)
    before = top_lists(recommender, own)
    after = _steered_top_lists(work, own, steps)
    everywhere = work.heldout.take(np.flatnonzero(mine[work.heldout.sequence]))
    everywhere = thinned(work, everywhere, len(everywhere), MIN_POSITIONS)
    old, new = (steered_lists(work, everywhere, some) for some in ([], steps))
    first = slice(None), slice(LIST_LENGTH)
    own_histories, histories = histories_of_groups(recommender, own), everywhere.histories
    equal = bool((before[first] == after[first]).all()) and bool((old == new).all())
    return SteeringEffect(
        steps=tuple(steps),
        done=in_words(work, steps, promoted),
        n_intended_users=None if steering.users is None else len(steering.users),
        n_unknown_users=unknown_users(work, steering.users),
        n_users=len(np.unique(own.rows)),
        lists_changed=float((before[:, :LIST_LENGTH] != after[:, :LIST_LENGTH]).any(1).mean()),
        own_test=(
            *_goal_first(steering, _own_test(own, before, after, targets)),
            *calibration_errors(work, steps, own_histories, before[first], after[first]),
        ),
        at_positions=(
            *_goal_first(steering, at_positions(everywhere, old, new, targets)),
            *calibration_errors(work, steps, histories, old, new),
        ),
        promoted=promoted,
        unchanged=why_unchanged(
            work,
            steps,
            torch.from_numpy(everywhere.states),
            lambda k: Applied().lists(steered_scores_of(work, everywhere), k),
        )
        if steps and equal
        else None,
        groups=_by_group(work, everywhere, old, new, targets),
    )


def _steered_top_lists(
    work: Workspace, cases: EvaluationCases, steps: Sequence[Step]
) -> NDArray[np.int64]:
    """What a steering puts on top ``(n_groups, k)``, the model being run with its states edited."""
    recommender, done = work.recommender, applied_in(work, steps)
    edit = partial(recommender.edit, state_edit(work.sae, steps), work.site)
    if not done.needs_own:
        with edit():
            return top_lists(
                recommender, cases, lambda scores, k, own: done.of_scores(scores, k, Beside(own))
            )
    k, lists = list_length(recommender, cases), []
    histories = histories_of_groups(recommender, cases)
    turned = scores_of_groups(recommender, cases)
    for part, own in scores_of_groups(recommender, cases):
        with edit():  # a batch is scored as it is asked for
            _, scores = next(turned)
        beside = Beside(histories.take(part), own)
        lists.append(done.of_scores(scores, k, beside).numpy())
    return np.concatenate(lists)


def _targets(work: Workspace, steering: Steering) -> Targets:
    """What is counted in the lists: the goal that the steering was tuned towards, or else what its
    steps speak of."""
    if steering.goal is not None:
        return _counted(work, steering.goal)
    targets: dict[str, Any] = {}
    for step in steering.steps:
        if isinstance(step, Intervention):
            targets |= targets_of(work, step)
        elif isinstance(step, ReRanking) and step.said():
            targets |= _counted(work, step.wishes)
        elif isinstance(step, Filter):
            targets |= _counted(work, Wishes(never=step.never))
    return targets


def _counted(work: Workspace, wishes: Wishes) -> Targets:
    goal = goal_of(work, wishes)
    if goal.by_popularity is not None:
        return {POPULARITY: goal.by_popularity}
    return {" or ".join(wishes.more or wishes.less or wishes.never): goal.items}


def _goal_first(steering: Steering, rows: list[MeasureChange]) -> tuple[MeasureChange, ...]:
    return tuple(rows if steering.goal is None else [rows[-1], *rows[:-1]])


def _own_test(
    cases: EvaluationCases, before: NDArray[np.int64], after: NDArray[np.int64], targets: Targets
) -> list[MeasureChange]:
    user = np.unique(cases.group_rows, return_inverse=True)[1]

    def values(lists: NDArray[np.int64]) -> dict[str, Floats]:
        metrics = ranking_metrics(*hits_in(lists, cases), cases.metrics, cases.topk)
        shares = {_share_of(k): has[lists[:, :LIST_LENGTH]].mean(1) for k, has in targets.items()}
        return {**metrics, **shares}

    old, new = values(before), values(after)
    sums = [{k: np.bincount(user, v).astype(float) for k, v in x.items()} for x in (old, new)]
    return [_change(name, sums[0][name], sums[1][name], len(user)) for name in old]


def at_positions(
    cases: Cases,
    before: NDArray[np.int32],
    after: NDArray[np.int32],
    targets: Targets,
) -> list[MeasureChange]:
    """Measure NDCG@10 and the shares of some items in lists ``(n, 10)`` of the cases."""
    sides = (before, after)

    def measured(has: NDArray[Any]) -> list[Outcome]:
        return [outcome_of(lists, cases, Counted(has.astype(np.float64))) for lists in sides]

    old, new = measured(np.zeros(cases.catalog.n_items, dtype=bool))
    rows = [_change("ndcg@10", old.ndcg, new.ndcg, len(cases))]
    for name, has in targets.items():
        old, new = measured(has)
        rows.append(_change(_share_of(name), old.share, new.share, len(cases)))
    return rows


def _by_group(
    work: Workspace,
    cases: Cases,
    before: NDArray[np.int32],
    after: NDArray[np.int32],
    targets: Targets,
) -> GroupEffects:
    """What the lists ``(n, 10)`` of the cases cost and give groups of users: of the first target,
    where there are several."""
    name, has = next(iter(targets.items()), ("", np.zeros(cases.catalog.n_items, dtype=bool)))
    counted = Counted(has.astype(np.float64))
    old, new = (outcome_of(lists, cases, counted) for lists in (before, after))
    return group_effects(work, cases, old, new, _share_of(name) if targets else None)


def calibration_errors(
    work: Workspace,
    steps: Iterable[Step],
    histories: History,
    before: NDArray[np.integer[Any]],
    after: NDArray[np.integer[Any]],
) -> list[MeasureChange]:
    """How far the shares in lists ``(n, 10)`` are from those in their histories, for each attribute
    that the steps calibrate by; of the lists whose histories have any of its values."""
    rows = []
    user = np.unique(histories.rows, return_inverse=True)[1]
    for step in steps:
        if not isinstance(step, Calibration):
            continue
        shares = item_shares(work, step.attribute)
        target = shares.of_histories(histories)
        old, new = (
            np.bincount(user, divergence(target, shares.of_lists(lists)).numpy()).astype(float)
            for lists in map(torch.from_numpy, (before, after))
        )
        n = max(int((target.sum(1) > 0).sum()), 1)
        rows.append(_change(f"calibration error ({shares.attribute})", old, new, n))
    return rows


def _share_of(name: str) -> str:
    what = name if name == POPULARITY else f"share of {name}"
    return f"{what} in the top {LIST_LENGTH}"


def _change(measure: str, before: Floats, after: Floats, n: int) -> MeasureChange:
    """Of sums per user ``(n_users,)`` over n lists."""
    ratio = paired_ratio(after, before)
    return MeasureChange(measure, float(before.sum() / n), float(after.sum() / n), ratio)
