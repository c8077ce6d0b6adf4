"""Control by directions: what edits of states along them change in the recommendations."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsae.capture.cases import affordable, ndcg_of_states, spread
from recsae.recommender.lists import top_of_states
from recsae.recommender.metrics import ndcg_of_lists
from recsae.recommender.score_metric import score_metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.recommender.protocol import LinearHead

    Floats = NDArray[np.float64]

KEPT = 0.99
"""Share of NDCG@10 that the edits together must keep: the budget that sets their norm."""
MAX_EDITED_CASES = 3_000
"""Held-out cases at most whose lists are looked at: each is ranked again for every edit."""
MAX_NORM_CASES = 30_000
"""Construction cases at most on which the norm is found; each is ranked once for a norm."""
MIN_RANKED_CASES = 200
"""Cases at least, however many items there are to rank."""
HALVINGS = 8
"""Halvings of the norm's interval: it is known to 1/256 of the states' spread."""


class Control(NamedTuple):
    """Lists of the same cases before and after one edit along each direction."""

    before: Floats
    """``(n_values,)`` share of the top 10 that has each attribute value, unedited."""
    after: Floats
    """``(m, n_values)`` the same after each edit."""
    ndcg_kept: Floats
    """``(m,)`` NDCG@10 after each edit, relative to the unedited."""
    edit_norm: float
    """Norm of every edit's change in centred scores, relative to the spread of the scores."""
    n_cases: int


def control(
    directions: Floats,
    values: Floats,
    construction: Cases,
    heldout: Cases,
    head: LinearHead,
) -> Control:
    """Shares and NDCG@10 in the lists of held-out cases after an edit along each direction.

    An edit adds the same to every state. Edits are comparable: the change in the scores, centred
    over items, has the same norm along every direction. That norm is the largest at which the edits
    together keep 99 % of NDCG@10, found by halving on construction cases; one norm for all is known
    far better than one for each would be.

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
    edit_norm = _largest_norm(_thinned(construction, MAX_NORM_CASES), edits, head)
    cases = _thinned(heldout, MAX_EDITED_CASES)
    shares, kept = [], []
    for edit in (np.zeros(directions.shape[1]), *(edits * edit_norm)):
        lists = top_of_states(_moved(cases, edit), head, cases.catalog, history=cases.seen)
        counts = np.bincount(lists.ravel(), minlength=len(values))
        shares.append(counts @ values / lists.size)
        kept.append(ndcg_of_lists(lists, cases.targets).mean())
    after = np.array(kept[1:]) / (kept[0] or np.nan)
    return Control(shares[0], np.stack(shares[1:]), after, edit_norm, len(cases))


def _thinned(cases: Cases, limit: int) -> Cases:
    """Fewer cases where there are many items to rank."""
    return cases.take(
        spread(len(cases), affordable(limit, cases.catalog.n_items, MIN_RANKED_CASES))
    )


def _moved(cases: Cases, edits: Floats) -> NDArray[np.float32]:
    return np.asarray(cases.states + edits, dtype=np.float32)


def _largest_norm(cases: Cases, edits: Floats, head: LinearHead) -> float:
    """The largest multiple of the edits, up to 1, that keeps 99 % of NDCG@10 on average.

    Directions take turns, case by case: many cases say more than many edits of the same case.
    """
    mine = edits[np.arange(len(cases)) % len(edits)]
    enough = KEPT * ndcg_of_states(cases.states, cases, head).sum()

    def keeps(norm: float) -> bool:
        return bool(ndcg_of_states(_moved(cases, mine * norm), cases, head).sum() >= enough)

    low, high = 0.0, 1.0
    if keeps(high):
        return high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if keeps(middle) else (low, middle)
    return low
