"""What an error in a state does to the scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.recommender.protocol import LinearHead


def score_metric(
    head: LinearHead | None, recommendable: NDArray[np.bool_], width: int
) -> NDArray[np.float64]:
    """``(d, d)`` matrix G with ``||E_c v||^2 = v' G v``: what an error in the state does to scores.

    E_c is the item table centred over items, since adding the same to every score changes nothing;
    the identity where scores are not linear in the state.
    """
    if head is None:
        return np.eye(width)
    table = head.items.double().numpy()[recommendable]
    table = table - table.mean(0)
    return table.T @ table  # type: ignore[no-any-return]


def root_of(metric: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(d, d)`` matrix R with ``R R' = G``: errors in states times it are errors in the scores."""
    values, vectors = np.linalg.eigh(metric)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0)))
