"""The probe of the kit: a recommender and a batch of its own sequences."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.recommender.protocol import Recommender
    from recsae.recommender.sequences import Batch


RTOL = 1e-4
"""Largest difference, relative to the largest value, between two forwards of the same sequences."""


@dataclass(frozen=True)
class Probe:
    """A recommender and a batch of n of its own sequences, of different lengths."""

    recommender: Recommender
    rows: NDArray[np.int64]

    @cached_property
    def batch(self) -> Batch:
        """The first items of the sequences, from two up to as many as the model reads."""
        longest = self.recommender.max_length
        room = np.minimum(self.recommender.sequences().lengths[self.rows], longest)
        ends = np.maximum(2, room - np.arange(len(self.rows)) % longest)
        return self.cut(self.rows, np.zeros_like(ends), ends)

    def cut(
        self, rows: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> Batch:
        """Items ``[start, end)`` of the sequences at ``rows``."""
        sequences = self.recommender.sequences()
        return sequences.batch(rows, starts, ends, self.recommender.max_length)

    @cached_property
    def names(self) -> list[str]:
        """Names of the sites."""
        return [site.name for site in self.recommender.sites()]


def need(true: bool, seen: str) -> None:
    """Raise AssertionError with what was seen."""
    if not true:
        raise AssertionError(seen)


def gap_between(left: torch.Tensor, right: torch.Tensor) -> float:
    """Largest difference, relative to the largest value."""
    both = torch.isfinite(left) & torch.isfinite(right)
    need(left.shape == right.shape, f"shapes {tuple(left.shape)} and {tuple(right.shape)} differ.")
    need(bool((left[~both] == right[~both]).all()), "values are NaN or infinite in one only.")
    if not bool(both.any()):
        return 0.0
    return float((left - right)[both].abs().max() / left[both].abs().max().clamp_min(1e-12))
