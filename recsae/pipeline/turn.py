"""What the page needs to turn concepts by itself: items, directions, and a few held-out users."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from recsae.capture.cases import spread
from recsae.concepts.status import DEAD, STATUSES, usefulness, with_back
from recsae.core import columns as C
from recsae.core import layout
from recsae.pipeline.turned_lists import (
    KINDS,
    LIST_LENGTH,
    Lists,
    Sampled,
    Tried,
    edited,
    tried_settings,
)
from recsae.pipeline.typed import forward_of, sampled_histories
from recsae.recommender.lists import top_of_states
from recsae.report.schema.rounded import BYTES, Rounded, encoded
from recsae.report.schema.turn import SampleHistory, TurnData
from recsae.run.open import list_request

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.recommender.protocol import LinearHead
    from recsae.run.workspace import Workspace

N_SAMPLES = 36
"""Held-out users whose histories the page offers, evenly spread."""
MIN_HISTORY = 5
"""Items that such a history has at least, where there are histories that long."""
MAX_ITEMS = 20_000
"""Of more items those are kept that come up in lists of the samples."""
MAX_BYTES = 3_000_000
"""Of the items' vectors, and a third of it of the latents' directions."""
DEPTH = 200
"""An item comes up where it is among so many of a list."""
N_TRIED = 8
"""Settings that are tried for each sample, the first of them nothing."""
N_AMONG = 30
"""Settings turn the most useful latents."""
DIGITS = 7
"""Of activations: what 32 bits hold."""


def turn_data(work: Workspace) -> TurnData | None:
    """All that the page needs to turn concepts; None where scores are not linear in the states.

    The lists that the page makes are tried beside those of ``recsae steer`` for the samples with
    one to three latents set to activations within one and a half times their range.
    """
    head, sampled = work.head, None if work.head is None else _sampled(work)
    if head is None or sampled is None:
        return None
    catalog, run = work.recommender.catalog, work.run
    latents = _latents(work)
    directions = work.sae.directions().cpu()[latents].double().numpy()
    usual, most = (
        np.nan_to_num([work.statistics.quantile(j, q) for j in latents]).tolist() for q in (0.5, 1)
    )
    tried = tried_settings(sampled, latents[:N_AMONG], most, N_TRIED)
    items = _items(work, head, sampled, _one_by_one(sampled, latents[:N_AMONG], most))
    rounded = Rounded.of(directions, KINDS[-1])
    lists = Lists(work, head, items, rounded, latents)
    vectors, agreement = lists.rounded(sampled, tried)
    typed = _typed(work, sampled)
    forward, no_forward = forward_of(work, lists, typed, vectors, most)
    histories = [[catalog.external_ids[i] for i in r.history] for r in sampled.requests]
    shown = {catalog.external_ids[i]: catalog.titles[i] for i in items.tolist()}
    for request in sampled.requests:
        shown |= {catalog.external_ids[i]: catalog.titles[i] for i in request.history}
    return TurnData(
        model=run.record["model"],
        sae=run.recorded(layout.SAE_WEIGHTS)[layout.SAE_WEIGHTS],
        site=run.config.site,
        masks_seen=work.recommender.filters_seen,
        reads=work.recommender.max_length,
        reads_histories=typed is not None,
        same_typed=typed is not None and torch.equal(typed.states, sampled.states),
        list_length=LIST_LENGTH,
        n_items=int(catalog.recommendable.sum()),
        items=[catalog.external_ids[i] for i in items.tolist()],
        titles={item: title for item, title in shown.items() if title},
        vectors=vectors,
        bias=None if head.bias is None else encoded(head.bias[items].float().cpu().numpy()),
        latents=latents,
        usual=usual,
        most=most,
        directions=rounded,
        samples=[
            SampleHistory(user=user, items=history, active=_active(z))
            for user, history, z in zip(sampled.users, histories, sampled.active, strict=True)
        ],
        states=encoded(sampled.states.numpy()),
        agreement=agreement,
        forward=forward,
        no_forward=no_forward,
    )


def _sampled(work: Workspace) -> Sampled | None:
    """Held-out users, each with the history and the state that ``recsae steer --user`` has."""
    recommender = work.recommender
    sequences = recommender.sequences()
    rows = np.flatnonzero(work.heldout_users)
    long = rows[sequences.known[rows] >= MIN_HISTORY]
    rows = long if len(long) else rows[sequences.known[rows] > 0]
    if not len(rows):
        return None
    users = [str(sequences.users[row]) for row in rows[spread(len(rows), N_SAMPLES)]]
    requests = [list_request(recommender, user, None, mask_seen=False) for user in users]
    return Sampled.of(work, users, requests)


def _typed(work: Workspace, sampled: Sampled) -> Sampled | None:
    """The samples with the states that their items have without a user; None if there is none."""
    if work.recommender.sites()[0].per_user:
        return None
    return sampled_histories(work, [request.history for request in sampled.requests])


def _active(z: torch.Tensor) -> list[tuple[int, float]]:
    latents = torch.nonzero(z)[:, 0].tolist()
    return [(j, float(f"{float(z[j]):.{DIGITS}g}")) for j in latents]


def _latents(work: Workspace) -> list[int]:
    """Latents that can be turned: the best tested first, then the most useful; none that is dead,
    and as many as there is room for."""
    scores = work.label_scores
    scores = scores[scores[C.STATUS] != DEAD]
    rank = scores[C.STATUS].map(STATUSES.index).to_numpy()
    useful = usefulness(with_back(scores, work.folder)).fillna(0)
    order = np.lexsort((scores[C.LATENT], -useful, rank))
    room = MAX_BYTES // 3 // (BYTES[KINDS[-1]] * work.sae.width)
    latents: list[int] = scores[C.LATENT].to_numpy(np.int64)[order][:room].tolist()
    return latents


def _one_by_one(sampled: Sampled, latents: list[int], most: list[float]) -> Tried:
    """Nothing, and each latent alone, as far as its slider goes to either side."""
    ways = [([], []), *(([j], [s * most[i]]) for i, j in enumerate(latents) for s in (-1.5, 1.5))]
    n = len(sampled.users)
    return Tried(
        np.repeat(np.arange(n), len(ways)),
        [list(way[0]) for way in ways] * n,
        [list(way[1]) for way in ways] * n,
    )


def _items(work: Workspace, head: LinearHead, sampled: Sampled, tried: Tried) -> NDArray[np.int64]:
    """Items to keep, ascending: all that can be recommended, or those that come up most: each
    counts in a list as one over its place."""
    catalog = work.recommender.catalog
    real = np.flatnonzero(catalog.recommendable)
    room = min(MAX_ITEMS, MAX_BYTES // (BYTES[KINDS[-1]] * work.sae.width))
    if len(real) <= room:
        return real
    sae = work.sae.directions().cpu()
    which = {j: sae[j] for latents in tried.latents for j in latents}
    lists = top_of_states(edited(sampled, tried, which), head, catalog, DEPTH)
    place = np.broadcast_to(np.arange(lists.shape[1]), lists.shape)
    often = np.bincount(lists.ravel(), 1 / (1 + place.ravel()), minlength=catalog.n_items)
    often[~catalog.recommendable] = 0  # the padding of short lists
    order = np.argsort(-often, kind="stable")[:room]
    return np.sort(order[often[order] > 0])
