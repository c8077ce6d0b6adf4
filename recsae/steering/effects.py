"""Effects of steering on held-out users: on the model's own test cases, and at all positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from recsae.core.errors import NotEnoughData
from recsae.core.intervals import paired_ratio
from recsae.core.notebook.cells import Table, card
from recsae.recommender.evaluation import evaluation_cases, hits_in, restrict, top_lists
from recsae.recommender.metrics import ranking_metrics
from recsae.recommender.sequences import split_users
from recsae.sae.editing import make_edit
from recsae.steering.context import steer
from recsae.steering.frontier import LIST_LENGTH, Counted, lists_of, outcome_of
from recsae.steering.methods import SteeringMethod
from recsae.steering.parse import targets_of
from recsae.steering.steered_scores import steered_scores_of, thinned
from recsae.steering.unchanged import Unchanged, why_unchanged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.recommender.protocol import EvaluationCases
    from recsae.run.workspace import Workspace
    from recsae.sae.editing import Intervention
    from recsae.steering.files import Steering
    from recsae.steering.frontier import Estimate, Outcome

    Floats = NDArray[np.float64]
    Targets = dict[str, NDArray[np.bool_]]

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

    interventions: tuple[Intervention, ...]
    n_intended_users: int | None
    """How many users it is for; None: everybody."""
    n_users: int
    """How many of them are held out, and so measured."""
    lists_changed: float
    """Part of the lists of the model's own test that are not as they were."""
    own_test: tuple[MeasureChange, ...]
    """On the recommender's own test cases, by its own metrics."""
    at_positions: tuple[MeasureChange, ...]
    """At every position of their histories that has a next item, or at fewer of them where the
    model must be run for each."""
    unchanged: Unchanged | None = None
    """Why all lists are as they were, if they are."""

    def to_dict(self) -> dict[str, Any]:
        """As ``recsae steer --json`` has it."""
        n = self.n_intended_users
        return {
            **({} if self.unchanged is None else {"nothing changes": str(self.unchanged)}),
            "changed": [str(i) for i in self.interventions],
            "latents": [int(j) for i in self.interventions for j in i.latents],
            **({} if n is None else {"for": f"{n:,} users"}),
            "held-out users": self.n_users,
            "lists that changed": f"{100 * self.lists_changed:.1f} %",
            "table": [row.to_dict() for row in self.own_test],
            "positions": [row.to_dict() for row in self.at_positions],
        }

    def __repr__(self) -> str:
        turned, changed = "; ".join(map(str, self.interventions)), 100 * self.lists_changed
        return f"SteeringEffect({turned}: {changed:.1f} % of the lists of {self.n_users:,} users)"

    def _repr_html_(self) -> str:
        facts = {
            "turned": "; ".join(map(str, self.interventions)),
            "nothing changes": self.unchanged,
            "held-out users": self.n_users,
            "lists that changed": f"{100 * self.lists_changed:.1f} %",
        }
        columns = ("measure", "before", "after", "times", "low", "high")
        tables = [
            Table(title, columns, [tuple(row.to_dict().values()) for row in rows])
            for title, rows in (
                ("The model's own test", self.own_test),
                ("Every held-out position that has a next item", self.at_positions),
            )
        ]
        return card("What steering does", facts, tables)


def metrics_before_after(work: Workspace, steering: Steering) -> SteeringEffect:
    """Measure metrics, and shares of what the concepts speak of, without and with steering.

    Raises
    ------
    NotEnoughData
        It is for no held-out user.
    """
    recommender, interventions = work.recommender, steering.interventions
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
    targets = {k: v for one in interventions for k, v in targets_of(work, one).items()}
    before = top_lists(recommender, own)
    with steer(recommender, work.sae, interventions, site=work.site):
        after = top_lists(recommender, own)
    everywhere = work.heldout.take(np.flatnonzero(mine[work.heldout.sequence]))
    everywhere = thinned(work, everywhere, len(everywhere), MIN_POSITIONS)
    old, new = (steered_lists(work, everywhere, steps) for steps in ([], interventions))
    first = slice(None), slice(LIST_LENGTH)
    equal = bool((before[first] == after[first]).all()) and bool((old == new).all())
    return SteeringEffect(
        interventions=tuple(interventions),
        n_intended_users=None if steering.users is None else len(steering.users),
        n_users=len(np.unique(own.rows)),
        lists_changed=float((before[:, :LIST_LENGTH] != after[:, :LIST_LENGTH]).any(1).mean()),
        own_test=tuple(_own_test(own, before, after, targets)),
        at_positions=tuple(at_positions(everywhere, old, new, targets)),
        unchanged=why_unchanged(work, interventions, torch.from_numpy(everywhere.states))
        if interventions and equal
        else None,
    )


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

    def measured(has: NDArray[np.bool_]) -> list[Outcome]:
        return [outcome_of(lists, cases, Counted(has.astype(np.float64))) for lists in sides]

    old, new = measured(np.zeros(cases.catalog.n_items, dtype=bool))
    rows = [_change("ndcg@10", old.ndcg, new.ndcg, len(cases))]
    for name, has in targets.items():
        old, new = measured(has)
        rows.append(_change(_share_of(name), old.share, new.share, len(cases)))
    return rows


def steered_lists(
    work: Workspace, cases: Cases, interventions: list[Intervention]
) -> NDArray[np.int32]:
    """Make the lists ``(n, 10)`` of the cases under interventions."""
    edit = make_edit(work.sae, interventions)
    method = SteeringMethod("interventions", lambda states, _, strength: edit(states))
    return lists_of(cases, method.on(steered_scores_of(work, cases)), 1.0)


def _share_of(name: str) -> str:
    return f"share of {name} in the top {LIST_LENGTH}"


def _change(measure: str, before: Floats, after: Floats, n: int) -> MeasureChange:
    """Of sums per user ``(n_users,)`` over n lists."""
    ratio = paired_ratio(after, before)
    return MeasureChange(measure, float(before.sum() / n), float(after.sum() / n), ratio)
