"""Forward passes over windows: states at several sites, and recommendations at each position."""

from __future__ import annotations

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

WINDOWS_AT_ONCE = 256
"""Windows, or prefixes, in one forward: bounds its memory."""
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


def forward(
    recommender: Recommender, sites: list[str], windows: Windows, head: LinearHead | None
) -> Forward:
    """Read some windows once, for all the sites together.

    Lists leave out the history up to each position if the recommender's do.

    Parameters
    ----------
    sites
        Names of sites whose states come from these windows.
    head
        See :func:`head_for`.

    Raises
    ------
    RecSAEError
        The model gives NaN or infinite states.
    """
    import torch

    sequences, default = recommender.sequences(), recommender.sites()[0].name
    batch = sequences.batch(windows.rows, windows.starts, windows.ends, recommender.max_length)
    offset = torch.arange(batch.items.shape[1])
    first = torch.from_numpy(windows.kept_from - windows.starts)
    kept = (offset >= first[:, None]) & (offset < batch.lengths[:, None])
    last_only = bool((kept.sum(1) == 1).all())
    names = sites if head is None else list(dict.fromkeys([*sites, default]))
    states = {}
    if names:
        states = recommender.represent_sites(batch, names, positions=not last_only)
    if not last_only:
        states = {name: every[kept] for name, every in states.items()}
    for site in sites:
        _check_finite(states[site], site, recommender.name)
    which, where = (t.numpy() for t in torch.nonzero(kept, as_tuple=True))
    rows, starts = windows.rows[which], windows.starts[which]
    history = History(sequences, rows, starts + where + 1)
    seen = history if recommender.filters_seen else None
    if head is not None:
        lists = top_of_states(states[default], head, recommender.catalog, N_TOP, seen)
    else:
        lists = _lists_of_prefixes(recommender, starts, history, seen)
    return Forward(
        {site: states[site].float().numpy() for site in sites},
        rows.astype(np.int32),
        (starts + where).astype(np.int32),
        lists.astype(np.int32),
    )


def forward_all(
    recommender: Recommender,
    sites: list[str],
    windows: Windows,
    progress: Progress | None = None,
) -> Forward:
    """Read all windows, a batch at a time; see :func:`forward`."""
    head, parts = head_for(recommender, windows), []
    for first in range(0, len(windows), WINDOWS_AT_ONCE):
        index = np.arange(first, min(first + WINDOWS_AT_ONCE, len(windows)))
        parts.append(forward(recommender, sites, windows.take(index), head))
        if progress:
            progress(int(index[-1]) + 1, len(windows), "windows ranked")
    return Forward(
        {site: np.concatenate([p.states[site] for p in parts]) for site in sites},
        np.concatenate([p.sequence for p in parts]),
        np.concatenate([p.position for p in parts]),
        np.concatenate([p.top_items for p in parts]),
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
