"""Results of tuning towards a goal, and the form in which they are kept in ``goals.json``.

``to_dict`` makes what is written, ``from_dict`` reads it again; the keys are here and nowhere else.
JSON has no NaN: what is null there is NaN here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from recsae.core.text import as_strong, more_by
from recsae.steering.fairness.results import GroupEffects
from recsae.steering.frontier import BUDGETS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from recsae.steering.frontier import Estimate


@dataclass(frozen=True)
class LatentSetting:
    """What is done to one latent."""

    latent: int
    name: str
    verified: bool
    scale: float
    """What its activation is multiplied with, where it is active."""
    bias_sd: float | None
    """``bias`` in standard deviations of its activation; None where that is 0."""
    bias: float
    """What is added to its activation, for everybody."""
    promotes: str | None = None
    """The attribute value whose items it promotes most; None where that is not known."""

    @property
    def where_active(self) -> str:
        """What it becomes where it is active, before anything is added."""
        return as_strong(self.scale)

    @property
    def for_everybody(self) -> str:
        """What is added to it, in words."""
        return "-" if self.bias_sd is None else more_by(self.bias_sd)

    def to_dict(self) -> dict[str, Any]:
        """As it is written."""
        return {
            "latent": self.latent,
            "name": self.name,
            "promotes": self.promotes,
            "verified": self.verified,
            "times": self.scale,
            "plus sd": self.bias_sd,
            "plus": self.bias,
            "where active": self.where_active,
            "for everybody": self.for_everybody,
        }

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> LatentSetting:
        """Read what :meth:`to_dict` made."""
        return cls(
            latent=row["latent"],
            name=row["name"],
            verified=row["verified"],
            scale=_figure(row["times"]),
            bias_sd=row["plus sd"],
            bias=_figure(row["plus"]),
            promotes=row.get("promotes"),
        )


@dataclass(frozen=True)
class GoalEffect:
    """The goal's quantity and NDCG@10 of held-out users, with and without steering."""

    n_users: int
    n_positions: int
    ndcg_kept: Estimate
    """NDCG@10 as a share of what it was."""
    before: float
    after: float
    ratio: Estimate
    """``after`` as a multiple of ``before``."""

    def to_dict(self) -> dict[str, Any]:
        """As it is written."""
        return {
            "held-out users": self.n_users,
            "positions": self.n_positions,
            "NDCG@10 kept": list(self.ndcg_kept),
            "before": self.before,
            "after": self.after,
            "times": list(self.ratio),
        }

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> GoalEffect:
        """Read what :meth:`to_dict` made."""
        return cls(
            n_users=row["held-out users"],
            n_positions=row["positions"],
            ndcg_kept=_estimate(row["NDCG@10 kept"]),
            before=_figure(row["before"]),
            after=_figure(row["after"]),
            ratio=_estimate(row["times"]),
        )


@dataclass(frozen=True)
class EffectAtLoss:
    """What held-out users get at the strength at which construction users lose a given part."""

    allowed_loss: float
    """Part of NDCG@10 that construction users lose, 0 to 1."""
    strength: float
    ndcg_kept: Estimate
    """NDCG@10 as a share of what it was."""
    value: float
    """The goal's quantity."""
    ratio: float
    """``value`` as a multiple of what it was."""
    lists_with_any: float | None = None
    """Part of the lists with any of the goal's items; for what is to be unlearned only."""
    gini: float | None = None
    """Gini coefficient of how often items are recommended; for goals of popularity only."""
    head_share: float | None = None
    """Share of the lists that the most popular items have; for goals of popularity only."""

    def to_dict(self, quantity: str) -> dict[str, Any]:
        """As it is written; the value has the name of the goal's quantity."""
        kept, low, high = self.ndcg_kept
        only_some = {
            "lists with any": self.lists_with_any,
            "Gini coefficient": self.gini,
            "head: share of lists": self.head_share,
        }
        return {
            "allowed loss": self.allowed_loss,
            "strength": self.strength,
            "NDCG@10 kept": kept,
            "low": low,
            "high": high,
            quantity: self.value,
            "times": self.ratio,
            **{key: value for key, value in only_some.items() if value is not None},
        }

    @classmethod
    def from_dict(cls, row: dict[str, Any], quantity: str) -> EffectAtLoss:
        """Read what :meth:`to_dict` made."""
        return cls(
            allowed_loss=_figure(row["allowed loss"]),
            strength=_figure(row["strength"]),
            ndcg_kept=_estimate(row[key] for key in ("NDCG@10 kept", "low", "high")),
            value=_figure(row[quantity]),
            ratio=_figure(row["times"]),
            lists_with_any=row.get("lists with any"),
            gini=row.get("Gini coefficient"),
            head_share=row.get("head: share of lists"),
        )


@dataclass(frozen=True)
class SideEffect:
    """The share of the lists that the items with another attribute value have."""

    value: str
    before: float
    after: float

    def to_dict(self) -> dict[str, Any]:
        """As it is written."""
        return asdict(self)

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> SideEffect:
        """Read what :meth:`to_dict` made."""
        return cls(row["value"], _figure(row["before"]), _figure(row["after"]))


@dataclass(frozen=True)
class PopularityMeasure:
    """A measure of how popular the recommended items are."""

    measure: str
    before: float
    after: float

    def to_dict(self) -> dict[str, Any]:
        """As it is written."""
        return asdict(self)

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> PopularityMeasure:
        """Read what :meth:`to_dict` made."""
        return cls(row["measure"], _figure(row["before"]), _figure(row["after"]))


@dataclass(frozen=True)
class MethodResult:
    """What one method of steering reaches, on held-out cases that are the same for every method."""

    method: str
    at_loss: dict[float, float]
    """The goal's quantity by the part of NDCG@10 that may be lost."""
    area: float
    """Mean gain in the goal's quantity over all losses from 0 to 10 %."""
    others_move: float
    """Mean absolute change of other attributes' shares of the lists at a loss of 5 %."""
    curve: tuple[tuple[float, float], ...]
    """NDCG@10 kept and the goal's quantity at each strength tried."""

    def to_dict(self) -> dict[str, Any]:
        """As it is written."""
        return {
            "way": self.method,
            **{loss_key(loss): value for loss, value in self.at_loss.items()},
            "area": self.area,
            "others move": self.others_move,
            "curve": [list(point) for point in self.curve],
        }

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> MethodResult:
        """Read what :meth:`to_dict` made."""
        return cls(
            method=row["way"],
            at_loss={
                loss: _figure(row[loss_key(loss)]) for loss in BUDGETS if loss_key(loss) in row
            },
            area=_figure(row["area"]),
            others_move=_figure(row["others move"]),
            curve=tuple((_figure(kept), _figure(value)) for kept, value in row["curve"]),
        )


@dataclass(frozen=True)
class Choice:
    """A method that can be kept, at the strength set on construction users for the loss that is
    allowed."""

    method: str
    strength: float
    on_construction: float
    """The goal's quantity on these users, that the method is chosen by."""
    effect: GoalEffect
    """On held-out users, on cases that are the same for every method."""

    def to_dict(self) -> dict[str, Any]:
        """As it is written."""
        return {
            "method": self.method,
            "strength": self.strength,
            "on construction users": self.on_construction,
            **self.effect.to_dict(),
        }

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> Choice:
        """Read what :meth:`to_dict` made."""
        return cls(
            method=row["method"],
            strength=_figure(row["strength"]),
            on_construction=_figure(row["on construction users"]),
            effect=GoalEffect.from_dict(row),
        )


@dataclass(frozen=True)
class TuningResult:
    """How far a goal is reached within an accuracy budget, and by which method."""

    goal: str
    quantity: str
    """What is measured of the lists, such as the share of the top 10."""
    allowed_loss: float
    """Part of NDCG@10 that construction users may lose, 0 to 1."""
    strength: float
    latents: tuple[LatentSetting, ...]
    """Those that move states most come first; none where the method turns none."""
    effect: GoalEffect
    """What the method reaches on held-out users."""
    at_losses: tuple[EffectAtLoss, ...]
    """The same at other losses, on fewer cases; none for a filter, which has no strength."""
    side_effects: tuple[SideEffect, ...]
    popularity: tuple[PopularityMeasure, ...] = ()
    """For goals of popularity only."""
    methods: tuple[MethodResult, ...] = ()
    """Latents first; none where they were not compared."""
    verdict: str | None = None
    """Which methods reach more than latents, where they were compared, and for goals of popularity
    what one direction carries, in sentences."""
    ranked_in_full: float | None = None
    """The part of the steered held-out lists that could not be made of the first 500 items of the
    unsteered ones; None in small catalogues, where all are made of all items."""
    method: str = "latents"
    """What is done: the method that is recommended, or the one that was asked for."""
    recommended: str = "latents"
    """The method that gains most on construction users."""
    done: tuple[str, ...] = ()
    """The steps of it, in words."""
    choices: tuple[Choice, ...] = ()
    """All methods that were tried and can be kept."""
    groups: GroupEffects | None = None
    """What it costs and gives groups of users; None where nothing is known of that."""

    def to_dict(self) -> dict[str, Any]:
        """As ``goals.json`` and ``recsae tune --json`` have it."""
        record: dict[str, Any] = {
            "goal": self.goal,
            "method": self.method,
            "recommended": self.recommended,
            "done": list(self.done),
            "quantity": self.quantity,
            "allowed loss": self.allowed_loss,
            "strength": self.strength,
            "latents": [one.to_dict() for one in self.latents],
            **self.effect.to_dict(),
            "strengths": [one.to_dict(self.quantity) for one in self.at_losses],
            "side effects": [one.to_dict() for one in self.side_effects],
        }
        record["choices"] = [one.to_dict() for one in self.choices]
        if self.groups is not None:
            record["user groups"] = self.groups.to_dict()
        if self.ranked_in_full is not None:
            record["ranked in full"] = self.ranked_in_full
        if self.popularity:
            record["popularity"] = [one.to_dict() for one in self.popularity]
        if self.methods:
            record["ways"] = [one.to_dict() for one in self.methods]
        if self.verdict is not None:
            record["verdict"] = self.verdict
        return record

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> TuningResult:
        """Read what :meth:`to_dict` made."""
        quantity = record["quantity"]
        return cls(
            goal=record["goal"],
            quantity=quantity,
            allowed_loss=_figure(record["allowed loss"]),
            strength=_figure(record["strength"]),
            latents=tuple(map(LatentSetting.from_dict, record["latents"])),
            effect=GoalEffect.from_dict(record),
            at_losses=tuple(EffectAtLoss.from_dict(row, quantity) for row in record["strengths"]),
            side_effects=tuple(map(SideEffect.from_dict, record["side effects"])),
            popularity=tuple(map(PopularityMeasure.from_dict, record.get("popularity", []))),
            methods=tuple(map(MethodResult.from_dict, record.get("ways", []))),
            verdict=record.get("verdict"),
            ranked_in_full=record.get("ranked in full"),
            method=record.get("method", "latents"),
            recommended=record.get("recommended", "latents"),
            done=tuple(record.get("done", [])),
            choices=tuple(map(Choice.from_dict, record.get("choices", []))),
            groups=GroupEffects.from_dict(record["user groups"])
            if record.get("user groups")
            else None,
        )


def loss_key(loss: float) -> str:
    """A loss as a key.

    >>> loss_key(0.005)
    '0.5 %'
    """
    return f"{100 * loss:g} %"


def _figure(value: float | None) -> float:
    return float("nan") if value is None else value


def _estimate(values: Iterable[float | None]) -> Estimate:
    value, low, high = map(_figure, values)
    return value, low, high
