"""Interventions to export, and the scores that they give."""

from __future__ import annotations

import numpy as np

from recsae.sae.editing import Intervention
from recsae.steering.context import steer

MIXED = [
    Intervention((3, 5), "scale", (3.0, 0.0)),
    Intervention((5, 8), "set", 1.5, "", "active"),
    Intervention((9, 3), "add", (0.5, -1.0)),
    Intervention((11,), "at_least", 0.7),
    Intervention((12,), "at_most", 0.1),
    Intervention((40, 90), "set", 2.0),
]


ADDED = [Intervention((9, 3), "add", (0.5, -1.0)), Intervention((2,), "add", 2.0)]


def batch(opened):
    sequences, length = opened.recommender.sequences(), opened.recommender.max_length
    rows = np.arange(50)
    ends = sequences.lengths[rows]
    return sequences.batch(rows, np.maximum(0, ends - length), ends, length)


def steered_scores(opened, steps):
    with steer(opened.recommender, opened.sae, steps):
        return opened.recommender.score(batch(opened))
