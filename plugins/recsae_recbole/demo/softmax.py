"""Cross-entropy over a catalogue: the whole, or a sample that counts for most of its items.

The gradient is written out. Autograd would hold three tables of states and items, each written to
memory once and read again; here a piece of one stays in the cache until nothing is left to do.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    import numpy as np

FULL = 4000
"""Rows of the item table up to which all are scored in training."""
SAMPLED = 1024
"""Items that stand for all those that no prediction of the batch is about."""
LINE = 16
"""Columns of a table are a multiple of this: products of other widths are slow."""
PIECE = 1 << 19
"""Scores at once."""
MIN_ROWS = 64
"""States at once at least."""


def catalogue_loss(
    states: torch.Tensor, table: torch.Tensor, targets: torch.Tensor, rng: np.random.Generator
) -> torch.Tensor:
    """Mean cross-entropy of the scores of all items, or an estimate of it for large catalogues.

    Above :data:`FULL` rows the items that the batch is about are scored for each of its states, and
    of the others a uniform sample without replacement, in which each counts for as many as there
    are to one (its score is raised by the logarithm of that): the sum of exponentials that the
    softmax divides by is right on average.

    Parameters
    ----------
    states
        ``(n, d)``.
    table
        ``(m, d)`` whose products with states are the scores; row 0 is padding, and in a sample
        never.
    targets
        ``(n,)`` rows of the table.
    rng
        Of the sample.
    """
    m = len(table)
    if m <= FULL:
        return _mean_cross_entropy(states, table, targets, states.new_zeros(m))
    asked, where = targets.unique(return_inverse=True)
    others = torch.ones(m, dtype=torch.bool, device=table.device)
    others[asked], others[0] = False, False
    rest = torch.nonzero(others).squeeze(1)
    n_drawn = min(SAMPLED, len(rest))
    drawn = rest[torch.from_numpy(rng.choice(len(rest), n_drawn, replace=False)).to(rest.device)]
    shift = states.new_zeros(len(asked) + n_drawn)
    shift[len(asked) :] = math.log(max(1, len(rest)) / max(1, n_drawn))
    scored = F.embedding(torch.cat([asked, drawn]), table)
    return _mean_cross_entropy(states, scored, where, shift)


def _mean_cross_entropy(
    states: torch.Tensor, table: torch.Tensor, targets: torch.Tensor, shift: torch.Tensor
) -> torch.Tensor:
    loss: torch.Tensor = _MeanCrossEntropy.apply(states, table, targets, shift)  # type: ignore[no-untyped-call]
    return loss


class _MeanCrossEntropy(torch.autograd.Function):
    """Of ``states @ table.T + shift`` at ``targets``, with the gradients by states and table."""

    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        table: torch.Tensor,
        targets: torch.Tensor,
        shift: torch.Tensor,
    ) -> torch.Tensor:
        (n, d), m = states.shape, len(table)
        width = -(-m // LINE) * LINE
        rows, bias = table.new_zeros(width, d), shift.new_full((width,), -torch.inf)
        rows[:m], bias[:m] = table, shift
        columns = rows.T.contiguous()
        by_states, by_rows = torch.empty_like(states), torch.zeros_like(rows)
        total = states.new_zeros((), dtype=torch.float64)
        at_once = max(MIN_ROWS, PIECE // width)
        scores = states.new_empty(min(n, at_once), width)
        for part in torch.arange(n).split(at_once):
            some = slice(int(part[0]), int(part[-1]) + 1)
            there, theirs = states[some], targets[some, None]
            logs = torch.addmm(bias, there, columns, out=scores[: len(part)]).log_softmax(1)
            total -= logs.gather(1, theirs).sum(dtype=torch.float64)
            slopes = logs.exp_()
            slopes.scatter_add_(1, theirs, slopes.new_full((len(part), 1), -1))
            torch.mm(slopes, rows, out=by_states[some])
            by_rows.addmm_(slopes.T, there)
        ctx.save_for_backward(by_states.div_(n), by_rows[:m].div_(n))
        return (total / n).to(states.dtype)

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        by_states, by_table = ctx.saved_tensors
        return by_states * slopes[0], by_table * slopes[0], None, None
