"""How alike two runs are, beside how alike a run's own dictionaries are that were made again."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recsae.concepts.status import VERIFIED
from recsae.core import columns as C
from recsae.explore.compare import LOST, NEW, SPLIT
from recsae.report.write import report_facts

if TYPE_CHECKING:
    from recsae.explore.compare import Comparison

Z = 1.96
"""Standard errors of a 95 % interval."""


@dataclass(frozen=True)
class Control:
    """How much of a run's verified concepts comes back in dictionaries that were made again."""

    run: str
    """The run's folder."""
    kind: Literal["seeds", "halves"]
    """With other seeds on all users, or on each half of the users."""
    share: float
    """Of its verified concepts, those with a latent as similar as counts as a counterpart here."""
    chance: float | None
    """The same in random directions."""
    n: int
    """Its verified concepts."""


@dataclass(frozen=True)
class Likeness:
    """How much of the first run's verified concepts is in the second, and what to hold it to."""

    share: float | None
    """Verified concepts of the first run that have a counterpart; None where it has none."""
    n: int
    """Verified concepts of the first run, or, where only names are compared, names."""
    control: Control | None
    """None where only names are compared, or where no dictionary was made again."""

    @property
    def verdict(self) -> Literal["more", "as", "less"] | None:
        """Whether the runs are more alike than the control, as alike, or less; None without one.

        As alike: the two shares differ by no more than chance, at 95 %, concepts being the unit.
        """
        if self.control is None or self.share is None:
            return None
        a, b = self.share, self.control.share
        error = Z * sqrt(a * (1 - a) / self.n + b * (1 - b) / self.control.n)
        if abs(a - b) <= error:
            return "as"
        return "more" if a > b else "less"

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        control = None if self.control is None else vars(self.control)
        return {"share": self.share, "n": self.n, "control": control, "verdict": self.verdict}


def likeness_of(compared: Comparison) -> Likeness:
    """How alike two compared runs are, and the control: the first run's, or else the second's."""
    names = compared.names
    method = compared.matching.method
    if method == "names":
        n = len(names.both) + len(names.lost)
        return Likeness(len(names.both) / n if n else None, n, None)
    changes = compared.changes
    ours = changes[(changes[f"{C.STATUS}_before"] == VERIFIED)]
    ours = ours[~ours["change"].isin([SPLIT, NEW])]
    share = float((ours["change"] != LOST).mean()) if len(ours) else None
    runs = (compared.before.run, compared.after.run)
    found = (control_of(run, method) for run in runs)
    return Likeness(share, len(ours), next((one for one in found if one is not None), None))


def control_of(run: str | Path, criterion: Literal["direction", "activity"]) -> Control | None:
    """How much of a run's verified concepts comes back; None where nothing was made again.

    ``criterion`` is what counts as coming back, see
    :func:`recsae.evaluation.stability.compare_dictionaries`. Other seeds come before halves of the
    users: they are trainings on the same data.
    """
    stability = report_facts(Path(run))["stability"]
    for row in stability["summary"] if stability else ():
        if (row["among"], row["level"]) != ("verified", criterion):
            continue
        for kind in ("seeds", "halves"):
            if row[kind] is not None:
                return Control(str(run), kind, row[kind], row["chance"], row["n"])
    return None
