"""What steering does to the lists of held-out users: in the model's own test, and everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from recsae.core.errors import NotEnoughData
from recsae.core.intervals import paired_ratio
from recsae.recommender.evaluation import evaluation_cases, hits_in, restrict, top_lists
from recsae.recommender.metrics import ranking_metrics
from recsae.recommender.sequences import split_users
from recsae.sae.editing import make_edit
from recsae.steering.context import steer
from recsae.steering.frontier import Counted, lists_of, outcome_of
from recsae.steering.methods import SteeringMethod
from recsae.steering.parse import targets_of
from recsae.steering.steered_scores import steered_scores_of, thinned

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.recommender.protocol import EvaluationCases
    from recsae.run.workspace import Workspace
    from recsae.sae.editing import Intervention
    from recsae.steering.files import Steering
    from recsae.steering.frontier import Outcome

    Floats = NDArray[np.float64]
    Targets = dict[str, NDArray[np.bool_]]

N_TOP = 10
MIN_CASES = 500


def metrics_before_after(work: Workspace, steering: Steering) -> dict[str, Any]:
    """Metrics and shares of what the concepts speak of, of the held-out users steering is for.

    Returns
    -------
    dict
        ``table``: on the recommender's own test cases, by its own metrics. ``positions``: at every
        position of their histories that has a next item (fewer where the model must be run for
        each). Every row has the factor by which a measure changes, and its 95 % interval, users
        being the unit.

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
    everywhere = thinned(work, everywhere, len(everywhere), MIN_CASES)
    old, new = (steered_lists(work, everywhere, steps) for steps in ([], interventions))
    changed = float((before[:, :N_TOP] != after[:, :N_TOP]).any(1).mean())
    return {
        "changed": [str(i) for i in interventions],
        "latents": [int(j) for i in interventions for j in i.latents],
        **({} if steering.users is None else {"for": f"{len(steering.users):,} users"}),
        "held-out users": len(np.unique(own.rows)),
        "lists that changed": f"{100 * changed:.1f} %",
        "table": _own_test(own, before, after, targets),
        "positions": at_positions(everywhere, old, new, targets),
    }


def _own_test(
    cases: EvaluationCases, before: NDArray[np.int64], after: NDArray[np.int64], targets: Targets
) -> list[dict[str, Any]]:
    user = np.unique(cases.group_rows, return_inverse=True)[1]

    def values(lists: NDArray[np.int64]) -> dict[str, Floats]:
        found = ranking_metrics(*hits_in(lists, cases), cases.metrics, cases.topk)
        shares = {_share_of(k): has[lists[:, :N_TOP]].mean(1) for k, has in targets.items()}
        return {**found, **shares}

    old, new = values(before), values(after)
    sums = [{k: np.bincount(user, v).astype(float) for k, v in x.items()} for x in (old, new)]
    return [_row(name, sums[0][name], sums[1][name], len(user)) for name in old]


def at_positions(
    cases: Cases,
    before: NDArray[np.int32],
    after: NDArray[np.int32],
    targets: Targets,
) -> list[dict[str, Any]]:
    """NDCG@10 and the shares of some items in lists ``(n, 10)`` of the cases, before and after."""
    sides = (before, after)

    def measured(has: NDArray[np.bool_]) -> list[Outcome]:
        return [outcome_of(lists, cases, Counted(has.astype(np.float64))) for lists in sides]

    old, new = measured(np.zeros(cases.catalog.n_items, dtype=bool))
    rows = [_row("ndcg@10", old.ndcg, new.ndcg, len(cases))]
    for name, has in targets.items():
        old, new = measured(has)
        rows.append(_row(_share_of(name), old.share, new.share, len(cases)))
    return rows


def steered_lists(
    work: Workspace, cases: Cases, interventions: list[Intervention]
) -> NDArray[np.int32]:
    """``(n, 10)`` lists of the cases under interventions."""
    edit = make_edit(work.sae, interventions)
    way = SteeringMethod("interventions", lambda states, _, strength: edit(states))
    return lists_of(cases, way.on(steered_scores_of(work, cases)), 1.0)


def _share_of(name: str) -> str:
    return f"share of {name} in the top {N_TOP}"


def _row(measure: str, before: Floats, after: Floats, n: int) -> dict[str, Any]:
    """Of sums per user ``(n_users,)`` over n lists."""
    times, low, high = paired_ratio(after, before)
    return {
        "measure": measure,
        "before": float(before.sum() / n),
        "after": float(after.sum() / n),
        "times": times,
        "low": low,
        "high": high,
    }
