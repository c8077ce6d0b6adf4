"""Readable and obeyed: whether turning a unit moves the lists the way that its label says.

*Readable* is a label that is verified. *Obeyed* is one whose items have a larger share of the top
10 when its unit is turned up than when it is turned down (a smaller one, if the label says that
they are absent), on the same held-out cases.

Every unit is turned by the same distance, for every case: a tenth of how far states lie from their
mean. One standard deviation of a unit's activation moves states thirty times as far for a unit that
is often active as for a rare one, and further for a random direction than for a latent, so that it
would tell how often a unit is active; ten times the activation tells what happens where a unit is
active, which is what being readable is about already. The same distance tells units apart by their
direction alone, and baselines from the dictionary.

Many units are turned, so the false discovery rate of each code is held at 5 % (Benjamini &
Hochberg 1995), and intervals are widened to match (Benjamini & Yekutieli 2005): of a label that is
obeyed, or of which the opposite happens, the interval leaves out 0, and of no other.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.special import ndtr, ndtri

from recsae.capture.cases import affordable, spread
from recsae.core import columns as C
from recsae.core.errors import NotEnoughData
from recsae.core.threads import in_threads
from recsae.steering.frontier import LIST_LENGTH
from recsae.steering.obeyed import results as R
from recsae.steering.obeyed.shifted import ShiftedLists
from recsae.steering.obeyed.units import (
    DICTIONARY,
    Units,
    baselines_of,
    units_of_baselines,
    units_of_dictionary,
)
from recsae.steering.steered_scores import HeadScorer, n_scored, steered_scores_of
from recsae.steering.steps.applied import Applied

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from recsae.run.workspace import Workspace
    from recsae.steering.steered_scores import SteeredScores

    Floats = NDArray[np.float64]
    Lists = Callable[[torch.Tensor], NDArray[np.int64]]
    """Of all cases, where a vector is added to their states."""

DISTANCE = 0.1
"""How far states are moved, as a part of their root mean square distance from their mean."""
FALSE_DISCOVERIES = 0.05
"""The part of the answers yes and no of a code that may be wrong, on average."""
N_OTHERS = 5
"""Labels of other readable units that each readable unit is compared with."""
MIN_CASES = 20
"""On fewer cases nothing is turned."""
MIN_CASES_RUN = 200
"""Where scoring cases is costly, so many are scored at least."""
MAX_CASES = 3_000
"""At most so many held-out cases serve; a stage asks for fewer."""
OF_DICTIONARY = 5_000
"""At most so many readable latents of the dictionary are turned, and so many others; fewer where
there are more than 10,000 items."""
OF_BASELINE = 100
"""The same of each baseline."""
MIN_UNITS = 20
"""So many of either are turned however many items there are."""
RUN = (30, 20)
"""Of the dictionary where the model must be run for each case."""
NEEDS_RUNNING = (
    "the model must be run for each case, so that turning their units would take longer than all "
    "the rest"
)
NOT_KEPT = "the labels of their units were not kept, since an earlier version made the run"


class _Changes(NamedTuple):
    """What turning m units does to the share of the items of their labels, for all cases."""

    share: Floats
    """``(3, m)`` turned up, turned down, and not turned."""
    change: Floats
    """``(m,)`` up less down."""
    error: Floats
    """``(m,)`` its standard error, users being the unit."""
    others: Floats
    """``(m, N_OTHERS)`` the change in standard errors of other readable units' items, the right
    way by their labels; NaN where there is none."""


def obeyed(
    work: Workspace,
    max_cases: int = MAX_CASES,
    of_dictionary: int = OF_DICTIONARY,
    of_baseline: int = OF_BASELINE,
) -> R.Obeyed:
    """Turn what has a label up and down, one at a time, and see whether lists do what it says.

    Parameters
    ----------
    max_cases
        Held-out cases at most.
    of_dictionary, of_baseline
        Readable units at most, and as many others, evenly spread over F1; fewer where there are
        many items, and where the model must be run for each case. There baselines are not turned.

    Raises
    ------
    NotEnoughData
        Too few held-out cases.
    """
    n = n_scored(work, max_cases, MIN_CASES_RUN)
    cases = work.heldout.take(spread(len(work.heldout), n))
    if len(cases) < MIN_CASES:
        raise NotEnoughData(f"{len(cases)} held-out cases are too few to turn concepts on.")
    scorer = steered_scores_of(work, cases)
    if isinstance(scorer, HeadScorer):
        lists: Lists = ShiftedLists(scorer, LIST_LENGTH).after
        most, few = (
            (affordable(limit, cases.catalog.n_items, min(limit, MIN_UNITS)),) * 2
            for limit in (of_dictionary, of_baseline)
        )
        units = [units_of_dictionary(work, most), *units_of_baselines(work, few)]
        why = NOT_KEPT
    else:
        lists, why = partial(_by_running, scorer), NEEDS_RUNNING
        units = [units_of_dictionary(work, RUN)]
    distance = DISTANCE * float(np.sqrt(cases.states.var(0, dtype=np.float64).sum()))
    found = [_answers(work, one, lists, distance, cases.user) for one in units]
    there = {one.code for one in units}
    summary = R.ObeyedSummary(
        n_cases=len(cases),
        n_users=len(np.unique(cases.user)),
        codes=tuple(row for _, rows in found for row in rows),
        not_turned={code: why for code in baselines_of(work) if code not in there},
    )
    return R.Obeyed(pd.concat([table for table, _ in found], ignore_index=True), summary)


def _by_running(scorer: SteeredScores, step: torch.Tensor) -> NDArray[np.int64]:
    moved = Applied(edit=lambda states, _: states + step.to(states))
    return moved.lists(scorer, LIST_LENGTH).astype(np.int64)


def _answers(
    work: Workspace, units: Units, lists: Lists, distance: float, user: NDArray[np.int64]
) -> tuple[pd.DataFrame, list[R.TwoByTwo]]:
    """The rows of one code, and its two-by-two; of the dictionary those of its parts too."""
    length = units.directions.norm(dim=1).clamp_min(1e-12)
    steps = units.directions * (distance / length)[:, None]
    changes = _changes(units, steps, lists, user, at_once=work.head is not None)
    z = _in_errors(changes.change, changes.error)
    width = threshold(z)
    half, right = width * changes.error, units.sign * z
    up, down, unturned = changes.share
    table = pd.DataFrame(
        {
            R.CODE: units.code,
            C.LATENT: units.latents,
            C.NAME: units.names,
            R.READABLE: units.readable,
            R.PREDICTED: np.where(units.sign > 0, "more", "fewer"),
            R.OBEYED: np.where(right > width, R.YES, np.where(right < -width, R.NO, R.UNTOLD)),
            R.STEP: (distance / length).double().numpy(),
            R.UNTURNED: unturned,
            R.UP: up,
            R.DOWN: down,
            R.CHANGE: changes.change,
            R.LOW: changes.change - half,
            R.HIGH: changes.change + half,
        }
    )

    def counted(code: str, latents: slice) -> R.TwoByTwo:
        of_code = np.isin(units.labels.latents, np.arange(units.n_all)[latents])
        mine = np.isin(units.latents, np.arange(units.n_all)[latents])
        sizes, others = units.labels.sizes(of_code), changes.others[mine]
        return R.TwoByTwo.of(code, table[mine], sizes, _chance(others, width))

    gates, whole = work.sae.n_gates, counted(units.code, slice(None))
    if units.code != DICTIONARY or not gates:
        return table, [whole]
    parts = {"core": slice(0, gates), "found": slice(gates, None)}
    return table, [whole, *(counted(code, latents) for code, latents in parts.items())]


def threshold(z: Floats) -> float:
    """How many standard errors a change must be off 0, of m changes ``(m,)`` in their own.

    Benjamini & Hochberg's step-up rule: at most 5 % of those beyond it are expected to be wrong.
    The interval of so many standard errors on either side has the coverage that goes with it.

    >>> round(threshold(np.array([1.0])), 2)  # one change alone: an interval of 95 %
    1.96
    >>> round(threshold(np.array([9.0, 1.0])), 2), round(threshold(np.zeros(2)), 2)
    (2.24, 2.24)
    """
    m = max(len(z), 1)
    p = np.sort(2 * ndtr(-np.abs(z)))
    passing = np.flatnonzero(p <= FALSE_DISCOVERIES * np.arange(1, len(z) + 1) / m)
    n = int(passing[-1]) + 1 if len(passing) else 1
    return float(-ndtri(FALSE_DISCOVERIES * n / m / 2))


def _chance(others: Floats, width: float) -> float | None:
    """The part of readable units that would be obeyed, had they the labels of others."""
    known = ~np.isnan(others)
    return float((others[known] > width).mean()) if known.any() else None


def _changes(
    units: Units, steps: torch.Tensor, lists: Lists, user: NDArray[np.int64], *, at_once: bool
) -> _Changes:
    """Turn each unit up and down by its step, for all cases."""
    group = np.unique(user, return_inverse=True)[1]
    per_user = np.bincount(group).astype(np.float64)
    unturned, partners = lists(torch.zeros(steps.shape[1])), _partners(units)

    def one(j: int) -> Floats:
        labels = [j, *partners[j]]
        has = _has(units, labels)
        up, down = (has[lists(way * steps[j])].mean(1) for way in (1, -1))
        change, error = _paired(up - down, group, per_user)
        others = np.full(N_OTHERS, np.nan)
        others[: len(labels) - 1] = (units.sign[labels] * _in_errors(change, error))[1:]
        share = [part[:, 0].mean() for part in (up, down, has[unturned].mean(1))]
        return np.array([*share, change[0], error[0], *others])

    rows = range(len(units.latents))
    found = np.array(in_threads(one, rows, at_once=at_once))
    figures = found.reshape(len(rows), 5 + N_OTHERS).T
    return _Changes(figures[:3], figures[3], figures[4], figures[5:].T)


def _has(units: Units, labels: list[int]) -> NDArray[np.bool_]:
    """``(n_items, l)`` which items some of the labels speak of."""
    items = units.items
    has = np.zeros((items.shape[0], len(labels)), dtype=bool)
    for column, label in enumerate(labels):
        has[items.indices[items.indptr[label] : items.indptr[label + 1]], column] = True
    return has


def _paired(
    difference: Floats, group: NDArray[np.int64], per_user: Floats
) -> tuple[Floats, Floats]:
    """The mean of differences ``(n, l)`` over cases and its standard error, ``(l,)`` each.

    As :func:`recsae.core.intervals.paired_ratio` has them, for several at once. ``group (n,)`` is
    the user of each case, ``per_user`` how many cases each has.
    """
    of_user = np.stack([np.bincount(group, column) for column in difference.T], axis=1)
    n, n_users = len(difference), len(per_user)
    change = of_user.sum(0) / n
    residual = of_user - per_user[:, None] * change
    return change, np.sqrt(n_users / max(n_users - 1, 1) * np.square(residual).sum(0)) / n


def _in_errors(change: Floats, error: Floats) -> Floats:
    """Changes in their standard errors; 0 where no list has changed."""
    return np.divide(change, error, out=np.zeros_like(change), where=error > 0)


def _partners(units: Units) -> list[list[int]]:
    """For each readable unit, readable ones whose labels speak of other items; else none."""
    readable = np.flatnonzero(units.readable)
    partners: list[list[int]] = [[] for _ in units.latents]
    items = units.items[:, readable]
    same = (items.T @ items).toarray()
    other = same < 0.5 * np.minimum.outer(np.diagonal(same), np.diagonal(same))
    for row, j in enumerate(readable.tolist()):
        allowed = readable[other[row]]
        if len(allowed):
            turned = np.roll(allowed, -row)  # so that not all are compared with the same
            partners[j] = turned[spread(len(allowed), N_OTHERS)].tolist()
    return partners
