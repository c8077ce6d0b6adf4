"""How many cases a language model was asked about, and how many of its answers are right."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Answers:
    """Counts of the cases of one description."""

    n_asked: int
    n_parsed: int
    """Cases with a readable answer; the counts below are of these."""
    n_failed: int
    true_positives: int
    false_negatives: int
    true_negatives: int
    false_positives: int

    def to_dict(self) -> dict[str, Any]:
        """The figures as files have them."""
        return asdict(self)


def counted(n_asked: int, truth: NDArray[np.bool_], yes: NDArray[np.bool_]) -> dict[str, int]:
    """The fields of :class:`Answers`, from the truth and the answers ``(n_parsed,)``."""
    return {
        "n_asked": n_asked,
        "n_parsed": len(truth),
        "n_failed": n_asked - len(truth),
        "true_positives": int((truth & yes).sum()),
        "false_negatives": int((truth & ~yes).sum()),
        "true_negatives": int((~truth & ~yes).sum()),
        "false_positives": int((~truth & yes).sum()),
    }
