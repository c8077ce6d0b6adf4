"""Does editing along a direction change the recommendations as intended, and nothing else?"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsae.capture.cases import affordable, ndcg_of_states, spread
from recsae.evaluation.explained import score_metric
from recsae.recommender.lists import top_of_states
from recsae.recommender.metrics import ndcg_of_lists

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.recommender.protocol import LinearHead

    Floats = NDArray[np.float64]

N_TOP = 10
KEPT = 0.99
MAX_CASES = 3_000
MAX_TRIED = 30_000
MIN_CASES = 200
HALVINGS = 8


class Control(NamedTuple):
    """What one edit per direction does to the lists of the same cases."""

    before: Floats
    """``(n_values,)`` share of the top 10 that has each attribute value, unedited."""
    after: Floats
    """``(m, n_values)`` the same after each edit."""
    ndcg_kept: Floats
    """``(m,)`` NDCG@10 after each edit, relative to the unedited."""
    dose: float
    """Norm of every edit's change in centred scores, relative to the spread of the scores."""
    n_cases: int


def control(
    directions: Floats,
    values: Floats,
    construction: Cases,
    heldout: Cases,
    head: LinearHead,
) -> Control:
    """Add the same to every state along each direction, and look at the lists of held-out cases.

    Edits are comparable: the change in the scores, centred over items, has the same norm along
    every direction. That norm, the dose, is the largest at which the edits together keep 99 % of
    NDCG@10, found by halving on construction cases; one norm for all is known far better than one
    for each would be.

    Parameters
    ----------
    directions
        ``(m, d)`` of any length; along 0 nothing is changed.
    values
        ``(n_items, n_values)`` ones where an item has a value.
    """
    metric = score_metric(head, heldout.catalog.recommendable, directions.shape[1])
    norms = np.sqrt(np.einsum("md,de,me->m", directions, metric, directions).clip(0))
    units = directions / np.where(norms > 1e-12, norms, np.inf)[:, None]
    centred = construction.states - construction.states.mean(0, dtype=np.float64)
    typical = float(np.sqrt(np.einsum("nd,de,ne->", centred, metric, centred) / len(centred)))
    edits = units * typical
    dose = _largest_dose(_thinned(construction, MAX_TRIED), edits, head)
    cases = _thinned(heldout, MAX_CASES)
    shares, kept = [], []
    for edit in (np.zeros(directions.shape[1]), *(edits * dose)):
        lists = top_of_states(_moved(cases, edit), head, cases.catalog, history=cases.seen)
        counts = np.bincount(lists.ravel(), minlength=len(values))
        shares.append(counts @ values / lists.size)
        kept.append(ndcg_of_lists(lists, cases.targets).mean())
    after = np.array(kept[1:]) / (kept[0] or np.nan)
    return Control(shares[0], np.stack(shares[1:]), after, dose, len(cases))


def _thinned(cases: Cases, limit: int) -> Cases:
    """Fewer cases where there are many items to rank."""
    return cases.take(spread(len(cases), affordable(limit, cases.catalog.n_items, MIN_CASES)))


def _moved(cases: Cases, edits: Floats) -> NDArray[np.float32]:
    return np.asarray(cases.states + edits, dtype=np.float32)


def _largest_dose(cases: Cases, edits: Floats, head: LinearHead) -> float:
    """The largest multiple of the edits, up to 1, that keeps 99 % of NDCG@10 on average.

    Directions take turns, case by case: many cases tell more than many edits of the same case.
    """
    mine = edits[np.arange(len(cases)) % len(edits)]
    enough = KEPT * ndcg_of_states(cases.states, cases, head).sum()

    def keeps(dose: float) -> bool:
        return bool(ndcg_of_states(_moved(cases, mine * dose), cases, head).sum() >= enough)

    low, high = 0.0, 1.0
    if keeps(high):
        return high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if keeps(middle) else (low, middle)
    return low
