"""Counts of concepts by status."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from recsae.concepts.dictionary import ConceptDictionary
from recsae.concepts.status import SUPPORTED, UNSUPPORTED, VERIFIED, distinct
from recsae.core import columns as C

TESTED = (VERIFIED, SUPPORTED, UNSUPPORTED)


def finite(value: float) -> float | None:
    """The value, or None where there is none."""
    return float(value) if np.isfinite(value) else None


@dataclass(frozen=True)
class StatusCounts:
    """How many concepts of a code have each status."""

    n_units: int
    tested: int
    verified: int
    supported: int
    distinct_verified: int
    """Different meanings among the verified, however many units have them."""
    distinct_verified_equal_units: int
    """The same among the best units only, as many for every code."""
    mean_balanced_accuracy: float | None
    """Of the tested; None if there are none."""

    def to_dict(self) -> dict[str, Any]:
        """The counts as files have them."""
        return asdict(self)


def count_statuses(
    scores: pd.DataFrame, dictionary: ConceptDictionary, best_of: int
) -> StatusCounts:
    """Counts by status, the distinct ones also among the ``best_of`` units of highest F1."""
    tested = scores[scores[C.STATUS].isin(TESTED)]
    best = tested.nlargest(best_of, C.F1)[C.LATENT]
    among = scores[C.LATENT].isin(best).to_numpy()
    return StatusCounts(
        n_units=len(scores),
        tested=len(tested),
        verified=int((scores[C.STATUS] == VERIFIED).sum()),
        supported=int((scores[C.STATUS] == SUPPORTED).sum()),
        distinct_verified=distinct(scores, dictionary.table),
        distinct_verified_equal_units=distinct(scores[among], dictionary.table[among]),
        mean_balanced_accuracy=finite(tested[C.BALANCED_ACCURACY].mean()),
    )
