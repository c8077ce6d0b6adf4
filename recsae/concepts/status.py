"""What became of a label: verified, supported, unsupported, untested, dead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from recsae.core import columns as C

if TYPE_CHECKING:
    from numpy.typing import NDArray

THRESHOLD = 0.8
LEVEL = 0.95
MIN_POSITIVES = 20
MIN_USERS = 10
VERIFIED = "verified"
SUPPORTED = "supported"
UNSUPPORTED = "unsupported"
UNTESTED = "untested"
DEAD = "dead"
MEANING = (
    *(C.ATTRIBUTE, C.VALUE, C.NEGATED),
    *(C.JOINT, C.SECOND_ATTRIBUTE, C.SECOND_VALUE, C.SECOND_NEGATED),
)
"""Columns in which labels of different concepts differ."""
STATUSES = (VERIFIED, SUPPORTED, UNSUPPORTED, UNTESTED, DEAD)


def verified_latents(scores: pd.DataFrame) -> NDArray[np.int64]:
    """Latents whose concepts are verified."""
    found: NDArray[np.int64] = scores.loc[scores[C.STATUS] == VERIFIED, C.LATENT].to_numpy(np.int64)
    return found


def distinct(scores: pd.DataFrame, labels: pd.DataFrame) -> int:
    """How many different things the verified concepts speak of, wherever and however many."""
    kept = labels.loc[(scores[C.STATUS] == VERIFIED).to_numpy(), list(MEANING)]
    return len(kept.drop_duplicates())
