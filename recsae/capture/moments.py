"""Mean and variance of states; those of parts give those of the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recsae.core.errors import NotEnoughData

if TYPE_CHECKING:
    from numpy.typing import NDArray


ROWS_AT_ONCE = 4096
"""States in one go where differences are in double precision: few enough to stay in the cache."""


@dataclass(frozen=True)
class Moments:
    """What mean and variance of n states of width d are made from.

    ``total (d,)`` is their sum, ``spread`` the sum of ``||h - mean||^2``.
    """

    n: int
    total: NDArray[np.float64]
    spread: float

    @classmethod
    def of(cls, states: NDArray[np.float32]) -> Moments:
        """Of states ``(n, d)``.

        >>> one, two = np.array([[0.0, 1.0]]), np.array([[2.0, 3.0], [4.0, 5.0]])
        >>> whole = Moments.merged([Moments.of(one), Moments.of(two)])
        >>> whole.n, whole.mean.tolist(), round(whole.variance, 3)
        (3, [2.0, 3.0], 5.333)
        """
        total = states.sum(0, dtype=np.float64)
        mean, spread = total / max(1, len(states)), 0.0
        with np.errstate(invalid="ignore"):  # of infinite states there is neither
            for start in range(0, len(states), ROWS_AT_ONCE):
                spread += float(np.square(states[start : start + ROWS_AT_ONCE] - mean).sum())
        return cls(len(states), total, spread)

    @classmethod
    def merged(cls, parts: Sequence[Moments]) -> Moments:
        """Of all states of the parts together; NotEnoughData if there is none."""
        parts = [part for part in parts if part.n]
        if not parts:
            raise NotEnoughData("There are no states: they have no mean.")
        sizes, totals = np.array([p.n for p in parts]), np.stack([p.total for p in parts])
        n, total = int(sizes.sum()), totals.sum(0)
        with np.errstate(invalid="ignore"):
            apart = np.square(totals / sizes[:, None] - total / n).sum(1)
        return cls(n, total, sum(part.spread for part in parts) + float(sizes @ apart))

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean state ``(d,)``."""
        return self.total / self.n

    @property
    def variance(self) -> float:
        """Mean of ``||h - mean||^2``."""
        return self.spread / self.n
