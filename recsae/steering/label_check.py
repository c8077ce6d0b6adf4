"""A check of labels: whether a label predicts what turning its concept does to the lists.

Intervention scoring: a label that speaks of items predicts that there are more of them in the lists
when its latent is turned up, and fewer when it is turned down. As in RecFTT's protocol latents are
multiplied by 10 and by 0.1 where they are active; a standard deviation is added for everybody and
taken away as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from recsae.capture.cases import spread
from recsae.concepts.attributes.names import LENGTH, REPEAT
from recsae.concepts.status import VERIFIED
from recsae.core import columns as C
from recsae.core.errors import InvalidInput
from recsae.core.intervals import paired_ratio
from recsae.core.threads import in_threads
from recsae.sae.statistics import Statistics
from recsae.steering.frontier import LIST_LENGTH
from recsae.steering.label_results import (
    INTERVENTIONS,
    CheckSummary,
    InterventionSummary,
    LabelCheck,
    LatentCheck,
)
from recsae.steering.steered_scores import linearised, n_scored, steered_scores_of, thinned
from recsae.steering.steps.applied import Applied

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.run.workspace import Workspace
    from recsae.steering.frontier import Estimate

    Floats = NDArray[np.float64]

MAX_CHECKED_CASES = 3_000
"""At most so many held-out cases are steered for each latent and intervention."""
MAX_ACTIVE_CASES = 500
"""The same for interventions that only change cases where the latent is active."""
MAX_LINEARISED_CASES = 4_000
"""At most so many construction cases serve to estimate how scores follow states."""
MAX_LATENTS_RUN = 60
"""At most so many latents are turned where the model must be run for each case."""
MIN_CASES_TO_AGREE = 20
"""On fewer cases it is left open whether a label is right."""
MIN_CASES_RUN = 200
"""Where scoring cases is costly, so many are scored at least."""


class CheckedLatents(NamedTuple):
    """Verified latents and what their labels say."""

    latents: NDArray[np.int64]
    """``(m,)``"""
    items: Floats
    """``(n_items, m)`` ones where a label speaks of an item."""
    sign: NDArray[np.int64]
    """``(m,)`` -1 where the label says that its items are absent."""
    sd: Floats
    """``(m,)`` standard deviation of the activation."""
    expected: Floats
    """``(m,)`` what one standard deviation more should do, from construction cases and the item
    table."""


class ShareChange(NamedTuple):
    """Change of shares of the lists when one latent is turned."""

    own: Estimate
    """Of its label's items, after less before."""
    all_labels: Floats
    """``(m,)`` the same for the items of every label."""
    n_cases: int


def predictability(
    work: Workspace, max_latents: int | None = None, max_cases: int = MAX_CHECKED_CASES
) -> LabelCheck:
    """Turn verified latents on held-out cases, one at a time, and compare with their labels.

    Parameters
    ----------
    max_latents, max_cases
        Fewer latents, evenly spread over F1, and fewer cases than there are. Where
        the model must be run for each case, at most sixty latents are turned.

    Raises
    ------
    InvalidInput
        Fewer than two verified concepts speak of items.
    """
    if work.head is None:
        max_latents = min(max_latents or MAX_LATENTS_RUN, MAX_LATENTS_RUN)
    checked, n_verified = _latents_to_check(work, max_latents)
    rows: list[LatentCheck] = []
    summaries = {}
    names = work.tested_dictionary.table.set_index(C.LATENT)[C.NAME]
    for name, turn in INTERVENTIONS.items():
        changes = _changes(work, name, checked, max_cases)
        signs = [turn.sign * sign for sign in checked.sign.tolist()]
        mine = [
            LatentCheck(
                latent=int(latent),
                name=str(names[latent]),
                intervention=name,
                predicted="more" if sign > 0 else "fewer",
                change=change.own,
                n_cases=change.n_cases,
                agrees=_agrees(change, sign),
            )
            for latent, change, sign in zip(checked.latents, changes, signs, strict=True)
        ]
        rows += mine
        summaries[name] = _summary([row.agrees for row in mine], changes, checked, turn.sign)
    return LabelCheck(tuple(rows), CheckSummary(len(checked.latents), n_verified, summaries))


def _latents_to_check(work: Workspace, max_latents: int | None) -> tuple[CheckedLatents, int]:
    """Verified latents whose labels speak of items, and how many there are in all."""
    both = work.tested_dictionary.table.merge(work.label_scores[[C.LATENT, C.STATUS, C.F1]])
    about = both[C.ATTRIBUTE].notna() & ~both[C.ATTRIBUTE].isin((REPEAT, LENGTH))
    both = both[(both[C.STATUS] == VERIFIED) & about].sort_values(C.F1)
    if len(both) < 2:
        raise InvalidInput(
            f"{len(both)} verified concepts of this run speak of items: nothing can be compared."
        )
    chosen = both.iloc[spread(len(both), max_latents or len(both))]
    real = work.recommender.catalog.recommendable
    labels = zip(chosen[C.ATTRIBUTE], chosen[C.VALUE], strict=True)
    has = [work.attributes.items_with(*pair) for pair in labels]
    items = np.stack(has, axis=1) & real[:, None]
    latents = chosen[C.LATENT].to_numpy(np.int64)
    sd = Statistics.of(work.sae_codes[0]).sd[latents]
    few = thinned(work, work.construction, MAX_LINEARISED_CASES, MIN_CASES_TO_AGREE)
    table = linearised(steered_scores_of(work, few)).head.items.double().numpy()
    n = np.maximum(items.sum(0), 1)
    promoted = (items.T @ table) / n[:, None] - table[real].mean(0)
    directions = work.sae.directions().double().numpy()[latents]
    sign = np.where(chosen[C.NEGATED].to_numpy(bool), -1, 1)
    expected = sd * np.einsum("md,md->m", directions, promoted)
    return CheckedLatents(latents, items.astype(float), sign, sd, expected), len(both)


def _changes(work: Workspace, name: str, checked: CheckedLatents, limit: int) -> list[ShareChange]:
    """The changes that one intervention makes, for each latent by itself."""
    cases, directions, turn = work.heldout, work.sae.directions(), INTERVENTIONS[name]
    n_cases = n_scored(work, limit, MIN_CASES_RUN)
    rows = spread(len(cases), n_cases)
    by_latent = work.sae_codes[1].tocsc()
    before = _lists(work, rows, Applied())

    def change(j: int) -> ShareChange:
        latent, old, mine = int(checked.latents[j]), before, rows
        done = _turned(name, latent, float(checked.sd[j]), directions[latent])
        if turn.factor is not None:
            active = by_latent[:, [latent]].indices
            some = spread(len(active), min(MAX_ACTIVE_CASES, n_cases))
            mine = np.sort(active[some]).astype(np.int64)
            old = _lists(work, mine, Applied())
        after = _lists(work, mine, done)
        return _change(old, after, cases.user[mine], checked, j)

    latents = range(len(checked.latents))
    return in_threads(change, latents, at_once=work.head is not None)  # there is one model to edit


def _lists(work: Workspace, rows: NDArray[np.int64], done: Applied) -> NDArray[np.int32]:
    return done.lists(steered_scores_of(work, work.heldout.take(rows)), LIST_LENGTH)


def _turned(name: str, latent: int, sd: float, direction: torch.Tensor) -> Applied:
    """An intervention on one latent."""
    turn = INTERVENTIONS[name]
    if turn.factor is not None:
        more, latents = turn.factor - 1, torch.tensor([latent])
        return Applied(latents, lambda states, z: states + more * z * direction)
    shift = direction * sd * turn.n_sd
    return Applied(edit=lambda states, _: states + shift)


def _change(
    before: NDArray[np.int32],
    after: NDArray[np.int32],
    user: NDArray[np.int64],
    checked: CheckedLatents,
    label: int,
) -> ShareChange:
    if not len(before):
        return ShareChange((float("nan"),) * 3, np.zeros(len(checked.latents)), 0)
    has = checked.items[:, label]
    difference = has[after].mean(1) - has[before].mean(1)
    group = np.unique(user, return_inverse=True)[1]
    own = paired_ratio(
        np.bincount(group, difference).astype(np.float64), np.bincount(group).astype(np.float64)
    )
    old, new = (np.bincount(x.ravel(), minlength=len(has)) for x in (before, after))
    return ShareChange(own, (new - old) @ checked.items / before.size, len(before))


def _agrees(change: ShareChange, predicted: int) -> bool | None:
    _, low, high = change.own
    if change.n_cases < MIN_CASES_TO_AGREE or not (low > 0 or high < 0):
        return None
    return (low > 0) == (predicted > 0)


def _summary(
    agrees: list[bool | None], changes: list[ShareChange], checked: CheckedLatents, up: int
) -> InterventionSummary:
    enough = np.array([change.n_cases >= MIN_CASES_TO_AGREE for change in changes])
    table = np.stack([change.all_labels for change in changes])  # (latent, label)
    right = up * np.sign(table) * checked.sign
    own = np.diagonal(right)[enough]
    same = checked.items.T @ checked.items
    other = same < 0.5 * np.minimum.outer(np.diagonal(same), np.diagonal(same))
    mixed = right[other & enough[:, None]]
    measured, expected = np.diagonal(table)[enough], up * checked.expected[enough]
    return InterventionSummary(
        n_agree=agrees.count(True),
        n_disagree=agrees.count(False),
        n_undecided=agrees.count(None),
        right_signs=_share_right(own),
        right_signs_shuffled=_share_right(mixed),
        rank_correlation=_rank_correlation(expected, measured),
    )


def _share_right(signs: Floats) -> float | None:
    """The share of signs ``(n,)`` that are 1; those that are 0 count one half."""
    return float((1 + signs.mean()) / 2) if len(signs) else None


def _rank_correlation(one: Floats, other: Floats) -> Estimate | None:
    """Spearman's, with its 95 % interval by Fisher's transformation (Fieller et al. 1957)."""
    if len(one) < 4 or not np.ptp(one) or not np.ptp(other):
        return None
    from scipy.stats import spearmanr  # takes half a second to import

    r = float(spearmanr(one, other).statistic)
    half = 1.96 * 1.03 / np.sqrt(len(one) - 3)
    z = np.arctanh(np.clip(r, -0.999999, 0.999999))
    return r, float(np.tanh(z - half)), float(np.tanh(z + half))
