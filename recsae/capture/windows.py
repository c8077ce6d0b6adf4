"""The plan of a capture: windows of histories that the model reads, and positions kept of each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.recommender.protocol import Recommender, Site
    from recsae.recommender.sequences import Sequences

CONTEXT_SHARE = 0.8
"""Share of its context that every kept state has at least, at about four forwards per window of new
positions."""
EXACT_FORWARDS = 60_000
"""Forwards at most for exact states: bounds the time, 30 CPU seconds for SASRec on ml-1m."""


@dataclass(frozen=True)
class Windows:
    """n windows: positions ``[kept_from, end)`` of ``rows``, read from ``start`` on."""

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    kept_from: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_positions(self) -> int:
        """Positions kept in all windows together."""
        return int((self.ends - self.kept_from).sum())

    def take(self, index: NDArray[np.int64]) -> Windows:
        """The windows at ``index``, in that order."""
        return Windows(
            self.rows[index], self.starts[index], self.ends[index], self.kept_from[index]
        )

    def thinned(self, limit: int, seed: int) -> Windows:
        """Some of the windows, drawn evenly (seeded), of at most about ``limit`` positions."""
        if self.n_positions <= limit:
            return self
        return _sample(self, np.zeros(len(self), dtype=bool), limit, len(self), seed)


def windows_of(
    recommender: Recommender,
    site: Site,
    rows: NDArray[np.int64],
    limit: int | None,
    seed: int,
    *,
    exact: bool = False,
) -> Windows:
    """The windows that give a site's states of the sequences ``rows``; see plan_windows.

    A recommender's own ``max_positions`` is a limit too.
    """
    return plan_windows(
        recommender.sequences(),
        rows,
        recommender.max_length,
        every_position=site.every_position,
        per_user=site.per_user,
        limit=min((n for n in (limit, recommender.max_positions) if n is not None), default=None),
        seed=seed,
        exact=exact,
    )


def plan_windows(
    sequences: Sequences,
    rows: NDArray[np.int64],
    max_length: int,
    *,
    every_position: bool,
    per_user: bool = False,
    limit: int | None,
    seed: int,
    exact: bool = False,
) -> Windows:
    """Windows over each history but its last item, so that every kept position has a next item.

    Where one forward gives the states of all positions, windows overlap so that each kept state
    has at least 80 % of the context that the model would use there; the last one always ends at
    the end. Otherwise each window keeps only its last position. Where there is one state ``per
    user``, so does the user's only window, which ends where the items end that the state was
    learned from. If that makes more than ``limit`` positions, windows are drawn at random (seeded),
    the last of each history first.

    ``exact`` states are those that the model has when it recommends: every one has the whole
    context. There are at most ``EXACT_FORWARDS`` windows of them, drawn alike.
    """
    before_last = sequences.lengths[rows] - 1
    n_positions = sequences.known[rows] if per_user else before_last
    usable = (n_positions > 0) & (n_positions <= before_last)
    rows, n_positions = rows[usable], n_positions[usable]
    if per_user:
        which, ends, back = rows, n_positions, np.zeros_like(rows)
        starts = np.maximum(0, ends - max_length)
        kept_from = ends - 1
    elif every_position:
        context = max_length if exact else math.ceil(CONTEXT_SHARE * max_length)
        stride = max_length - context + 1
        beyond = np.maximum(0, -(-(n_positions - max_length) // stride))
        which, back = _repeat(rows, beyond + 1)
        ends = np.repeat(n_positions, beyond + 1) - stride * back
        starts = np.maximum(0, ends - max_length)
        kept_from = np.where(starts > 0, ends - stride, 0)
    else:
        which, back = _repeat(rows, n_positions)
        ends = np.repeat(n_positions, n_positions) - back
        starts = np.maximum(0, ends - max_length)
        kept_from = ends - 1
    windows = Windows(which, starts, ends, kept_from)
    forwards = EXACT_FORWARDS if exact else len(windows)
    limit = windows.n_positions if limit is None else limit
    if windows.n_positions <= limit and len(windows) <= forwards:
        return windows
    return _sample(windows, back == 0, limit, forwards, seed)


def _repeat(
    rows: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each row ``counts`` times, and the running number 0, 1, ... within it."""
    first = np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(rows, counts), np.arange(int(counts.sum())) - first


def _sample(
    windows: Windows, last: NDArray[np.bool_], limit: int, forwards: int, seed: int
) -> Windows:
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(len(windows)), ~last))
    sizes = (windows.ends - windows.kept_from)[order]
    enough = int(np.searchsorted(np.cumsum(sizes), limit, side="right"))
    return windows.take(np.sort(order[: max(1, min(enough, forwards))]))
