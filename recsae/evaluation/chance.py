"""Concepts beside random directions that went through the same labeler and test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from recsae.concepts.status import SUPPORTED, UNSUPPORTED, VERIFIED
from recsae.core import columns as C

if TYPE_CHECKING:
    from numpy.typing import NDArray

TESTED = (VERIFIED, SUPPORTED, UNSUPPORTED)
N_NEIGHBOURS = 100
"""Random directions, the nearest in rate, that each concept is compared with."""
N_BLOCKS = 16
"""Parts in which concepts are compared: bounds the table of distances."""
RANDOM_DRAWS = 2
"""Draws of random directions over which their named share is averaged: one alone varies by several
points."""


def chance_percentiles(scores: pd.DataFrame, chance: pd.DataFrame) -> NDArray[np.float64]:
    """Where each concept stands among random directions that fire about as often (0 to 100).

    Each is compared with the 100 nearest in rate.
    """
    percentile = np.full(len(scores), np.nan)
    if not chance[C.STATUS].isin(TESTED).any():
        return percentile
    chance = chance[chance[C.STATUS].isin(TESTED)].sort_values(C.N_POS)
    rate, value = np.log(chance[C.N_POS].to_numpy()), chance[C.F1].to_numpy()
    for rows in np.array_split(np.flatnonzero(scores[C.STATUS].isin(TESTED)), N_BLOCKS):
        ours = scores.iloc[rows]
        distance = np.abs(rate - np.log(ours[C.N_POS].to_numpy()[:, None]))
        near = np.argsort(distance, axis=1, kind="stable")[:, :N_NEIGHBOURS]
        lower = value[near] < ours[C.F1].to_numpy()[:, None]
        percentile[rows] = 100 * lower.mean(1)
    return percentile
