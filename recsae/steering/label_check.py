"""Does a concept's label predict what turning it does? Every verified concept is tried.

Intervention scoring: a label that speaks of items predicts that there are more of them in the lists
when its latent is turned up, and fewer when it is turned down. As in RecFTT's protocol latents are
multiplied by 10 and by 0.1 where they are active; a standard deviation is added for everybody and
taken away as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from scipy.stats import spearmanr

from recsae.capture.cases import spread
from recsae.concepts.attributes.history import LENGTH, REPEAT
from recsae.concepts.attributes.table import ItemAttributes
from recsae.concepts.status import VERIFIED
from recsae.core import columns as C
from recsae.core.errors import InvalidInput
from recsae.core.intervals import paired_ratio
from recsae.core.threads import in_threads
from recsae.sae.statistics import Statistics
from recsae.steering.frontier import lists_of
from recsae.steering.methods import SteeringMethod, along
from recsae.steering.steered_scores import linearised, n_scored, steered_scores_of, thinned

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.run.workspace import Workspace
    from recsae.steering.frontier import Steered

    Floats = NDArray[np.float64]

MAX_CASES = 3_000
MAX_ACTIVE = 500
MAX_FITTED = 4_000
MAX_RUN = 60
MIN_CASES = 20
MIN_ENOUGH = 200
WAYS = {"x10 where active": 1, "x0.1 where active": -1, "+1 sd": 1, "-1 sd": -1}
"""Interventions, and whether they turn a latent up (1) or down."""
NOTHING = SteeringMethod("nothing", lambda states, z, strength: states)


class Tried(NamedTuple):
    """Verified latents ``(m,)`` and what their labels say.

    ``items (n_items, m)``: those that each label speaks of; ``sign (m,)``: -1 where it says that
    they are absent. ``expected (m,)``: what one standard deviation more should do, worked out from
    construction cases and the item table.
    """

    latents: NDArray[np.int64]
    items: Floats
    sign: NDArray[np.int64]
    sd: Floats
    expected: Floats


class Change(NamedTuple):
    """The share of a label's items in the lists, after less before, with its interval; the same
    for the items of every other label, ``(m,)``; and on how many cases."""

    own: tuple[float, float, float]
    all_labels: Floats
    n_cases: int


def predictability(
    work: Workspace, max_latents: int | None = None, max_cases: int = MAX_CASES
) -> dict[str, Any]:
    """Turn verified latents on held-out cases, one at a time, and compare with their labels.

    Parameters
    ----------
    max_latents, max_cases
        Fewer latents, evenly spread over balanced accuracy, and fewer cases than there are. Where
        the model must be run for each case, at most sixty latents are tried.

    Returns
    -------
    dict
        ``rows``: one per latent and intervention with the direction that is predicted, the change
        of the share of the label's items in the top 10 with its interval over users, and whether
        they agree (None: the interval covers 0, or too few cases). ``summary``: for each
        intervention how many agree, disagree and cannot be told; the share of signs that are
        right, and what it is with the labels of other latents (``shuffled``); the rank
        correlation, with its interval, of the change with what was worked out beforehand: the
        latent's standard deviation times how much more than others its direction promotes the
        label's items.

    Raises
    ------
    InvalidInput
        Fewer than two verified concepts speak of items.
    """
    if work.head is None:
        max_latents = min(max_latents or MAX_RUN, MAX_RUN)
    tried, n_verified = _to_try(work, max_latents)
    rows: list[dict[str, Any]] = []
    summary: dict[str, Any] = {"n_tried": len(tried.latents), "n_verified": n_verified}
    names = work.tested_dictionary.table.set_index(C.LATENT)[C.NAME]
    for way, up in WAYS.items():
        changes = _changes(work, way, tried, max_cases)
        known = [
            {
                "latent": int(latent),
                "name": str(names[latent]),
                "intervention": way,
                "predicted": "more" if up * tried.sign[j] > 0 else "fewer",
                "change": change.own[0],
                "low": change.own[1],
                "high": change.own[2],
                "cases": change.n_cases,
                "agrees": _agrees(change, up * int(tried.sign[j])),
            }
            for j, (latent, change) in enumerate(zip(tried.latents, changes, strict=True))
        ]
        rows += known
        summary[way] = _summary(known, changes, tried, up)
    return {"rows": rows, "summary": summary}


def _to_try(work: Workspace, max_latents: int | None) -> tuple[Tried, int]:
    """Verified latents whose labels speak of items."""
    both = work.tested_dictionary.table.merge(
        work.scores[[C.LATENT, C.STATUS, C.BALANCED_ACCURACY]]
    )
    about = both[C.ATTRIBUTE].notna() & ~both[C.ATTRIBUTE].isin((REPEAT, LENGTH))
    both = both[(both[C.STATUS] == VERIFIED) & about].sort_values(C.BALANCED_ACCURACY)
    if len(both) < 2:
        raise InvalidInput(
            f"{len(both)} verified concepts of this run speak of items: nothing can be compared."
        )
    chosen = both.iloc[spread(len(both), max_latents or len(both))]
    catalog = work.recommender.catalog
    attributes, real = ItemAttributes.load(work.folder, catalog.n_items), catalog.recommendable
    said = zip(chosen[C.ATTRIBUTE], chosen[C.VALUE], strict=True)
    has = [attributes.items_with(*pair) for pair in said]
    items = np.stack(has, axis=1) & real[:, None]
    latents = chosen[C.LATENT].to_numpy(np.int64)
    sd = Statistics.of(work.sae_codes[0]).sd[latents]
    few = thinned(work, work.construction, MAX_FITTED, MIN_CASES)
    table = linearised(steered_scores_of(work, few)).head.items.double().numpy()
    n = np.maximum(items.sum(0), 1)
    promoted = (items.T @ table) / n[:, None] - table[real].mean(0)
    directions = work.sae.directions().double().numpy()[latents]
    sign = np.where(chosen[C.NEGATED].to_numpy(bool), -1, 1)
    expected = sd * np.einsum("md,md->m", directions, promoted)
    return Tried(latents, items.astype(float), sign, sd, expected), len(both)


def _changes(work: Workspace, name: str, tried: Tried, limit: int) -> list[Change]:
    """What one intervention does, for each latent by itself."""
    cases, directions = work.heldout, work.sae.directions()
    n_cases = n_scored(work, limit, MIN_ENOUGH)
    rows = spread(len(cases), n_cases)
    by_latent = work.sae_codes[1].tocsc()
    before = lists_of(*_steered(work, rows, NOTHING), 0.0)

    def change(j: int) -> Change:
        latent, old, mine = int(tried.latents[j]), before, rows
        way = _way(name, latent, float(tried.sd[j]), directions[latent])
        if name.startswith("x"):
            active = by_latent[:, [latent]].indices
            mine = np.sort(active[spread(len(active), min(MAX_ACTIVE, n_cases))]).astype(np.int64)
            old = lists_of(*_steered(work, mine, NOTHING), 0.0)
        after = lists_of(*_steered(work, mine, way), 1.0)
        return _change(old, after, cases.user[mine], tried, j)

    latents = range(len(tried.latents))
    if work.head is None:  # there is one model to edit
        return [change(j) for j in latents]
    return in_threads(change, latents)


def _steered(
    work: Workspace, rows: NDArray[np.int64], way: SteeringMethod
) -> tuple[Cases, Steered]:
    some = work.heldout.take(rows)
    return some, way.on(steered_scores_of(work, some))


def _way(name: str, latent: int, sd: float, direction: torch.Tensor) -> SteeringMethod:
    """An intervention on one latent."""
    if name.startswith("x"):
        more, latents = float(name[1:].split()[0]) - 1, torch.tensor([latent])
        return SteeringMethod(name, lambda states, z, _: states + more * z * direction, latents)
    return along(name, direction * sd * (1 if name == "+1 sd" else -1))


def _change(
    before: NDArray[np.int32],
    after: NDArray[np.int32],
    user: NDArray[np.int64],
    tried: Tried,
    label: int,
) -> Change:
    if not len(before):
        return Change((float("nan"),) * 3, np.zeros(len(tried.latents)), 0)
    has = tried.items[:, label]
    difference = has[after].mean(1) - has[before].mean(1)
    group = np.unique(user, return_inverse=True)[1]
    own = paired_ratio(
        np.bincount(group, difference).astype(np.float64), np.bincount(group).astype(np.float64)
    )
    old, new = (np.bincount(x.ravel(), minlength=len(has)) for x in (before, after))
    return Change(own, (new - old) @ tried.items / before.size, len(before))


def _agrees(change: Change, predicted: int) -> bool | None:
    _, low, high = change.own
    if change.n_cases < MIN_CASES or not (low > 0 or high < 0):
        return None
    return (low > 0) == (predicted > 0)


def _summary(
    rows: list[dict[str, Any]], changes: list[Change], tried: Tried, up: int
) -> dict[str, Any]:
    told = [row["agrees"] for row in rows]
    enough = np.array([change.n_cases >= MIN_CASES for change in changes])
    table = np.stack([change.all_labels for change in changes])  # (latent, label)
    right = up * np.sign(table) * tried.sign
    own = np.diagonal(right)[enough]
    same = tried.items.T @ tried.items
    other = same < 0.5 * np.minimum.outer(np.diagonal(same), np.diagonal(same))
    mixed = right[other & enough[:, None]]
    measured, expected = np.diagonal(table)[enough], up * tried.expected[enough]
    return {
        "agree": told.count(True),
        "disagree": told.count(False),
        "cannot be told": told.count(None),
        "right signs": _share_right(own),
        "right signs, shuffled": _share_right(mixed),
        "rank correlation": _rank_correlation(expected, measured),
    }


def _share_right(signs: Floats) -> float | None:
    """Where nothing changes counts one half."""
    return float((1 + signs.mean()) / 2) if len(signs) else None


def _rank_correlation(one: Floats, other: Floats) -> list[float] | None:
    """Spearman's, with its 95 % interval by Fisher's transformation (Fieller et al. 1957)."""
    if len(one) < 4 or not np.ptp(one) or not np.ptp(other):
        return None
    r = float(spearmanr(one, other).statistic)
    half = 1.96 * 1.03 / np.sqrt(len(one) - 3)
    z = np.arctanh(np.clip(r, -0.999999, 0.999999))
    return [r, float(np.tanh(z - half)), float(np.tanh(z + half))]
