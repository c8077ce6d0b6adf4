"""Where the details beside gates start: from the items and the states, not from the seed.

From random directions each training ends elsewhere. Spherical k-means of the item table, which is
part of the model and the same whoever is held out, refined by k-means of the states, leads most of
them to the same place again. An SAE without gates reconstructs worse from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from recsae.capture.cases import spread
from recsae.capture.store import STATES

if TYPE_CHECKING:
    from recsae.capture.store import ActivationStore
    from recsae.sae.model import SAE

MAX_ROWS = 60_000
"""Items, and states, at most that are clustered, evenly spread: bounds the time."""
ITEM_ROUNDS = 10
STATE_ROUNDS = 4
"""Rounds of k-means; more of the states would lose what the items have given."""
AT_ONCE = 8192
"""Rows that are compared with all centres in one go: bounds the memory."""


def starting_directions(
    sae: SAE, store: ActivationStore, items: torch.Tensor | None
) -> torch.Tensor:
    """Unit directions ``(n_details, d)`` for a new SAE that knows its mean and scale.

    Parameters
    ----------
    items
        ``(n_items, d)`` rows of the table whose products with states are the scores, if there is
        one. Where there are more details than rows, the others start at states.
    """
    some = store.rows(STATES, spread(len(store), MAX_ROWS))
    states = F.normalize(sae.normalised(torch.from_numpy(some)), dim=1)
    n = sae.n_details
    centres = states[:0]
    if items is not None and len(items) > 1:
        table = items.float()[spread(len(items), MAX_ROWS)]
        rows = F.normalize(table - table.mean(0), dim=1)
        centres = _rounds(rows, rows[spread(len(rows), n)], ITEM_ROUNDS)
    rest = states[spread(len(states), n - len(centres))]
    lacking = n - len(centres) - len(rest)  # fewer states than details
    generator = torch.Generator().manual_seed(sae.config.seed)
    more = F.normalize(torch.randn(lacking, sae.width, generator=generator), dim=1)
    return _rounds(states, torch.cat([centres, rest, more]), STATE_ROUNDS)


def _rounds(rows: torch.Tensor, centres: torch.Tensor, number: int) -> torch.Tensor:
    """Rounds of spherical k-means of unit rows; a centre that is nearest to none stays."""
    for _ in range(number):
        nearest = torch.cat([(part @ centres.T).argmax(1) for part in rows.split(AT_ONCE)])
        total = torch.zeros_like(centres).index_add_(0, nearest, rows)
        length = total.norm(dim=1, keepdim=True)
        centres = torch.where(length > 0, total / length.clamp(min=1e-12), centres)
    return centres
