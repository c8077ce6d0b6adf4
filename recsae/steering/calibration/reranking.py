"""Items chosen so that a list has the shares of the user's history: greedily, and by a strength for
each user."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from recsae.steering.calibration.figures import ALPHA, mixed

if TYPE_CHECKING:
    from recsae.steering.calibration.shares import ItemShares

NONE = float("-inf")


def greedy_choice(
    items: torch.Tensor,
    p: torch.Tensor,
    target: torch.Tensor,
    shares: ItemShares,
    strength: float,
    k: int,
) -> torch.Tensor:
    """Choose k of the candidates ``(n, m)`` of each case: columns ``(n, k)``, in no order.

    Parameters
    ----------
    items, p
        ``(n, m)`` candidates, and how likely each comes next; -inf for what is none.
    target
        ``(n, V)`` the shares that each list should have.

    Notes
    -----
    One item after another, each time the one with the largest ``p - strength * divergence`` of the
    list with it (Steck 2018, section 4, a probability being the score). All candidates with m
    values change the list's shares by the same ``1 / m`` each, so that logarithms are taken of the
    values, not of the candidates.
    """
    v = target.shape[1]
    values, n_values = shares.values[items], shares.n_values[items]
    sizes = torch.unique(n_values)
    sizes = sizes[sizes > 0] if bool(sizes.any()) else sizes + 1
    row = torch.zeros(max(int(n_values.max()), 1) + 1, dtype=torch.int64)
    row[sizes] = torch.arange(len(sizes))
    at = (row[n_values][:, :, None] * (v + 1) + values).flatten(1)  # into a table (n, sizes, V + 1)
    empty, each = n_values == 0, 1 / sizes.clamp_min(1)[:, None].float()
    sums, left, chosen = torch.zeros_like(target), p.clone(), []
    for _ in range(k):
        total = sums.sum(1, keepdim=True)
        gain = _gains(sums, total + 1, each, target)
        table = torch.nn.functional.pad(gain, (0, 1)).flatten(1)
        less = table.gather(1, at).view(*items.shape, -1).sum(2)
        if bool(empty.any()):  # which leave the shares, and so the denominator, as they are
            base, same = (_cross(sums, t, target) for t in (total + 1, total.clamp_min(1e-12)))
            less = torch.where(empty, (same - base)[:, None], less)
        best = (left + strength * less).max(1, keepdim=True).indices
        chosen.append(best)
        left.scatter_(1, best, NONE)
        mine = torch.gather(values, 1, best[:, :, None].expand(-1, -1, values.shape[2]))[:, 0]
        own = (mine < v) / n_values.gather(1, best).clamp_min(1)
        sums = torch.nn.functional.pad(sums, (0, 1)).scatter_add(1, mine, own)[:, :v]
    return torch.cat(chosen, 1)


def _gains(
    sums: torch.Tensor, total: torch.Tensor, each: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """``(n, sizes, V)`` by how much a value lowers the divergence where an item that has ``each``
    of it makes the list's ``sums (n, V)`` add up to ``total (n, 1)``."""
    old = mixed(sums / total, target).clamp_min(1e-12)[:, None]
    new = old + (1 - ALPHA) * each / total[:, None]
    return target[:, None] * (new / old).log()


def _cross(sums: torch.Tensor, total: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """``(n,)`` sum of ``p log q'``."""
    return (target * mixed(sums / total, target).clamp_min(1e-12).log()).sum(1)


def added_for_users(
    items: torch.Tensor, first: torch.Tensor, target: torch.Tensor, shares: ItemShares
) -> torch.Tensor:
    """What candidates ``(n, m)`` gain at a strength of 1, by how far each list is off: ``(n, m)``.

    The mean over an item's values of ``log(p' / q')``, the target's share of the value against its
    share in the list without steering, ``first (n, k)``; each has a little of the other. Nothing
    where a list has the shares that it should have, or a history asks for nothing.
    """
    own = shares.of_lists(first)
    off = (mixed(target, own).clamp_min(1e-12) / mixed(own, target).clamp_min(1e-12)).log()
    off[target.sum(1) == 0] = 0
    table = torch.nn.functional.pad(off, (0, 1))
    values = shares.values[items]
    sums = table.gather(1, values.flatten(1)).view(values.shape).sum(2)
    return sums / shares.n_values[items].clamp_min(1)
