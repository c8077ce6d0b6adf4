"""What the page needs to turn concepts by itself: items, directions, and a few held-out users."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from recsae.capture.cases import spread
from recsae.concepts.status import DEAD, STATUSES, usefulness
from recsae.core import columns as C
from recsae.core import layout
from recsae.recommender.lists import top_of_scores, top_of_states
from recsae.report.schema.turn import (
    BYTES,
    Agreement,
    Kind,
    Rounded,
    SampleHistory,
    TurnData,
    encoded,
)
from recsae.run.open import ListRequest, list_request

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
LIST_LENGTH = 10
N_TRIED = 8
"""Settings that are tried for each sample, the first of them nothing."""
N_AMONG = 30
"""Settings turn the most useful latents."""
SAME = 0.99
"""Items' vectors have the fewest bits with which this share of the lists stays as it is without
rounding."""
KINDS: tuple[Kind, ...] = ("int8", "int16", "int24")
DIGITS = 7
"""Of activations: what 32 bits hold."""


class _Sampled(NamedTuple):
    """Samples: users, requests, states ``(n, d)``, activations ``(n, n_latents)``."""

    users: list[str]
    requests: list[ListRequest]
    states: torch.Tensor
    active: torch.Tensor


class _Tried(NamedTuple):
    """States ``(m, d)`` of samples with some latents set, and which sample each is of."""

    sample: NDArray[np.int64]
    latents: list[list[int]]
    values: list[list[float]]


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
    most = np.nan_to_num(work.statistics.quantiles[latents, -1]).tolist()
    tried = _tried(sampled, latents[:N_AMONG], most)
    items = _items(work, head, sampled, _one_by_one(sampled, latents[:N_AMONG], most))
    rounded = Rounded.of(directions, KINDS[-1])
    lists = _Lists(work, head, sampled, items, rounded, latents)
    vectors, agreement = lists.rounded(tried)
    histories = [[catalog.external_ids[i] for i in r.history] for r in sampled.requests]
    shown = {catalog.external_ids[i]: catalog.titles[i] for i in items.tolist()}
    for request in sampled.requests:
        shown |= {catalog.external_ids[i]: catalog.titles[i] for i in request.history}
    return TurnData(
        model=run.record["model"],
        sae=run.recorded(layout.SAE_WEIGHTS)[layout.SAE_WEIGHTS],
        site=run.config.site,
        masks_seen=work.recommender.filters_seen,
        list_length=LIST_LENGTH,
        n_items=int(catalog.recommendable.sum()),
        items=[catalog.external_ids[i] for i in items.tolist()],
        titles={item: title for item, title in shown.items() if title},
        vectors=vectors,
        bias=None if head.bias is None else encoded(head.bias[items].float().cpu().numpy()),
        latents=latents,
        most=most,
        directions=rounded,
        samples=[
            SampleHistory(user=user, items=history, active=_active(z))
            for user, history, z in zip(sampled.users, histories, sampled.active, strict=True)
        ],
        states=encoded(sampled.states.numpy()),
        agreement=agreement,
    )


def _sampled(work: Workspace) -> _Sampled | None:
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
    with torch.no_grad():
        states = [recommender.represent(one.batch, work.site).cpu() for one in requests]
        together = torch.cat(states).float()
        active = work.sae.encode(together.to(work.sae.W_dec.device)).cpu()
    return _Sampled(users, requests, together, active)


def _active(z: torch.Tensor) -> list[tuple[int, float]]:
    latents = torch.nonzero(z)[:, 0].tolist()
    return [(j, float(f"{float(z[j]):.{DIGITS}g}")) for j in latents]


def _latents(work: Workspace) -> list[int]:
    """Latents that can be turned: the best tested first, then the most useful; none that is dead,
    and as many as there is room for."""
    scores = work.label_scores
    scores = scores[scores[C.STATUS] != DEAD]
    rank = scores[C.STATUS].map(STATUSES.index).to_numpy()
    order = np.lexsort((scores[C.LATENT], -usefulness(scores).fillna(0), rank))
    room = MAX_BYTES // 3 // (BYTES[KINDS[-1]] * work.sae.width)
    latents: list[int] = scores[C.LATENT].to_numpy(np.int64)[order][:room].tolist()
    return latents


def _tried(sampled: _Sampled, latents: list[int], most: list[float]) -> _Tried:
    """Nothing, and one to three latents set to anything that a slider can be set to."""
    drawn = np.random.default_rng(0)
    sample = np.repeat(np.arange(len(sampled.users)), N_TRIED)
    chosen: list[list[int]] = []
    values: list[list[float]] = []
    for n in range(len(sample)):
        size = min(len(latents), 0 if n % N_TRIED == 0 else int(drawn.integers(1, 4)))
        places = drawn.choice(len(latents), size, replace=False).tolist()
        chosen.append([latents[i] for i in places])
        values.append([float(drawn.uniform(-1.5, 1.5)) * most[i] for i in places])
    return _Tried(sample, chosen, values)


def _one_by_one(sampled: _Sampled, latents: list[int], most: list[float]) -> _Tried:
    """Nothing, and each latent alone, as far as its slider goes to either side."""
    ways = [([], []), *(([j], [s * most[i]]) for i, j in enumerate(latents) for s in (-1.5, 1.5))]
    n = len(sampled.users)
    return _Tried(
        np.repeat(np.arange(n), len(ways)),
        [list(way[0]) for way in ways] * n,
        [list(way[1]) for way in ways] * n,
    )


def _edited(sampled: _Sampled, tried: _Tried, directions: dict[int, torch.Tensor]) -> torch.Tensor:
    """States ``(m, d)`` with latents set, of the type of the directions."""
    states = []
    for n, latents, values in zip(tried.sample.tolist(), tried.latents, tried.values, strict=True):
        state = sampled.states[n]
        for latent, value in zip(latents, values, strict=True):
            state = state + (value - sampled.active[n, latent]) * directions[latent]
        states.append(state)
    return torch.stack(states)


def _items(
    work: Workspace, head: LinearHead, sampled: _Sampled, tried: _Tried
) -> NDArray[np.int64]:
    """Items to keep, ascending: all that can be recommended, or those that come up most: each
    counts in a list as one over its place."""
    catalog = work.recommender.catalog
    real = np.flatnonzero(catalog.recommendable)
    room = min(MAX_ITEMS, MAX_BYTES // (BYTES[KINDS[-1]] * work.sae.width))
    if len(real) <= room:
        return real
    sae = work.sae.directions().cpu()
    which = {j: sae[j] for latents in tried.latents for j in latents}
    lists = top_of_states(_edited(sampled, tried, which), head, catalog, DEPTH)
    place = np.broadcast_to(np.arange(lists.shape[1]), lists.shape)
    often = np.bincount(lists.ravel(), 1 / (1 + place.ravel()), minlength=catalog.n_items)
    often[~catalog.recommendable] = 0  # the padding of short lists
    order = np.argsort(-often, kind="stable")[:room]
    return np.sort(order[often[order] > 0])


class _Lists:
    """Lists of the model, and those of the page, for the same settings."""

    def __init__(
        self,
        work: Workspace,
        head: LinearHead,
        sampled: _Sampled,
        items: NDArray[np.int64],
        directions: Rounded,
        latents: list[int],
    ) -> None:
        self.work, self.head, self.sampled, self.items = work, head, sampled, items
        self.own = dict(zip(latents, torch.from_numpy(directions.matrix()), strict=True))
        self.table = head.items[torch.from_numpy(items)].double().cpu().numpy()
        bias = None if head.bias is None else head.bias[torch.from_numpy(items)]
        self.bias = 0.0 if bias is None else bias.double().cpu().numpy()

    def rounded(self, tried: _Tried) -> tuple[Rounded, Agreement]:
        """Items' vectors as short as they can be, and how far lists made of them agree."""
        exact = self._of_model(tried)
        unrounded = self._agreement(exact, tried, self.table)
        for kind in KINDS:
            vectors = Rounded.of(self.table, kind)
            agreement = self._agreement(exact, tried, vectors.matrix())
            if agreement.n_same >= SAME * unrounded.n_same:
                break
        return vectors, agreement

    def _of_model(self, tried: _Tried) -> list[tuple[list[int], NDArray[np.float64]]]:
        """The list, and the scores of the items that are kept, of every setting."""
        work, catalog = self.work, self.work.recommender.catalog
        sae = work.sae.directions().cpu()
        states = _edited(self.sampled, tried, {j: sae[j] for some in tried.latents for j in some})
        found = []
        for n, state in zip(tried.sample.tolist(), states, strict=True):
            scores = self.head.score(state[None])
            top = top_of_scores(scores, catalog, LIST_LENGTH, self.sampled.requests[n].seen)
            found.append((top, scores[0, torch.from_numpy(self.items)].double().cpu().numpy()))
        return found

    def _agreement(
        self,
        exact: list[tuple[list[int], NDArray[np.float64]]],
        tried: _Tried,
        table: NDArray[np.float64],
    ) -> Agreement:
        states = _edited(self.sampled, tried, self.own).double().numpy()
        scores = states @ table.T + self.bias
        same = same_items = 0
        errors = []
        for n, (row, (top, own)) in enumerate(zip(scores, exact, strict=True)):
            errors.append(float(np.abs(row - own).max() / max(own.std(), 1e-12)))
            seen = self.sampled.requests[tried.sample[n]].seen
            open_to = np.where(np.isin(self.items, seen), -np.inf, row)
            mine = self.items[np.argsort(-open_to, kind="stable")[: len(top)]].tolist()
            same += mine == top
            same_items += set(mine) == set(top)
        return Agreement(
            n_lists=len(scores),
            n_same=same,
            n_same_items=same_items,
            largest_error=max(errors),
        )
