"""What the stores of a run are captured from."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsae.core import layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.run.config import RunConfig


LABEL_CASES = 80_000
"""Construction cases at most that concepts are built on."""


class Planned(NamedTuple):
    """What a store is captured from."""

    rows: NDArray[np.int64]
    """Sequences of its users."""
    limit: int
    """Positions at most."""
    exact: bool
    """Whether its states are those that the model has when it recommends."""


def planned_stores(config: RunConfig, held: NDArray[np.bool_]) -> dict[str, Planned]:
    """The stores of a run by name; ``held (n_sequences,)`` are the users kept for testing."""
    built, tested = np.flatnonzero(~held), np.flatnonzero(held)
    return {
        layout.CONSTRUCTION_STORE: Planned(built, config.construction_positions, exact=False),
        layout.HELDOUT_STORE: Planned(tested, config.heldout_positions, exact=True),
    }


def planned_cases(config: RunConfig, lengths: NDArray[np.int64], held: NDArray[np.bool_]) -> int:
    """How many cases concepts are made and tested on at most, of histories of some lengths."""
    limits = min(LABEL_CASES, config.construction_positions), config.heldout_positions
    sides = zip(limits, (~held, held), strict=True)
    return sum(min(limit, int(lengths[side].sum())) for limit, side in sides)
