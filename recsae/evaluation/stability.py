"""Which latents of a dictionary come back in others that were made the same way.

A concept can come back as the same decoder direction, as a latent that is active on the same cases,
and as one of those whose label speaks first of the same. What random directions reach is chance for
each.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsae.sae.matching import ALIKE, SAME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from recsae.sae.matching import Nearest

SEEDS = "seeds"
HALVES = "halves"
CHANCE = "chance"
CRITERIA = ("direction", "activity", "label")
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
    """The group: the core, all latents, or the verified ones."""
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


def compare_dictionaries(
    nearest: Nearest,
    most_alike: Nearest,
    alike: tuple[NDArray[np.int64], NDArray[np.int64]],
    says: Sequence[str],
    others: Mapping[int, str],
) -> ComparedDictionary:
    """Look for each latent of the run in another dictionary.

    Criteria: *direction*, the best cosine is above 0.9; *activity*, the best correlation of
    activations on held-out cases is above 0.7; *label*, the label of a latent with such a
    correlation speaks first of the same value.

    Parameters
    ----------
    nearest, most_alike
        The best of the other's latents by decoder direction and by activations.
    alike
        Pairs of a latent of the run and of the other dictionary that correlate so much.
    says, others
        What the labels of the run's latents say first, and those of the other that are in a pair.
    """
    mine, other = alike
    same = np.array([says[i] == others[j] for i, j in zip(mine, other.tolist(), strict=True)], bool)
    back = {
        "direction": nearest.similarity > SAME,
        "activity": most_alike.similarity > ALIKE,
        "label": np.isin(np.arange(len(says)), mine[same]),
    }
    return ComparedDictionary(nearest.similarity, most_alike.similarity, back)


def return_shares(
    verified: NDArray[np.int64],
    others: dict[str, ComparedDictionary],
    kinds: dict[str, str],
    n_latents: int,
    n_core: int = 0,
) -> list[ReturnShare]:
    """The share that comes back, one row for each group of latents and criterion.

    The first ``n_core`` latents are a group of their own, if there are any. ``kinds`` of the other
    dictionaries, by name, are ``SEEDS``, ``HALVES`` or ``CHANCE``.
    """
    groups = {
        **({"core": np.arange(n_core)} if n_core else {}),
        "latents": np.arange(n_latents),
        "verified": verified,
    }
    rows = []
    for among, latents in groups.items():
        for criterion in CRITERIA:
            back = {name: other.back[criterion][latents] for name, other in others.items()}
            by_kind = {
                kind: _share([b for name, b in back.items() if kinds[name] == kind])
                for kind in (SEEDS, HALVES, CHANCE)
            }
            again = [b for name, b in back.items() if kinds[name] != CHANCE]
            every = _share([np.all(again, axis=0)] if again else [])
            rows.append(ReturnShare(among, len(latents), criterion, **by_kind, every=every))
    return rows


def _share(back: list[NDArray[np.bool_]]) -> float | None:
    """Mean share that comes back; None where there is nothing to count."""
    return float(np.mean(back)) if back and back[0].size else None


def latent_returns(
    names: NDArray[np.object_], again: dict[str, ComparedDictionary]
) -> list[LatentReturn]:
    """How often each latent comes back in retrained dictionaries, and its best similarities."""
    if not again:
        return []
    fractions = {c: np.mean([other.back[c] for other in again.values()], axis=0) for c in CRITERIA}
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
