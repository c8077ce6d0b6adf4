"""Forward passes over windows: states at several sites, and recommendations at each position."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsae.core.errors import RecSAEError
from recsae.recommender.lists import History, best_items, top_of_states

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from recsae.capture.windows import Windows
    from recsae.core.progress import Progress
    from recsae.recommender.protocol import LinearHead, Recommender

WINDOWS_AT_ONCE = 128
"""Windows, or prefixes, in one forward: what it holds stays in the cache."""
N_TOP = 10
"""Recommendations that are kept at each position."""


class Forward(NamedTuple):
    """States and recommendations at the m positions that some windows keep."""

    states: dict[str, NDArray[np.float32]]  # (m, d) at each site
    sequence: NDArray[np.int32]  # (m,) row of the sequence
    position: NDArray[np.int32]  # (m,) place of the last item in it
    top_items: NDArray[np.int32]  # (m, 10), best first


def head_for(recommender: Recommender, windows: Windows) -> LinearHead | None:
    """The head, where the states behind it come out of the same forwards as those of the windows.

    Otherwise lists are made by scoring every position by itself, one forward each.
    """
    last_only = bool((windows.ends - windows.kept_from == 1).all())
    if last_only or recommender.sites()[0].every_position:
        return recommender.linear_head()
    return None


class _Read(NamedTuple):
    """What the model gave at the m positions that some windows keep."""

    states: dict[str, torch.Tensor]  # (m, d) at each site
    rows: NDArray[np.int64]
    starts: NDArray[np.int64]  # first position of the window that each was read in
    positions: NDArray[np.int64]


def _read(recommender: Recommender, names: list[str], windows: Windows) -> _Read:
    """Run the model over some windows."""
    import torch

    sequences = recommender.sequences()
    batch = sequences.batch(windows.rows, windows.starts, windows.ends, recommender.max_length)
    offset = torch.arange(batch.items.shape[1])
    first = torch.from_numpy(windows.kept_from - windows.starts)
    kept = (offset >= first[:, None]) & (offset < batch.lengths[:, None])
    last_only = bool((kept.sum(1) == 1).all())
    states: dict[str, torch.Tensor] = {}
    if names:
        states = recommender.represent_sites(batch, names, positions=not last_only)
    if not last_only:
        states = {name: every[kept] for name, every in states.items()}
    which, where = (t.numpy() for t in torch.nonzero(kept, as_tuple=True))
    starts = windows.starts[which]
    return _Read(states, windows.rows[which], starts, starts + where)


def _ranked(
    recommender: Recommender, sites: list[str], read: _Read, head: LinearHead | None
) -> Forward:
    """Lists at the positions that were read; they leave out the history up to each if the
    recommender's do."""
    history = History(recommender.sequences(), read.rows, read.positions + 1)
    seen = history if recommender.filters_seen else None
    if head is not None:
        states = read.states[recommender.sites()[0].name]
        lists = top_of_states(states, head, recommender.catalog, N_TOP, seen)
    else:
        lists = _lists_of_prefixes(recommender, read.starts, history, seen)
    return Forward(
        {site: read.states[site].float().numpy() for site in sites},
        read.rows.astype(np.int32),
        read.positions.astype(np.int32),
        lists.astype(np.int32),
    )


def forward_all(
    recommender: Recommender,
    sites: list[str],
    windows: Windows,
    progress: Progress | None = None,
) -> Forward:
    """Read all windows, a batch at a time, for all the sites together.

    Where lists come out of a head, those of one batch are made while half of the threads read the
    next.

    Parameters
    ----------
    sites
        Names of sites whose states come from these windows.

    Raises
    ------
    RecSAEError
        The model gives NaN or infinite states.
    """
    import torch

    head, threads = head_for(recommender, windows), torch.get_num_threads()
    beside = threads // 2 if head is not None else 0
    default = recommender.sites()[0].name
    names = sites if head is None else list(dict.fromkeys([*sites, default]))
    parts: list[Future[Forward] | Forward] = []
    with ExitStack() as stack:
        if beside:
            stack.callback(torch.set_num_threads, threads)
            torch.set_num_threads(threads - beside)
            ranking = stack.enter_context(
                ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(threads,))
            )
        for first in range(0, len(windows), WINDOWS_AT_ONCE):
            index = np.arange(first, min(first + WINDOWS_AT_ONCE, len(windows)))
            read = _read(recommender, names, windows.take(index))
            for site in sites:
                _check_finite(read.states[site], site, recommender.name)
            rank = partial(_ranked, recommender, sites, read, head)
            parts.append(ranking.submit(rank) if beside else rank())
            if progress:
                progress(int(index[-1]) + 1, len(windows), "windows ranked")
        made = [part.result() if isinstance(part, Future) else part for part in parts]
    return Forward(
        {site: np.concatenate([p.states[site] for p in made]) for site in sites},
        np.concatenate([p.sequence for p in made]),
        np.concatenate([p.position for p in made]),
        np.concatenate([p.top_items for p in made]),
    )


def lists_of(
    recommender: Recommender, windows: Windows, progress: Progress | None = None
) -> NDArray[np.int64]:
    """``(m, 10)`` best items at the positions that windows keep, edits applied, sorted by sequence
    and position."""
    made = forward_all(recommender, [], windows, progress)
    order = np.lexsort((made.position, made.sequence))
    return np.asarray(made.top_items[order], dtype=np.int64)


def _check_finite(states: torch.Tensor, site: str, name: str) -> None:
    import torch

    bad = int((~torch.isfinite(states)).any(1).sum())
    if bad:
        raise RecSAEError(
            f"{name} gives NaN or infinite states at {bad} of {len(states)} positions of site "
            f"{site!r}: the model is broken there, nothing can be learned from it."
        )


def _lists_of_prefixes(
    recommender: Recommender,
    starts: NDArray[np.int64],
    history: History,
    seen: History | None,
) -> NDArray[np.int64]:
    """The model scores every prefix ``[start, end)`` by itself."""
    lists = []
    for first in range(0, len(starts), WINDOWS_AT_ONCE):
        part = slice(first, first + WINDOWS_AT_ONCE)
        sequences, rows, ends = history.take(part)
        batch = sequences.batch(rows, starts[part], ends, recommender.max_length)
        scores, mine = recommender.score(batch), seen.take(part) if seen else None
        lists.append(best_items(scores, recommender.catalog, N_TOP, mine).numpy())
    return np.concatenate(lists)
