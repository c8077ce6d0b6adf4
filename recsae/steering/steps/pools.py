"""Pools: the few items of each case that its list is made of, whatever the strength."""

from __future__ import annotations

from typing import NamedTuple

import torch

from recsae.core.topk import TopK, kernels_for, top_k

Part = tuple[torch.Tensor | None, int]
"""Columns of scores, None being all, and how many of the first there are enough."""
NONE = float("-inf")
LARGEST = float(torch.finfo(torch.float32).max)
LEAST = -200.0
"""Logarithms of probabilities below it are this: their powers stay finite."""
LEAST_OUTSIDE = 1e-6
"""What items that no list can be made of have together is this at least."""


class Pool(NamedTuple):
    """The items that lists of n cases can be made of. They ascend in each row, so that of equally
    good ones the lower comes first, except where compiled loops see to that, or a calibration goes
    by their order."""

    items: torch.Tensor
    """``(n, m)``"""
    scores: torch.Tensor
    """``(n, m)``, -inf where there is no item."""
    total: torch.Tensor
    """``(n, 1)`` the logarithm of the softmax's denominator; 0 without a temperature."""
    pushes: torch.Tensor
    """``(n, m)`` what edits add to scores, in temperatures; ``(n, 0)`` where it does not count."""
    target: torch.Tensor
    """``(n, V)`` the shares that lists should have; no columns where they are not calibrated."""
    p: torch.Tensor
    """``(n, m)`` probabilities, whatever the gain; ``(n, 0)`` where lists do not go by them."""

    @classmethod
    def of(cls, found: TopK, total: torch.Tensor) -> Pool:
        """A pool of items and scores."""
        none = found.values[:, :0]
        return cls(found.indices, found.values, total, none, none, none)

    def small(self) -> Pool:
        """The pool with items that take half the memory."""
        return self._replace(items=self.items.int())

    def take(self, part: slice) -> Pool:
        """Some of the cases."""
        items, *rest = (of_all[part] for of_all in self)
        return Pool(items.long(), *rest)

    def ascending(self) -> Pool:
        """The pool with the items of each row ascending."""
        items, order = self.items.sort(dim=1, stable=True)
        scores, pushes, p = (
            of_each.gather(1, order) if of_each.shape[1] else of_each
            for of_each in (self.scores, self.pushes, self.p)
        )
        return self._replace(items=items, scores=scores, pushes=pushes, p=p)

    def first_of_each(self, which: torch.Tensor, n: int, k: int) -> Pool:
        """Of each of n kinds of items the k with the largest p, of equal ones the lower item.

        ``which (n_items,)`` is the kind of each item, from 0 on. The items of each row ascend.
        """
        from recsae.steering.steps import kernels as compiled

        rows, width = len(self.items), n * k
        items = torch.zeros(rows, width, dtype=torch.int64)
        scores, p = torch.full((rows, width), NONE), torch.zeros(rows, width)
        compiled.first_of_each(
            self.items.contiguous().numpy(),
            self.scores.contiguous().numpy(),
            self.p.contiguous().numpy(),
            which.numpy(),
            k,
            *(items.numpy(), scores.numpy(), p.numpy()),
        )
        return self._replace(items=items, scores=scores, p=p)


class CalibratedP(NamedTuple):
    """What makes better probabilities of a model's own; see ``Powers`` of the steps."""

    p: float
    place: float
    """Powers of the model's probability, and of the place by score from 1 on."""
    prior: torch.Tensor
    """``(n_items,)`` what is added to the logarithm of an item's probability."""

    def of(self, log_p: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Probabilities ``(n, m)`` of items by the logarithms of the model's, the largest first and
        -inf for no item."""
        places = torch.arange(1.0, log_p.shape[1] + 1).log_().mul_(self.place)
        own = log_p.clamp_min(LEAST).mul_(self.p).add_(places).add_(self.prior[items])
        outside = (1 - log_p.exp().sum(1, keepdim=True)).clamp_min(LEAST_OUTSIDE).log()
        own.masked_fill_(log_p == NONE, NONE)
        return torch.softmax(torch.cat([own, outside], 1), 1)[:, :-1]


def best_among(scores: torch.Tensor, columns: torch.Tensor | None, n: int) -> TopK:
    """The n items of the largest scores ``(b, n_items)`` among some columns, all if None; fewer
    where there are no more columns."""
    among = scores if columns is None else scores.index_select(1, columns)
    best = top_k(among, min(n, among.shape[1]))
    return best if columns is None else TopK(best.values, columns[best.indices])


def others(first: TopK, further: TopK) -> TopK:
    """Those of some further items that are not among the first, by score, -inf where there are
    none; of equal scores the one that stands first."""
    if not further.values.numel():
        return further
    known = first.indices.masked_fill(first.values == NONE, -1)
    if kernels_for(first.values):
        from recsae.steering.steps import kernels as compiled

        twice = torch.empty(further.indices.shape, dtype=torch.bool)
        compiled.among(known.numpy(), further.indices.contiguous().numpy(), twice.numpy())
    else:
        twice = (further.indices[:, :, None] == known[:, None, :]).any(2)
    best = top_k(further.values.masked_fill(twice, NONE), further.values.shape[1])
    return TopK(best.values, further.indices.gather(1, best.indices))


def log_total(scores: torch.Tensor, most: torch.Tensor, temperature: float) -> torch.Tensor:
    """The logarithm of the softmax's denominator ``(n, 1)`` over scores ``(n, m)``, of which the
    largest are ``most (n, 1)``."""
    most = most.clamp_min(-LARGEST)
    total = (scores - most).div_(temperature).exp_().sum(1, keepdim=True).log_()
    return (total + most / temperature).clamp_min(-LARGEST)


def padded(found: TopK, n: int) -> TopK:
    """The items in n columns at least, the others -inf."""
    more = (0, max(0, n - found.values.shape[1]))
    values = torch.nn.functional.pad(found.values, more, value=NONE)
    return TopK(values, torch.nn.functional.pad(found.indices, more))


def joined(*parts: TopK) -> TopK:
    """Items side by side."""
    values, indices = zip(*parts, strict=True)
    return TopK(torch.cat(values, 1), torch.cat(indices, 1))
