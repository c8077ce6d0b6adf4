"""Results of the check of labels, and the form in which they are kept in ``goals.json``.

``to_dict`` makes what is written, ``from_dict`` reads it again; the keys are here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from recsae.steering.frontier import Estimate


class Turn(NamedTuple):
    """An intervention on one latent: scaled where it is active, or raised for everybody."""

    sign: int
    """Whether it turns the latent up (1) or down (-1)."""
    factor: float | None = None
    """What the activation is multiplied with, where the latent is active."""
    n_sd: float = 0.0
    """How many standard deviations are added to it for everybody."""


INTERVENTIONS = {
    "x10 where active": Turn(1, factor=10.0),
    "x0.1 where active": Turn(-1, factor=0.1),
    "+1 sd": Turn(1, n_sd=1.0),
    "-1 sd": Turn(-1, n_sd=-1.0),
}
"""What is done to each latent, by name; the factors are those of RecFTT's protocol."""


@dataclass(frozen=True)
class LatentCheck:
    """One latent under one intervention."""

    latent: int
    name: str
    intervention: str
    predicted: str
    """What the label says: "more" of its items or "fewer"."""
    change: Estimate
    """Change of the share of the label's items in the top 10."""
    n_cases: int
    agrees: bool | None
    """None: the interval covers 0, or there are too few cases."""

    def to_dict(self) -> dict[str, Any]:
        """As a row of a table."""
        change, low, high = self.change
        return {
            "latent": self.latent,
            "name": self.name,
            "intervention": self.intervention,
            "predicted": self.predicted,
            "change": change,
            "low": low,
            "high": high,
            "cases": self.n_cases,
            "agrees": self.agrees,
        }


@dataclass(frozen=True)
class InterventionSummary:
    """All latents under one intervention."""

    n_agree: int
    n_disagree: int
    n_undecided: int
    right_signs: float | None
    """Share of the latents whose change has the sign that the label says; no change counts half."""
    right_signs_shuffled: float | None
    """The same with the labels of other latents."""
    rank_correlation: Estimate | None
    """Spearman's, of the changes with what was worked out beforehand: the latent's standard
    deviation times how much more than others its direction promotes the label's items."""

    def to_dict(self) -> dict[str, Any]:
        """As it is written."""
        return {
            "agree": self.n_agree,
            "disagree": self.n_disagree,
            "cannot be told": self.n_undecided,
            "right signs": self.right_signs,
            "right signs, shuffled": self.right_signs_shuffled,
            "rank correlation": None if self.rank_correlation is None else [*self.rank_correlation],
        }

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> InterventionSummary:
        """Read what :meth:`to_dict` made."""
        correlation = row["rank correlation"]
        return cls(
            n_agree=row["agree"],
            n_disagree=row["disagree"],
            n_undecided=row["cannot be told"],
            right_signs=row["right signs"],
            right_signs_shuffled=row["right signs, shuffled"],
            rank_correlation=None if correlation is None else (*correlation,),
        )


@dataclass(frozen=True)
class CheckSummary:
    """How often labels predict what turning their latents does."""

    n_checked: int
    n_verified: int
    """Verified latents whose labels speak of items, whether they were checked or not."""
    by_intervention: dict[str, InterventionSummary]

    def to_dict(self) -> dict[str, Any]:
        """As ``goals.json`` has it."""
        return {
            "n_tried": self.n_checked,
            "n_verified": self.n_verified,
            **{name: summary.to_dict() for name, summary in self.by_intervention.items()},
        }

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> CheckSummary:
        """Read what :meth:`to_dict` made."""
        return cls(
            n_checked=record["n_tried"],
            n_verified=record["n_verified"],
            by_intervention={
                name: InterventionSummary.from_dict(record[name])
                for name in INTERVENTIONS
                if name in record
            },
        )


@dataclass(frozen=True)
class LabelCheck:
    """Every latent that was checked under every intervention, and a summary."""

    rows: tuple[LatentCheck, ...]
    summary: CheckSummary

    def to_dict(self) -> dict[str, Any]:
        """As ``recsae steer --check --json`` has it."""
        rows = [row.to_dict() for row in self.rows]
        return {"rows": rows, "summary": self.summary.to_dict()}
