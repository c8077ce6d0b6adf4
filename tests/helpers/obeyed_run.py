"""A run of latents that do, and do not do, what their labels say; worked out by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import scipy.sparse
import torch

from helpers.two_directions import CATALOG, FIRST, cases, table
from recsae.concepts.attributes.names import ITEM_ITSELF, LENGTH, SEPARATOR
from recsae.concepts.attributes.table import ItemAttributes
from recsae.concepts.status import UNSUPPORTED, UNTESTED, VERIFIED
from recsae.core import columns as C
from recsae.core import layout
from recsae.core.files import write_parquet
from recsae.recommender.protocol import LinearHead

SIX = SEPARATOR.join(f"i{i}" for i in range(21, 27))
"""Six items of those along the first dimension."""
LATENTS = [
    # direction, attribute, value, negated, status
    (0, "kind", "first", False, VERIFIED),  # obeyed
    (1, "kind", "first", False, VERIFIED),  # a wrong label: there are fewer of them
    (2, "kind", "first", False, VERIFIED),  # a dimension that scores do not depend on
    (0, "kind", "first", True, VERIFIED),  # says that they are absent, and there are more
    (1, "kind", "first", True, VERIFIED),  # says so, and there are fewer
    (0, ITEM_ITSELF, SIX, False, UNSUPPORTED),  # obeyed only
    (2, "kind", "first", False, UNSUPPORTED),  # neither
    (0, LENGTH, "at most 5 items", False, VERIFIED),  # speaks of no items
    (0, "kind", "first", False, UNTESTED),
]
ANSWERS = ["yes", "no", "cannot be told", "no", "yes", "yes", "cannot be told"]
"""Of the latents that are turned."""


def labels():
    """What the labels of all latents say, and how they stood the test."""
    rows = [
        {C.LATENT: j, C.NAME: f"latent {j}", C.ATTRIBUTE: attribute, C.VALUE: value,
         C.NEGATED: negated, C.STATUS: status, C.F1: 0.9 - 0.1 * j}
        for j, (_, attribute, value, negated, status) in enumerate(LATENTS)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def hand_made(folder, *, gates=0, baselines=True, n=300):
    """What turning needs of a run: 40 items of two kinds, three dimensions, the last of no use."""
    axes = torch.eye(3)
    items = table().items.clone()
    items[:, 2] = 0
    every, said = torch.tensor([one[0] for one in LATENTS]), labels()
    scale = torch.linspace(0.01, 50, len(LATENTS))[:, None]  # how large latents are is no matter
    if baselines:
        kept = said.assign(code="random")
        write_parquet(folder / layout.BASELINES, kept)
    has = scipy.sparse.csr_matrix(FIRST[:, None].astype(int))
    return SimpleNamespace(
        folder=folder,
        heldout=cases(n),
        head=LinearHead(items, None),
        site="states",
        sae=SimpleNamespace(directions=lambda: axes[every] * scale, n_gates=gates),
        tested_dictionary=SimpleNamespace(table=said.drop(columns=[C.STATUS, C.F1])),
        label_scores=said[[C.LATENT, C.STATUS, C.F1]],
        attributes=ItemAttributes(has, (("kind", "first"),)),
        recommender=SimpleNamespace(catalog=CATALOG, max_positions=None),
        baseline=lambda code, k: SimpleNamespace(directions=axes[every] * 3),
    )


def of_code(found, code):
    """The two-by-two of one code."""
    return next(row for row in found.summary.codes if row.code == code)
