"""Lists after small edits, made of the first items of each case's own list where a bound allows."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import torch

from recsae.core.threads import in_threads
from recsae.core.topk import top_k
from recsae.recommender.lists import top_of_states

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.recommender.protocol import LinearHead

LENGTH = 500
"""Items of a shortlist."""
FROM_ITEMS = 20_000
"""In a smaller catalogue ranking all items costs no more."""
CASES_AT_ONCE = 64
"""Cases whose items' vectors are held at a time: 8 MB at width 64."""
ROUNDING = 1e-5
"""By so much of their size scores may be off."""
_MAKING = Lock()
"""One is made at a time: several threads may ask for the same."""


class Shortlist:
    """The first 500 items of the lists of n cases, under a linear head.

    An edit that adds e to a state adds at most ``e . m + |e| r`` to the score of any item, m being
    the mean of the items' vectors and r the distance of the farthest from it. Where the last score
    of the shortlist and this do not reach the k-th best score within it, no other item can come in.
    """

    def __init__(self, cases: Cases, head: LinearHead) -> None:
        self.cases, self.head = cases, head
        self.states = torch.from_numpy(cases.states)
        lists = torch.from_numpy(
            top_of_states(self.states, head, cases.catalog, LENGTH, cases.seen)
        )
        self.rest = head.score_items(self.states, lists[:, -1:])[:, 0]
        self.rest[lists[:, -1] == 0] = float("inf")  # fewer are left: nothing is settled
        self.items = lists.sort(dim=1).values  # of equal scores the lower item comes first
        real = head.items[torch.from_numpy(cases.catalog.recommendable)]
        self.middle = real.mean(0)
        self.radius = max(
            float((some - self.middle).norm(dim=1).max()) for some in real.split(4096)
        )
        self.in_full = 0.0
        """The part of the cases that the last lists were made of all items for."""

    @classmethod
    def of(cls, cases: Cases, head: LinearHead) -> Shortlist:
        """That of some cases, kept with them."""
        with _MAKING:
            if cls not in cases.counted:
                cases.counted[cls] = cls(cases, head)
            kept: Shortlist = cases.counted[cls]
        return kept

    def lists(self, moved: torch.Tensor, k: int) -> NDArray[np.int64]:
        """Lists ``(n, k)`` of states ``(n, d)`` that were moved, as all items give them."""
        lists, open_ = np.empty((len(moved), k), dtype=np.int64), np.empty(len(moved), dtype=bool)

        def make(first: int) -> None:
            part = slice(first, first + CASES_AT_ONCE)
            items, edit = self.items[part], moved[part] - self.states[part]
            best = top_k(self.head.score_items(moved[part], items), k)
            lists[part] = items.gather(1, best.indices).numpy()
            least, reach = best.values[:, -1], edit.norm(dim=1) * self.radius
            most = self.rest[part] + edit @ self.middle + reach
            slack = ROUNDING * (self.rest[part].abs() + reach + least.abs())
            open_[part] = ~(least > most + slack).numpy()

        in_threads(make, range(0, len(moved), CASES_AT_ONCE))
        rows = np.flatnonzero(open_)
        seen = self.cases.seen
        lists[rows] = top_of_states(
            moved[torch.from_numpy(rows)],
            *(self.head, self.cases.catalog, k, seen.take(rows) if seen else None),
        )
        self.in_full = len(rows) / max(1, len(moved))
        return lists
