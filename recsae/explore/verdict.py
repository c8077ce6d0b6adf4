"""Are two runs as alike as two dictionaries trained on one model? The verdict and its figures.

The control is what the stability stage of either run measured: the same dictionary made again with
other seeds or, where there are none of those, on half of the users. What two runs share is counted
as it is there, by the same criterion and over the same concepts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from recsae.evaluation.stability import CHANCE, HALVES, SEEDS
from recsae.report.words.formats import two_digits
from recsae.sae.matching import ALIKE, SAME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

Kind = Literal["same", "more", "alike", "less", "unknown"]
Criterion = Literal["direction", "activity"]

MIN_CONCEPTS = 20
"""Verified concepts of a run below which its side is not judged: an interval would say little."""
QUANTILE = 1.96
"""Standard errors on either side of a 95 % interval."""
AGAIN = {
    SEEDS: "with another seed",
    HALVES: "on half of the users",
}
"""How a dictionary was trained again."""
MEASURES = {
    SEEDS: "two dictionaries trained on one model",
    HALVES: "a run and the same on half of its users",
}
"""What the runs are measured by."""
TITLES = {"more": "More alike than", "alike": "As alike as", "less": "Less alike than"}
ADVICE = (
    "recsae run --stability 4 makes a run's dictionary again, on each half of the users and with "
    "two other seeds, and so says how much would change anyway."
)
"""How to get a control."""
STRICTER = (
    "Half of the users is half of the data: recsae run --stability 4 adds two dictionaries of "
    "other seeds on all of it, to measure by."
)
"""How to get a stricter control than halves of the users."""
COUNTERPARTS = {
    "direction": f"A counterpart is a latent whose direction has a cosine above {SAME}.",
    "activity": "A counterpart is a latent whose activations on the same held-out cases have a "
    f"correlation above {ALIKE}.",
}


@dataclass(frozen=True)
class Control:
    """Which latents of a run come back where its own dictionary is made again."""

    kind: str
    """``seeds`` or ``halves``."""
    back: NDArray[np.bool_]
    """``(n_dictionaries, n_latents)`` whether the latent has a counterpart there."""
    chance: float | None
    """Share of the verified latents that has a counterpart among random directions."""


@dataclass(frozen=True)
class Side:
    """The verified concepts of one run, and which of them the other run has."""

    latents: NDArray[np.int64]
    """``(n,)`` the verified latents."""
    found: NDArray[np.bool_]
    """``(n,)`` whether the other run has a counterpart."""
    controls: Mapping[str, Control]
    """By kind; empty where the dictionary was not made again."""


@dataclass(frozen=True)
class SideFigures:
    """What the verdict rests on, for the verified concepts of one run."""

    n: int
    """Verified concepts of the run."""
    found: float | None
    """Share of them with a counterpart in the other run; None without verified concepts."""
    kind: str | None = None
    """What the control is: dictionaries of other ``seeds``, or of ``halves`` of the users."""
    control: tuple[float, ...] = ()
    """The share that comes back in each dictionary of the control."""
    difference: tuple[float, float, float] | None = None
    """``found`` less the mean of ``control``, and its 95 % interval over concepts."""
    chance: float | None = None
    """Share with a counterpart among random directions."""


@dataclass(frozen=True)
class Verdict:
    """How alike two runs are, in words, and the figures of either run behind it."""

    kind: Kind
    """``same``: each latent has its twin. ``more``, ``alike`` or ``less`` alike than the control;
    ``unknown`` without one."""
    title: str
    """The verdict in a few words."""
    detail: str
    """The figures and what they are measured by, in sentences."""
    sides: tuple[SideFigures, SideFigures]
    """The first run's concepts in the second, and the second's in the first."""


def controls_of(stability: Mapping[str, Any], criterion: Criterion) -> dict[str, Control]:
    """The controls that a run has, by kind, out of the content of its ``stability.json``.

    Parameters
    ----------
    criterion
        By which a latent comes back: that by which the two runs are compared.

    Examples
    --------
    >>> latents = [{"latent": j, "cosine": {"half-1": cosine}} for j, cosine in enumerate((1, 0))]
    >>> made = [{"name": "half-1", "kind": "halves"}]
    >>> found = controls_of({"dictionaries": made, "latents": latents}, "direction")
    >>> found["halves"].back.tolist()
    [[True, False]]
    """
    key, above = ("cosine", SAME) if criterion == "direction" else ("correlation", ALIKE)
    names: dict[str, list[str]] = {}
    for other in stability.get("dictionaries", []):
        if other["kind"] != CHANCE:
            names.setdefault(other["kind"], []).append(other["name"])
    rows = sorted(stability.get("latents", []), key=lambda row: int(row["latent"]))
    chance = next(
        (
            row["chance"]
            for row in stability.get("summary", [])
            if (row["among"], row["level"]) == ("verified", criterion)
        ),
        None,
    )
    return {
        kind: Control(
            kind, np.array([[row[key][name] > above for row in rows] for name in made]), chance
        )
        for kind, made in names.items()
    }


def verdict(
    criterion: Criterion | None, before: Side, after: Side, *, same: bool = False
) -> Verdict:
    """Say whether two runs are as alike as their controls.

    A run's side is *less* (*more*) alike if fewer (more) of its verified concepts are found than
    in each dictionary of the control, and the 95 % interval of the paired difference is below
    (above) 0. The runs are less alike if one side is, and more alike if all that are judged are.

    Parameters
    ----------
    criterion
        How latents were paired; None where only names were compared.
    before, after
        The verified concepts of either run.
    same
        Whether each latent of one run has its twin in the other, with the same name.

    Examples
    --------
    >>> nothing = Side(np.arange(4), np.array([True, True, True, False]), {})
    >>> verdict("direction", nothing, nothing).title
    'No control for how alike they are'
    """
    kind = next((k for k in (SEEDS, HALVES) if k in {**before.controls, **after.controls}), None)
    sides = _figures(before, kind), _figures(after, kind)
    if criterion is None:
        says = (
            "Latents could not be paired, so no control applies: what a run's own dictionary shows "
            "when it is made again is counted by latents."
        )
        return Verdict("unknown", "Compared by name alone", says, sides)
    shares = [_share_says(*numbered) for numbered in zip(ORDER, sides, strict=True)]
    words = [*shares, COUNTERPARTS[criterion]]
    if same:
        return Verdict("same", "The same dictionary", " ".join(words), sides)
    if kind is None:
        why = f"Neither run says how much a mere other seed or half of the users changes. {ADVICE}"
        return Verdict(
            "unknown", "No control for how alike they are", " ".join([*words, why]), sides
        )
    judged = [found for side in sides if (found := _judged(side)) is not None]
    if not judged:
        few = f"Fewer than {MIN_CONCEPTS} verified concepts are too few to be judged."
        return Verdict(
            "unknown", "Too few verified concepts to say", " ".join([*words, few]), sides
        )
    alike: Kind = "less" if "less" in judged else "more" if set(judged) == {"more"} else "alike"
    if kind == HALVES and alike != "less":  # less alike than with half of the data is sure enough
        words.append(STRICTER)
    return Verdict(alike, f"{TITLES[alike]} {MEASURES[kind]}", " ".join(words), sides)


ORDER = (("first", "second"), ("second", "first"))
"""Whose concepts are looked for, and where."""


def _figures(side: Side, kind: str | None) -> SideFigures:
    n = len(side.latents)
    if not n:
        return SideFigures(0, None)
    found, control = float(np.mean(side.found)), side.controls.get(kind or "")
    if control is None:
        return SideFigures(n, found)
    back = control.back[:, side.latents]
    return SideFigures(
        n,
        found,
        control.kind,
        tuple(float(share) for share in back.mean(1)),
        _paired(side.found - back.mean(0)),
        control.chance,
    )


def _paired(differences: ArrayLike) -> tuple[float, float, float] | None:
    """The mean of n differences and its 95 % interval; None of fewer than two."""
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < 2:
        return None
    mean, half = float(values.mean()), QUANTILE * float(values.std(ddof=1)) / len(values) ** 0.5
    return mean, mean - half, mean + half


def _judged(side: SideFigures) -> Literal["more", "alike", "less"] | None:
    if side.n < MIN_CONCEPTS or side.found is None or side.difference is None:
        return None
    _, low, high = side.difference
    if high < 0 and side.found < min(side.control):
        return "less"
    return "more" if low > 0 and side.found > max(side.control) else "alike"


def _share_says(order: tuple[str, str], side: SideFigures) -> str:
    one, other = order
    if side.found is None:
        return f"The {one} run has no verified concept."
    says = (
        f"Of the {side.n:,} verified concepts of the {one} run {two_digits(side.found)} have a "
        f"counterpart in the {other}"
    )
    if not side.control:
        return f"{says}."
    chance = ""
    if side.chance is not None:
        chance = f"; among random directions {two_digits(side.chance)} have one"
    return (
        f"{says}, and {_range(side.control)} where its own dictionary was trained again "
        f"{AGAIN[str(side.kind)]}{chance}."
    )


def _range(shares: Sequence[float]) -> str:
    """Shares as one percentage, or from the lowest to the highest.

    >>> _range([0.0812, 0.0814]), _range([0.2, 0.1])
    ('8.1%', '10% to 20%')
    """
    low, high = two_digits(min(shares)), two_digits(max(shares))
    return low if low == high else f"{low} to {high}"
