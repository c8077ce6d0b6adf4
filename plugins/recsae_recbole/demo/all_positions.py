"""Windows, loss and validation score of SASRec's training on all positions of a window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from recsae.core.errors import NotEnoughData
from recsae.recommender.hooks import replaced_method
from recsae_recbole.dataset import Data
from recsae_recbole.demo.softmax import catalogue_loss
from recsae_recbole.general_data import POSITION_FIELD

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.recommender.protocol import EvaluationCases
    from recsae.recommender.sequences import Batch, Sequences

CUTOFF = 10
"""Length of the lists of the validation score, NDCG@10."""
EVALUATION_BATCH = 1024
"""Cases that are scored at once in validation: bounds the memory of their scores."""


def all_position_loss(
    model: Any, read: Batch, rng: np.random.Generator
) -> tuple[torch.Tensor, int]:
    """Mean :func:`catalogue_loss` of every next item in ``read``, and how many there are.

    Parameters
    ----------
    model
        RecBole's SASRec; its own ``forward`` runs, but for gathering the last position's state.
    read
        Windows ``(n, length + 1)``; all but the last column is read, all but the first predicted.
    rng
        Of the items that are sampled in a large catalogue.
    """
    items, targets = read.items.to(model.device), read.items[:, 1:].to(model.device)
    with replaced_method(model, "gather_indexes", lambda _: lambda states, _index: states):
        states = model.forward(items[:, :-1], read.lengths.to(model.device))
    there = targets > 0
    loss = catalogue_loss(states[there], model.item_embedding.weight, targets[there], rng)
    return loss, int(there.sum())


def draw_windows(
    sizes: NDArray[np.int64], length: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Windows of at most ``length + 1`` items that together predict every item but the first.

    The first and the last window of a history are always full where that is possible, and those
    between start at a new random offset each time, so that every position is seen now with much
    and now with little context.

    Parameters
    ----------
    sizes
        ``(n,)`` items of each history, at least 2.
    length
        Predictions per window.

    Returns
    -------
    which, starts, ends
        Number of the history and half-open span of items of each window.

    Examples
    --------
    >>> which, starts, ends = draw_windows(np.array([3, 9]), 3, np.random.default_rng(0))
    >>> [*zip(which.tolist(), starts.tolist(), ends.tolist())]
    [(0, 0, 3), (1, 0, 4), (1, 2, 6), (1, 5, 9)]
    """
    last = np.maximum(0, sizes - 1 - length)  # start of the last window
    offset = rng.integers(1, length + 1, len(sizes))
    between = np.maximum(0, -(-(last - offset) // length))
    counts = 1 + (last > 0) + between
    which = np.repeat(np.arange(len(sizes)), counts)
    number = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = np.where(number == 0, 0, offset[which] + (number - 1) * length)
    starts = np.minimum(starts, last[which])
    return which, starts, np.minimum(starts + length + 1, sizes[which])


def batches(
    lengths: NDArray[np.int64], per_batch: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Numbers of windows in batches of like length, at random but for that.

    Parameters
    ----------
    lengths
        ``(n,)`` predictions of each window: as many as a batch pads all of its windows to.
    per_batch
        Windows of a batch on average. Batches have about as many predictions each, whether
        of few long windows or of many short ones: every prediction then weighs the same.

    Examples
    --------
    >>> found = batches(np.array([9, 1, 1, 9, 1, 1]), 2, np.random.default_rng(0))
    >>> sorted(sorted(part.tolist()) for part in found)
    [[0], [1, 2, 4, 5], [3]]
    """
    order = rng.permutation(len(lengths))
    order = order[np.argsort(lengths[order], kind="stable")]
    until = np.cumsum(lengths[order])  # predictions up to and with each window
    number = (until - 1) * -(-len(lengths) // per_batch) // max(1, int(until[-1]))
    parts = np.split(order, np.flatnonzero(np.diff(number)) + 1)
    return [parts[i] for i in rng.permutation(len(parts))]


def training_part(data: Data) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Histories with something to predict, and how many of their items are for training."""
    feat = data.splits["train"].inter_feat
    rows = data.first_row[feat[data.dataset.uid_field].numpy()]
    sizes = np.zeros(len(data.sequences), dtype=np.int64)
    np.maximum.at(sizes, rows, feat[POSITION_FIELD].numpy().astype(np.int64) + 1)
    kept = np.flatnonzero(sizes > 1)
    if not len(kept):
        raise NotEnoughData("No user has enough interactions to train on after leave-one-out.")
    return kept, sizes[kept]


@torch.no_grad()
def ndcg(model: Any, sequences: Sequences, cases: EvaluationCases) -> float:
    """NDCG@10 by full ranking, unrounded; ties count for the target.

    Parameters
    ----------
    model
        RecBole's SASRec; put into evaluation mode.
    sequences, cases
        The prefix of case i is the last items before position ``ends[i]`` of row ``rows[i]``.
    """
    model.eval()
    total = 0.0
    order = np.argsort(cases.ends, kind="stable")  # those of like length are padded least
    for first in range(0, len(order), EVALUATION_BATCH):
        part = order[first : first + EVALUATION_BATCH]
        rows, ends = cases.rows[part], cases.ends[part]
        starts = np.maximum(0, ends - model.max_seq_length)
        batch = sequences.batch(rows, starts, ends, int((ends - starts).max()))
        states = model.forward(batch.items.to(model.device), batch.lengths.to(model.device))
        scores = (states @ model.item_embedding.weight.T).cpu()
        scores[:, 0] = -torch.inf  # padding is no item
        targets = torch.from_numpy(cases.targets[part])[:, None]
        better = (scores > scores.gather(1, targets)).sum(1)
        total += float((1 / torch.log2(better.double() + 2))[better < CUTOFF].sum())
    return total / len(cases.rows)
