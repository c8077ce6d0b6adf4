"""Forward selection by orthogonal least squares, on moments alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def forward_selection(
    covariance: NDArray[np.float64],
    cross: NDArray[np.float64],
    limit: int,
    least_rest: float = 1e-9,
    closed: NDArray[np.bool_] | None = None,
    closes: Callable[[int], NDArray[np.bool_]] | None = None,
    begin: Sequence[int] = (),
    price: NDArray[np.float64] | float = 1.0,
    least_gain: float = 0.0,
) -> list[int]:
    """Variables in the order in which each explains most of what those before it left.

    Parameters
    ----------
    covariance
        ``(m, m)`` of the variables.
    cross
        ``(m, e)`` of the variables and what is to be explained, whose variance counts as it is.
    limit
        Variables at most.
    least_rest
        A variable is left out once those chosen leave less than this share of its variance.
    closed
        ``(m,)`` variables that are not to be chosen.
    closes
        ``(m,)`` variables that choosing this one rules out.
    begin
        Variables that are chosen before all others, in this order.
    price
        ``(m,)`` what each variable costs: the one that explains most for its price is next.
    least_gain
        Of what is to be explained a variable must explain more than this.

    >>> forward_selection(np.eye(3), np.array([[1.0], [3.0], [2.0]]), 2)
    [1, 2]
    """
    variance = covariance.diagonal().copy()
    usable = variance > 1e-12
    if closed is not None:
        usable &= ~closed
    chosen: list[int] = []
    while len(chosen) < limit:
        rest = covariance.diagonal()
        open_ = usable & (rest > least_rest * variance)
        if len(chosen) < len(begin):
            best = begin[len(chosen)]
        else:
            gain = np.where(open_, np.square(cross).sum(1) / np.where(open_, rest, 1), -1.0)
            open_ &= gain > least_gain
            if not open_.any():
                break
            best = int(np.where(open_, gain / price, -1.0).argmax())
        chosen.append(best)
        usable[best] = False
        if closes is not None:
            usable &= ~closes(best)
        share = covariance[:, best] / max(covariance[best, best], 1e-12)
        cross = cross - np.outer(share, cross[best])
        covariance = covariance - np.outer(share, covariance[best])
    return chosen
