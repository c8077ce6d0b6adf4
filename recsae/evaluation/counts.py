"""Counts of concepts by status."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from recsae.concepts.dictionary import ConceptDictionary
from recsae.concepts.status import SUPPORTED, VERIFIED, distinct
from recsae.core import columns as C
from recsae.evaluation.chance import TESTED


def finite(value: float) -> float | None:
    """The value, or None where there is none."""
    return float(value) if np.isfinite(value) else None


def count_statuses(
    scores: pd.DataFrame, dictionary: ConceptDictionary, best_of: int
) -> dict[str, Any]:
    """Concepts of each status; distinct ones in all and among the best ``2d`` units."""
    tested = scores[scores[C.STATUS].isin(TESTED)]
    best = tested.nlargest(best_of, C.BALANCED_ACCURACY)[C.LATENT]
    among = scores[C.LATENT].isin(best).to_numpy()
    return {
        "n_units": len(scores),
        "tested": len(tested),
        "verified": int((scores[C.STATUS] == VERIFIED).sum()),
        "supported": int((scores[C.STATUS] == SUPPORTED).sum()),
        "distinct_verified": distinct(scores, dictionary.table),
        "distinct_verified_equal_units": distinct(scores[among], dictionary.table[among]),
        "mean_balanced_accuracy": finite(tested[C.BALANCED_ACCURACY].mean()),
    }
