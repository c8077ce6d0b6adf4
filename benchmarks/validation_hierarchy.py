"""Planted concepts one of which is a part of another.

A child is active only where its parent is true. SAEs absorb: where the child is active, the parent
often is not, so that what its name says is true of more cases than it is active on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from validation_worlds import Truths, World, code_of, moved, permuted, share_verified

from recsae.concepts.attributes.names import ITEM_ITSELF, VIEWS
from recsae.concepts.dictionary import build_concepts
from recsae.concepts.item_sets import MIN_ITEM_CASES
from recsae.concepts.status import UNTESTED, VERIFIED
from recsae.core import columns as C

Sides = tuple[NDArray[np.bool_], NDArray[np.bool_]]
N_FAMILIES = 40
N_CANDIDATES = 400
"""Families that are drawn, of which those with the wanted rates are taken."""
PARENTS = (0.02, 0.48)
"""Rates of parents; what is active on more is general-purpose."""
CHILDREN = (0.01, 0.3)
"""Rates of children, drawn evenly in their logarithm, as they fall off in real dictionaries."""
PARTS = (0.1, 0.9)
"""Shares of the parent's cases that are the child's."""


class Family(NamedTuple):
    """When a parent and its child are true, on both sides, and the genre of the parent."""

    genre: str
    parent: Sides
    child: Sides

    def fits(self) -> bool:
        """Whether both are true often enough, and the child is a part that matters."""
        parent, child = (float(np.concatenate(sides).mean()) for sides in self[1:])
        if not PARENTS[0] < parent < PARENTS[1]:
            return False
        return CHILDREN[0] < child < CHILDREN[1] and PARTS[0] < child / parent < PARTS[1]


Draw = Callable[[np.random.Generator], Family | None]
"""Draws a family, or finds that what it drew makes none."""


class _Genres:
    """Predicates about genres, of which families are made."""

    def __init__(self, world: World, truths: Truths) -> None:
        names = world.labeler.attributes.names
        of_value = [value if attribute == "genre" else "" for attribute, value in names]
        self.truth = truths[0]
        self.genre = np.resize(of_value, len(truths[1]))  # predicates repeat the values in order
        steps = [(view, t) for view, thresholds in VIEWS.items() for t in thresholds]
        self.view = np.repeat([view for view, _ in steps], len(names))
        self.threshold = np.repeat([t for _, t in steps], len(names))
        self.usable = np.flatnonzero((self.genre != "") & (self.view != "history"))
        self.last = [cases.last_items[:, 0] for cases in world.sides]

    def of(self, predicate: int) -> Sides:
        """Where it is true."""
        return self.truth[0][:, predicate], self.truth[1][:, predicate]

    def stricter(self, rng: np.random.Generator) -> Family | None:
        """The child asks for more items of the same genre in the same view."""
        one = rng.choice(self.usable)
        same = (self.genre == self.genre[one]) & (self.view == self.view[one])
        more = np.flatnonzero(same & (self.threshold > self.threshold[one]))
        if not len(more):
            return None
        return Family(self.genre[one], self.of(one), self.of(rng.choice(more)))

    def joined(self, rng: np.random.Generator) -> Family | None:
        """The child asks for another genre as well."""
        one, other = rng.choice(self.usable, 2)
        if self.genre[one] == self.genre[other]:
            return None
        parent, second = self.of(one), self.of(other)
        return Family(self.genre[one], parent, (parent[0] & second[0], parent[1] & second[1]))

    def items(self, rng: np.random.Generator) -> Family | None:
        """The parent is a genre of the last item, the child one to ten of these items."""
        one = rng.choice(self.usable[self.view[self.usable] == "last"])
        parent = self.of(one)
        seen, number = np.unique(self.last[0][parent[0]], return_counts=True)
        seen = seen[number >= 4 * MIN_ITEM_CASES]
        some = rng.permutation(seen)[: rng.integers(1, 11)]
        child = (np.isin(self.last[0], some), np.isin(self.last[1], some))
        return Family(self.genre[one], parent, child)


def planted_families(world: World, truths: Truths, rng: np.random.Generator) -> dict[str, float]:
    """What is verified, and said, of parents and children of three kinds.

    An absorbed parent is active where it is true and its child is not. Of all, one active case in
    twenty is moved. ``said`` is the share whose label speaks of the parent's genre as an attribute;
    of children that are items, whose label is a set of items. Permuted are the activations of
    absorbed parents, over all cases: within a user those of what a long history says stay true.
    """
    genres, figures = _Genres(world, truths), dict[str, float]()
    for kind in ("stricter", "joined", "items"):
        families = _drawn(getattr(genres, kind), rng)
        parts = {
            "parents": [family.parent for family in families],
            "children": [family.child for family in families],
            "absorbed": [_without(*family[1:]) for family in families],
        }
        for part, truth in parts.items():
            sides = zip(*truth, strict=True)
            code = code_of(tuple([moved(side, rng) for side in each] for each in sides))
            labels = build_concepts(code[0], world.sides[0], world.labeler).table
            scores = world.scores(code)
            name = f"hierarchy_{kind}_{part}"
            figures[f"{name}_verified"] = share_verified(scores)
            told = _speaks_of(labels, [family.genre for family in families])
            sets = (labels[C.ATTRIBUTE] == ITEM_ITSELF).to_numpy()
            said = sets if (kind, part) == ("items", "children") else told & ~sets
            figures[f"{name}_said"] = float(said[(scores[C.STATUS] != UNTESTED)].mean())
            if part == "absorbed":
                shuffled = world.scores(permuted(code, world, rng, within=False))
                figures[f"{name}_permuted_verified"] = int((shuffled[C.STATUS] == VERIFIED).sum())
    return figures


def _drawn(draw: Draw, rng: np.random.Generator) -> list[Family]:
    """Families whose children have rates even in their logarithm."""
    found: list[Family] = []
    while len(found) < N_CANDIDATES:
        family = draw(rng)
        if family is not None and family.fits():
            found.append(family)
    rates = np.array([np.concatenate(family.child).mean() for family in found])
    low, high = np.log(CHILDREN)
    chosen = []
    for wanted in np.exp(rng.uniform(low, high, N_FAMILIES)):
        nearest = int(np.abs(np.log(rates / wanted)).argmin())
        chosen.append(found[nearest])
        rates[nearest] = np.inf  # once each
    return chosen


def _without(parent: Sides, child: Sides) -> Sides:
    return parent[0] & ~child[0], parent[1] & ~child[1]


def _speaks_of(labels: pd.DataFrame, genres: list[str]) -> NDArray[np.bool_]:
    """Labels that say of their genre that it is there."""
    first = (labels[C.VALUE] == genres) & (labels[C.NEGATED] != True)  # noqa: E712
    second = (labels[C.SECOND_VALUE] == genres) & (labels[C.SECOND_NEGATED] != True)  # noqa: E712
    return np.asarray(first | second)
