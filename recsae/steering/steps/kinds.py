"""What a steering does, step by step: as people read it, and as steering files keep it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, TypeGuard

from pydantic import BaseModel, ConfigDict, Field, model_validator

from recsae.core.errors import InvalidInput
from recsae.sae.editing import LIMIT, Intervention

By = Literal["constant", "probability", "log popularity"]
Edits = Literal["scores", "candidates", "pushes"]
Calibrating = Literal["greedy", "per-user"]
LEAST_CANDIDATES = 10
"""A list has ten items, so re-ranking needs as many to choose from."""


def found_turned(candidates: int) -> int:
    """How many of so many candidates the turned state finds: half of them, but the unturned one
    finds a list at least.

    >>> found_turned(100), found_turned(12), found_turned(10)
    (50, 2, 0)
    """
    return min(candidates // 2, candidates - LEAST_CANDIDATES)


_KEPT = ConfigDict(extra="forbid", frozen=True)
_Bounded = Annotated[float, Field(ge=-LIMIT, le=LIMIT)]
"""Beyond these numbers scores cannot be told apart, or are no longer finite."""
_Scale = Annotated[float, Field(ge=1 / LIMIT, le=LIMIT)]


class Wishes(BaseModel):
    """What there should be more or less of, by the names of attributes and concepts."""

    model_config = _KEPT

    more: tuple[str, ...] = ()
    less: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    popularity: Literal["-", "+"] | None = None

    @property
    def wishes(self) -> Wishes:
        """The wishes alone, without what else is asked for or done."""
        return Wishes(more=self.more, less=self.less, never=self.never, popularity=self.popularity)

    def said(self) -> str:
        """The wishes in words.

        >>> Wishes(more=("Comedy",), less=("Horror",)).said(), Wishes(popularity="-").said()
        ('more Comedy, less Horror', 'less popular items')
        """
        if self.popularity:
            return f"{'more' if self.popularity == '+' else 'less'} popular items"
        words = [f"more {name}" for name in self.more] + [f"less {name}" for name in self.less]
        return ", ".join([*words, *([f"never {' or '.join(self.never)}"] if self.never else [])])


class Direction(BaseModel):
    """The same vector, times a strength, is added to every state."""

    model_config = _KEPT

    kind: Literal["direction"] = "direction"
    name: str
    vector: tuple[_Bounded, ...] = Field(min_length=1)
    """``(d,)``"""
    strength: _Bounded

    def __str__(self) -> str:
        return f"{self.strength:.3g} times the direction {self.name!r} added to every state"


class Powers(BaseModel):
    """Better probabilities than a model's own, which are powers of three things: the model's p, the
    item's place by score from 1 on, and one more than how often it was consumed.

    They are made for what a list can be made of, and add up to one with what is left outside.
    """

    model_config = _KEPT

    p: _Bounded
    place: _Bounded
    popularity: _Bounded


class ReRanking(Wishes):
    """Items are ranked anew by what is wished for, each item's wishes being its weight.

    ``constant``: ``strength * unit`` times the weight is added to the score. ``log popularity``
    does the same with the logarithm of how often the item was consumed in the weight's place
    (logit adjustment). ``probability``: place by place, from the first, the item with the largest
    ``p * discount + strength * unit * weight`` is taken, p being the softmax of the scores at the
    temperature, or calibrated from it; then those that were taken are put in the order of p.

    What edits of states before it are for: ``scores``, lists are made of the scores after them.
    ``candidates``, half of the candidates are the first by those scores (:func:`found_turned`), the
    others the first by the scores of unedited states, which all of them are then ranked by (two
    queries, one list).
    ``pushes``, the same, and what the edits add to an item's score, in temperatures, is its weight.
    """

    kind: Literal["re-ranking"] = "re-ranking"
    by: By
    strength: _Bounded
    unit: float = Field(gt=0, le=LIMIT)
    """Of the strength: fixed with the file, so that it means the same for any list."""
    temperature: _Scale | None = None
    candidates: int | None = Field(None, ge=LEAST_CANDIDATES)
    """So many items, the first by score, can be in the list; None: all."""
    edits: Edits = "scores"
    powers: Powers | None = None

    @model_validator(mode="after")
    def _fits(self) -> ReRanking:
        if (self.temperature is not None) != (self.by == "probability"):
            raise ValueError("a temperature is for re-ranking by probability, which needs one")
        if self.powers is not None and self.by != "probability":
            raise ValueError("powers are for re-ranking by probability")
        if self.by == "log popularity" and self.popularity is None:
            raise ValueError("re-ranking by log popularity needs a popularity, '-' or '+'")
        if not abs(self.strength * self.unit) <= LIMIT:
            raise ValueError(f"strength times unit must lie between -{LIMIT:g} and {LIMIT:g}")
        if self.edits != "scores" and (self.by != "probability" or self.candidates is None):
            raise ValueError(f"edits for {self.edits} need candidates, and go by probability")
        if self.edits == "pushes" and self.said():
            raise ValueError("what edits push is favoured, so nothing else can be")
        if self.edits != "pushes" and not self.said():
            raise ValueError("a re-ranking needs something to favour: more, less or popularity")
        return self

    def __str__(self) -> str:
        within = f" within the first {self.candidates:,}" if self.candidates else ""
        if self.edits != "scores":
            within = f" within {self.candidates:,} items, half of them found by the turned state"
        how = "a constant" if self.by == "constant" else str(self.by)
        how = f"calibrated {how}" if self.powers else how
        what = self.said() or "what was turned pushes up"
        return f"re-ranked by {how}{within}: {what} (strength {self.strength:.3g})"


class Filter(BaseModel):
    """Items that lists leave out."""

    model_config = _KEPT

    kind: Literal["filter"] = "filter"
    never: tuple[str, ...] = Field(min_length=1)

    def __str__(self) -> str:
        return f"lists without {' and '.join(self.never)}"


class Calibration(BaseModel):
    """Lists get the shares of an attribute's values that each user's own history has.

    Items are chosen among the first ``candidates`` by score, p being the softmax of the scores at
    the temperature. ``greedy``: one after another, the one with the largest ``p - strength * KL``,
    the divergence of the list's shares from the history's; then they stand by their scores.
    ``per-user``: ``strength`` times the mean over an item's values of ``log(share in the history /
    share in the list as it was)`` is added to ``log p``.
    """

    model_config = _KEPT

    kind: Literal["calibration"] = "calibration"
    attribute: str = Field(min_length=1)
    by: Calibrating
    strength: float = Field(ge=0, le=LIMIT)
    temperature: _Scale
    candidates: int = Field(ge=LEAST_CANDIDATES)

    def __str__(self) -> str:
        how = "greedily" if self.by == "greedy" else "by a strength for each user"
        return (
            f"calibrated to each user's own {self.attribute} {how} within the first "
            f"{self.candidates:,} (strength {self.strength:.3g})"
        )


Step = Intervention | Direction | ReRanking | Filter | Calibration


def edits_states(step: Step) -> TypeGuard[Intervention | Direction]:
    """Whether a step is done to states, not to lists."""
    return isinstance(step, Intervention | Direction)


def in_order(steps: Iterable[Step]) -> list[Step]:
    """The steps in the order in which they are done: states, filters, constants, and what makes the
    whole list.

    Those of one kind stay in their order.

    Raises
    ------
    InvalidInput
        Several that make the whole list: re-rankings by probability, calibrations.
    """
    ordered = sorted(steps, key=_stage)
    if sum(_stage(step) == _LAST for step in ordered) > 1:
        raise InvalidInput(
            "Two steps re-rank by probability or calibrate, and each makes the whole list: use one "
            "of them."
        )
    return ordered


_LAST = 3


def _stage(step: Step) -> int:
    if edits_states(step):
        return 0
    if isinstance(step, Filter):
        return 1
    likely = isinstance(step, ReRanking) and step.by == "probability"
    return _LAST if likely or isinstance(step, Calibration) else 2
