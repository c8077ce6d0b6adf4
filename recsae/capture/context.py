"""What states lose where a window gives them less context than the model has."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsae.capture.cases import spread
from recsae.capture.forward import Forward, forward_all
from recsae.capture.windows import Windows

if TYPE_CHECKING:
    from recsae.core.progress import Progress
    from recsae.recommender.protocol import Recommender

N_COMPARED = 1_000
"""Positions at most of which both states are made: two forwards each."""


class ShortContext(NamedTuple):
    """Positions that windows give less context than the model has, and what both make of some."""

    share: float
    """Of the positions that the windows keep, those with less."""
    short: Forward
    """States and lists with the windows' context, of m positions."""
    whole: Forward
    """The same with all of it."""


def short_context(
    recommender: Recommender,
    site: str,
    windows: Windows,
    seed: int,
    progress: Progress | None = None,
) -> ShortContext | None:
    """Compare states of windows with those that the model has when it recommends.

    The states of a window's positions do not depend on later items, so each is made again from the
    window's items up to there. None if every position has the whole context.
    """
    cut = np.flatnonzero((windows.starts > 0) & (windows.kept_from < windows.ends - 1))
    if not len(cut):
        return None
    n_short = int((windows.ends - 1 - windows.kept_from)[cut].sum())
    some = windows.take(cut[spread(len(cut), N_COMPARED)])
    rng = np.random.default_rng(seed)
    ends = rng.integers(some.kept_from, some.ends - 1) + 1
    starts = np.maximum(0, ends - recommender.max_length)
    both = (
        forward_all(recommender, [site], Windows(some.rows, first, ends, ends - 1), progress)
        for first in (some.starts, starts)
    )
    return ShortContext(n_short / windows.n_positions, *both)
