"""How large a number that people or files give may be: what is beyond is a slip, not a wish."""

from __future__ import annotations

from typing import Final

MAX_LATENTS: Final = 1_000_000
"""A latent is tested on 20 held-out positions on which it is active: with 8 active ones at a time,
a million latents need millions of positions, and at width 64 their training takes 2 GB."""
MAX_SEED: Final = 2**31 - 1
"""What every generator takes: scikit-learn's end at 2**32, and seeds are counted up from here."""
MAX_POSITIONS: Final = 10**12
"""A hundred times the interactions of the largest public data sets."""
MAX_TRAININGS: Final = 100
"""Further trainings of one SAE: each costs as much as the run's own."""
MAX_FLOAT: Final = 1e6
"""Weights, rates and prices: all are near 1."""
