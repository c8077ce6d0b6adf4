"""What calibration reaches, on held-out users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recsae.core.notebook.cells import Table, card

if TYPE_CHECKING:
    from recsae.steering.frontier import Estimate


@dataclass(frozen=True)
class Change:
    """A figure of the lists without and with calibration."""

    before: float
    after: float
    ratio: Estimate
    """``after`` as a multiple of ``before``."""

    def to_dict(self) -> dict[str, Any]:
        """As it is written."""
        return {"before": self.before, "after": self.after, "times": list(self.ratio)}


@dataclass(frozen=True)
class CalibrationEffect:
    """The calibration error and NDCG@10 of held-out users, without and with calibration."""

    n_users: int
    n_positions: int
    """Those whose histories have any of the values."""
    ndcg_kept: Estimate
    """NDCG@10 as a share of what it was."""
    error: Change
    """Mean divergence of the lists' shares from the histories'."""
    worst: Change
    """The same of the quarter of the users whose lists were off most."""
    quantile_error: Change | None
    """Popularity quantile calibration error; for popularity only."""

    def to_dict(self) -> dict[str, Any]:
        """As it is written."""
        quantiles = self.quantile_error
        return {
            "held-out users": self.n_users,
            "positions": self.n_positions,
            "NDCG@10 kept": list(self.ndcg_kept),
            "calibration error": self.error.to_dict(),
            "worst-off quarter": self.worst.to_dict(),
            **({} if quantiles is None else {"quantile error": quantiles.to_dict()}),
        }


@dataclass(frozen=True)
class CalibrationAtLoss:
    """What held-out users get from a method at the strength at which construction users lose a
    given part of NDCG@10."""

    method: str
    allowed_loss: float
    strength: float
    effect: CalibrationEffect

    def to_dict(self) -> dict[str, Any]:
        """As it is written."""
        return {
            "method": self.method,
            "allowed loss": self.allowed_loss,
            "strength": self.strength,
            **self.effect.to_dict(),
        }


@dataclass(frozen=True)
class CalibrationResult:
    """How far each user's lists are calibrated within an accuracy budget, and by which method."""

    attribute: str
    values: tuple[str, ...]
    allowed_loss: float
    """Part of NDCG@10 that construction users may lose, 0 to 1."""
    method: str
    """What is done: the method that is recommended, or the one that was asked for."""
    recommended: str
    """The method with the smallest error on construction users at that loss."""
    strength: float
    candidates: int
    on_construction: dict[str, float]
    """The calibration error on construction users at that loss, by method."""
    effect: CalibrationEffect
    at_losses: tuple[CalibrationAtLoss, ...]
    """Every method that was tried, at the allowed loss and at others, on fewer cases."""
    done: str
    """The step in words."""

    def at(self, method: str, loss: float) -> CalibrationAtLoss | None:
        """What a method reaches at a loss, if it was tried."""
        rows = (r for r in self.at_losses if (r.method, r.allowed_loss) == (method, loss))
        return next(rows, None)

    def to_dict(self) -> dict[str, Any]:
        """As ``recsae tune --calibrate --json`` has it."""
        return {
            "calibrated by": self.attribute,
            "values": list(self.values),
            "method": self.method,
            "recommended": self.recommended,
            "done": self.done,
            "allowed loss": self.allowed_loss,
            "strength": self.strength,
            "candidates": self.candidates,
            "on construction users": self.on_construction,
            **self.effect.to_dict(),
            "methods": [row.to_dict() for row in self.at_losses],
        }

    def __repr__(self) -> str:
        effect = self.effect
        return (
            f"CalibrationResult({self.attribute}: {self.method}, error {effect.error.before:.3g} "
            f"-> {effect.error.after:.3g}, NDCG@10 kept {effect.ndcg_kept[0]:.3f})"
        )

    def _repr_html_(self) -> str:
        effect = self.effect
        facts = {
            "what is done": self.done,
            "held-out users": effect.n_users,
            "NDCG@10 kept": "{:.3f} ({:.3f} to {:.3f})".format(*effect.ndcg_kept),
            "calibration error": f"{effect.error.before:.3g} -> {effect.error.after:.3g}",
        }
        rows = [
            (r.method, f"{100 * r.allowed_loss:g} %", r.effect.error.after, r.effect.ndcg_kept[0])
            for r in self.at_losses
        ]
        columns = ("method", "allowed loss", "error", "NDCG@10 kept")
        tables = [Table("Methods", columns, rows)]
        return card(f"Calibrated to each user's own {self.attribute}", facts, tables)
