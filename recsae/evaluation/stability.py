"""Which latents and names of a dictionary come back in others that were made the same way.

A concept can come back by several criteria, from the strictest to the mildest: as the same decoder
direction with the same name, as a latent that is active on the same cases, or only as a name that
some latent of the other dictionary has. What random directions reach is chance for each.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsae.sae.matching import ALIKE, SAME

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.sae.matching import Nearest

SEEDS = "seeds"
HALVES = "halves"
CHANCE = "chance"
CRITERIA = ("direction", "label", "activity", "name", "verified_name")
"""What must be the same for a latent to come back; see :func:`compare_dictionaries`."""
DIGITS = 4
"""Decimals of similarities in files."""


class ComparedDictionary(NamedTuple):
    """Another dictionary beside the run's; everything ``(n_latents,)``, by latent of the run."""

    cosine: NDArray[np.float64]
    """Of the decoder directions, with the nearest."""
    correlation: NDArray[np.float64]
    """Of the activations on held-out cases, with the most alike."""
    back: dict[str, NDArray[np.bool_]]
    """Whether the latent comes back, by each of ``CRITERIA``."""


@dataclass(frozen=True)
class ReturnShare:
    """The share of a group that comes back by one criterion; None where nothing was compared."""

    among: str
    """The group: all latents, the verified ones, or the distinct names of verified ones."""
    n: int
    """Members of the group."""
    criterion: str
    seeds: float | None
    """Mean over dictionaries of other seeds."""
    halves: float | None
    """Mean over dictionaries of halves of the users."""
    chance: float | None
    """With random directions."""
    every: float | None
    """In every retrained dictionary."""

    def to_dict(self) -> dict[str, Any]:
        """The row as files have it; the criterion is their ``level``."""
        return {("level" if k == "criterion" else k): v for k, v in asdict(self).items()}


@dataclass(frozen=True)
class LatentReturn:
    """How often a latent of the run comes back."""

    latent: int
    name: str
    stable: bool
    """Whether its label comes back in all dictionaries."""
    back: dict[str, float]
    """By criterion, the fraction of the dictionaries in which it does."""
    cosine: dict[str, float]
    """Highest cosine, by dictionary."""
    correlation: dict[str, float]
    """Highest correlation of activations, by dictionary."""


@dataclass(frozen=True)
class NameReturn:
    """How often a name of verified concepts comes back."""

    name: str
    n_latents: int
    """Verified latents of the run with this name."""
    back: dict[str, float]
    """By criterion, the fraction of the dictionaries in which one of them does."""


def compare_dictionaries(
    names: NDArray[np.object_],
    others: NDArray[np.object_],
    verified: NDArray[np.int64],
    nearest: Nearest,
    most_alike: Nearest,
) -> ComparedDictionary:
    """Look for each latent of the run in another dictionary.

    Criteria: *direction*, the best cosine is above 0.9; *label*, and the latent it is with has the
    same name; *activity*, the best correlation of activations on held-out cases is above 0.7;
    *name*, any latent has the same name; *verified_name*, one whose label is verified too.

    Parameters
    ----------
    names, others
        ``(n_latents,)`` names in the run and in the other dictionary.
    verified
        Latents of the other dictionary whose concepts are verified.
    nearest, most_alike
        The best of the other's latents by decoder direction and by activations.
    """
    same = nearest.similarity > SAME
    back = {
        "direction": same,
        "label": same & (others[nearest.other] == names),
        "activity": most_alike.similarity > ALIKE,
        "name": np.isin(names, others),
        "verified_name": np.isin(names, others[verified]),
    }
    return ComparedDictionary(nearest.similarity, most_alike.similarity, back)


def return_shares(
    names: NDArray[np.object_],
    verified: NDArray[np.int64],
    others: dict[str, ComparedDictionary],
    kinds: dict[str, str],
    n_core: int = 0,
) -> list[ReturnShare]:
    """The share that comes back, one row for each group of latents and criterion.

    The first ``n_core`` latents are a group of their own, if there are any.
    A name comes back by a criterion where one of its verified latents does. ``kinds`` of the other
    dictionaries, by name, are ``SEEDS``, ``HALVES`` or ``CHANCE``.
    """
    everyone, core = np.arange(len(names)), np.arange(n_core)
    groups = {
        **({"core": (core, core)} if n_core else {}),
        "latents": (everyone, everyone),
        "verified": (verified, np.arange(len(verified))),
        "names": (verified, np.unique(names[verified], return_inverse=True)[1]),
    }
    rows = []
    for among, (latents, group) in groups.items():
        n = len(np.unique(group))
        for criterion in CRITERIA:
            back = {
                name: _any(other.back[criterion][latents], group) for name, other in others.items()
            }
            by_kind = {
                kind: _share([b for name, b in back.items() if kinds[name] == kind])
                for kind in (SEEDS, HALVES, CHANCE)
            }
            again = [b for name, b in back.items() if kinds[name] != CHANCE]
            every = _share([np.all(again, axis=0)] if again else [])
            rows.append(ReturnShare(among, n, criterion, **by_kind, every=every))
    return rows


def _any(back: NDArray[np.bool_], group: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether any member of each group comes back."""
    return np.bincount(group, weights=back) > 0


def _share(back: list[NDArray[np.bool_]]) -> float | None:
    """Mean share that comes back; None where there is nothing to count."""
    return float(np.mean(back)) if back and back[0].size else None


def _fractions(back: list[dict[str, NDArray[np.bool_]]]) -> dict[str, NDArray[np.float64]]:
    """In which fraction of the dictionaries each comes back, by criterion."""
    return {criterion: np.mean([b[criterion] for b in back], axis=0) for criterion in CRITERIA}


def latent_returns(
    names: NDArray[np.object_], again: dict[str, ComparedDictionary]
) -> list[LatentReturn]:
    """How often each latent comes back in retrained dictionaries, and its best similarities."""
    if not again:
        return []
    fractions = _fractions([other.back for other in again.values()])
    return [
        LatentReturn(
            latent=row,
            name=str(name),
            stable=bool(fractions["label"][row] == 1),
            back={criterion: float(fractions[criterion][row]) for criterion in CRITERIA},
            cosine={n: round(float(o.cosine[row]), DIGITS) for n, o in again.items()},
            correlation={n: round(float(o.correlation[row]), DIGITS) for n, o in again.items()},
        )
        for row, name in enumerate(names)
    ]


def name_returns(
    names: NDArray[np.object_],
    verified: NDArray[np.int64],
    again: dict[str, ComparedDictionary],
) -> list[NameReturn]:
    """Names of verified concepts, those that come back the most first."""
    if not again or not len(verified):
        return []
    different, group = np.unique(names[verified], return_inverse=True)
    fractions = _fractions(
        [
            {criterion: _any(other.back[criterion][verified], group) for criterion in CRITERIA}
            for other in again.values()
        ]
    )
    size = np.bincount(group)
    rows = [
        NameReturn(
            name=str(name),
            n_latents=int(size[row]),
            back={criterion: float(fractions[criterion][row]) for criterion in CRITERIA},
        )
        for row, name in enumerate(different)
    ]
    return sorted(rows, key=lambda row: [-row.back[criterion] for criterion in reversed(CRITERIA)])
