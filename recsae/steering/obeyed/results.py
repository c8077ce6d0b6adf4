"""Results of turning what has a label, and the form in which they are kept.

Rows are kept in ``obeyed.parquet``, the two-by-twos of them in ``goals.json``: ``to_dict`` makes
what is written, ``from_dict`` reads it again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from recsae.core import columns as C

if TYPE_CHECKING:
    import pandas as pd

YES, NO, UNTOLD = "yes", "no", "cannot be told"
"""Whether a label is obeyed: lists change as it says, the other way, or not so that it shows."""
CODE = "code"
READABLE = "readable"
PREDICTED = "predicted"
STEP = "step"
"""By how much the unit's activation is turned, up and down."""
STEP = "step"
"""By how much the unit's activation is turned, up and down."""
UNTURNED, UP, DOWN = "share", "share_up", "share_down"
CHANGE, LOW, HIGH = "change", "change_low", "change_high"
OBEYED = "obeyed"
COLUMNS = (
    *(CODE, C.LATENT, C.NAME, READABLE, PREDICTED, OBEYED, STEP),
    *(UNTURNED, UP, DOWN, CHANGE, LOW, HIGH),
)
"""Of ``obeyed.parquet``, one row for each unit that was turned."""


@dataclass(frozen=True)
class TwoByTwo:
    """How many units of one code are readable, obeyed, both or neither.

    A unit is readable if its label is verified. Only labels that speak of items are here.
    """

    code: str
    n_readable: int
    n_readable_turned: int
    n_unreadable: int
    """Labels that were tested and are not verified."""
    n_unreadable_turned: int
    n_without_items: int
    """Tested labels that speak of no items: of the history's form, or of nothing."""
    both: int
    """Readable and obeyed."""
    readable_only: int
    opposite: int
    """Of those, how many do the opposite; of the rest no change can be told."""
    obeyed_only: int
    neither: int
    by_chance: float | None
    """The part of the readable that would be obeyed with labels of other readable units."""

    @classmethod
    def of(
        cls,
        code: str,
        rows: pd.DataFrame,
        sizes: tuple[int, int, int],
        by_chance: float | None,
    ) -> TwoByTwo:
        """Count the rows of one code.

        Parameters
        ----------
        rows
            Of the units that were turned.
        sizes
            How many labels are readable, how many are not, and how many speak of no items.
        """
        readable = rows[READABLE].to_numpy(bool)
        obeyed, opposite = ((rows[OBEYED] == said).to_numpy() for said in (YES, NO))

        def count(chosen: Any) -> int:
            return int(np.count_nonzero(chosen))

        return cls(
            code=code,
            n_readable=sizes[0],
            n_readable_turned=count(readable),
            n_unreadable=sizes[1],
            n_unreadable_turned=count(~readable),
            n_without_items=sizes[2],
            both=count(readable & obeyed),
            readable_only=count(readable & ~obeyed),
            opposite=count(readable & opposite),
            obeyed_only=count(~readable & obeyed),
            neither=count(~readable & ~obeyed),
            by_chance=by_chance,
        )


@dataclass(frozen=True)
class ObeyedSummary:
    """The two-by-twos of the dictionary, of its parts and of the baselines."""

    n_cases: int
    n_users: int
    codes: tuple[TwoByTwo, ...]
    """The dictionary first, then its core and what was found beside it, then baselines."""
    not_turned: dict[str, str] = field(default_factory=dict)
    """Codes that were not turned, and why."""

    def to_dict(self) -> dict[str, Any]:
        """As ``goals.json`` has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> ObeyedSummary:
        """Read what :meth:`to_dict` made."""
        return cls(**{**record, "codes": tuple(TwoByTwo(**row) for row in record["codes"])})


@dataclass(frozen=True)
class Obeyed:
    """Every unit that was turned, and the two-by-twos."""

    table: pd.DataFrame
    """With :data:`COLUMNS`; the dictionary's own latents are those of the code ``sae``."""
    summary: ObeyedSummary

    def to_dict(self) -> dict[str, Any]:
        """As ``recsae steer --check --json`` has it."""
        rows = self.table.astype(object).where(self.table.notna(), None).to_dict("records")
        return {"rows": rows, "summary": self.summary.to_dict()}
