"""The status of a label: verified, supported, unsupported, untested or dead.

The rule is applied in :mod:`recsae.evaluation.scoring`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recsae.core import columns as C
from recsae.core import layout
from recsae.core.files import read_json

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

THRESHOLD = 0.5
"""Held-out precision and held-out recall that a label must reach: right more often than wrong when
it speaks, and speaking of more than half of the cases where its latent is active. Precision must
also exceed the share of cases on which the latent is active: a label that always says "active" is
that precise."""
CONFIDENCE = 0.95
"""One-sided, users being the unit: with it both bounds of a verified label reach the threshold."""
MIN_POSITIVES = 20
"""Held-out cases on which a latent must be active for its label to be tested."""
MIN_USERS = 10
"""Held-out users who must have such a case; with few users the bound is too optimistic."""
VERIFIED = "verified"
SUPPORTED = "supported"
UNSUPPORTED = "unsupported"
UNTESTED = "untested"
DEAD = "dead"
MEANING = (
    *(C.ATTRIBUTE, C.VALUE, C.NEGATED),
    *(C.JOINT, C.SECOND_ATTRIBUTE, C.SECOND_VALUE, C.SECOND_NEGATED),
    *(C.THIRD_ATTRIBUTE, C.THIRD_VALUE, C.THIRD_NEGATED),
)
"""Columns in which labels of different concepts differ."""
STATUSES = (VERIFIED, SUPPORTED, UNSUPPORTED, UNTESTED, DEAD)


def usefulness(concepts: pd.DataFrame) -> pd.Series:
    """What concepts are sorted by: precision, times the share of score variance that each explains,
    times how often it comes back with its label where that is known (see :func:`with_back`).
    """
    back = concepts[C.BACK].fillna(0) if C.BACK in concepts else 1.0
    return (concepts[C.PRECISION].fillna(0) * concepts[C.EXPLAINS] * back).astype(float)


def with_back(concepts: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Concepts with the column ``back``: how often each comes back with its label.

    As they are where the run in the folder made no dictionary again.
    """
    rows = read_json(folder / layout.STABILITY).get("latents", [])
    back = {row[C.LATENT]: row["back"]["label"] for row in rows}
    return concepts.assign(**{C.BACK: concepts[C.LATENT].map(back)}) if back else concepts


def verified_latents(scores: pd.DataFrame) -> NDArray[np.int64]:
    """Latents whose concepts are verified."""
    verified = scores.loc[scores[C.STATUS] == VERIFIED, C.LATENT]
    latents: NDArray[np.int64] = verified.to_numpy(np.int64)
    return latents


def distinct(scores: pd.DataFrame, labels: pd.DataFrame) -> int:
    """How many different meanings the verified concepts have, in whatever view."""
    kept = labels.loc[(scores[C.STATUS] == VERIFIED).to_numpy(), list(MEANING)]
    return len(kept.drop_duplicates())
