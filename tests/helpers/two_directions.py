"""Items along two directions, and random states."""

from __future__ import annotations

import numpy as np

from helpers import toy
from recsae.recommender.catalog import build_catalog

N_ITEMS = 40


CATALOG = build_catalog(["[PAD]", *(f"i{i}" for i in range(1, N_ITEMS + 1))], None)


FIRST = np.arange(N_ITEMS + 1) > N_ITEMS // 2
"""Items of the second half lie along the first dimension, the others along the second."""


def table():
    rng = np.random.default_rng(0)
    items = rng.normal(size=(N_ITEMS + 1, 3)) * 0.3
    items[FIRST, 0] += 1
    items[~FIRST, 1] += 1
    return toy.head(items)


def cases(n=300):
    rng = np.random.default_rng(1)
    user = np.repeat(np.arange(n // 10), 10).tolist()
    states = rng.normal(size=(n, 3)) * 2
    targets = rng.integers(1, N_ITEMS + 1, n).tolist()
    return toy.cases(user, [[1]] * n, [[1]] * n, targets=targets, states=states, items=CATALOG)


WEIGHTS = FIRST.astype(np.float32)
