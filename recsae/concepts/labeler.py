"""Labels without a language model: what about the items best tells when a latent is active."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
import pandas as pd
import scipy.sparse

from recsae.capture.cases import spread
from recsae.concepts.attributes.communities import FANS
from recsae.concepts.attributes.table import DERIVED, ITEM_ITSELF, SITES, TERM, ItemAttributes
from recsae.concepts.search import Choice, Kinds, SearchHalf, choose
from recsae.concepts.statements import Statements, all_statements, levels_of
from recsae.concepts.wording import Predicate, label_of, name_of
from recsae.core import columns as C

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases

MAX_CASES = 120_000
EVERYWHERE = 0.5
"""A latent that is active on more than so many of the cases is general-purpose."""
GENERAL = "general-purpose"
Halves: TypeAlias = "tuple[NDArray[np.int64], ...]"
PREDICATE = (C.ATTRIBUTE, C.VALUE, C.PREDICATE_SITE, C.THRESHOLD, C.NEGATED)
SECOND_PREDICATE = (
    C.SECOND_ATTRIBUTE,
    C.SECOND_VALUE,
    C.SECOND_SITE,
    C.SECOND_THRESHOLD,
    C.SECOND_NEGATED,
)
LABEL_COLUMNS = (C.LATENT, C.NAME, C.LABEL, C.LABELER, *PREDICATE, C.JOINT, *SECOND_PREDICATE)
AND = "and"
OR = "or"


@dataclass(frozen=True)
class Predictions:
    """What labels say of n cases, before and after their thresholds.

    ``levels (n, G)`` counts per different statement (0 is not stored); label j reads column
    ``column[j]`` and says "active" where the level is at least ``threshold[j]``.
    """

    levels: scipy.sparse.csc_matrix
    column: NDArray[np.int64]
    threshold: NDArray[np.int64]


class Labeler(Protocol):
    """Turns a sparse code into labels on construction cases, and labels into predictions."""

    name: str
    sees_examples: bool
    """Whether labels are written after looking at single example sequences."""

    def label(self, code: scipy.sparse.csr_matrix, cases: Cases) -> pd.DataFrame:
        """One row per latent with the :data:`LABEL_COLUMNS`."""

    def predict(self, labels: pd.DataFrame, cases: Cases) -> Predictions:
        """What the labels say of other cases."""


class AttributeLabeler:
    """Labels from the attributes of items, their communities, and facts of the history.

    For each latent one statement, or two of which both or either must be true: "at least t (or
    fewer than t) of (the last item, the last 5, 20 or 50 items, the top recommendation, the top 10)
    are V". How one is chosen: :mod:`recsae.concepts.search`. Attributes of the catalog are
    preferred; popularity, typical place, repetition and length must be better by .01 of balanced
    accuracy, communities and, where there are attributes, title terms by .02.
    """

    name = "attributes"
    sees_examples = False

    def __init__(self, attributes: ItemAttributes) -> None:
        self.attributes = attributes

    def label(self, code: scipy.sparse.csr_matrix, cases: Cases) -> pd.DataFrame:
        """Choose and word a statement per latent; see the class."""
        sample = cases.sample(MAX_CASES)
        halves, sides = self._sides(sample)
        active = _activity(code[spread(len(cases), MAX_CASES)])
        chosen = choose(sides, tuple(active[half].tocsc() for half in halves), self._kinds())
        everywhere = np.asarray(active.mean(0)).ravel() > EVERYWHERE
        return self._table(chosen, sides[0].statements, everywhere, cases)

    def _sides(self, sample: Cases) -> tuple[Halves, tuple[SearchHalf, SearchHalf]]:
        """The cases' two halves by user, and what can be said of each; kept for the next code."""
        key = (id(self.attributes), "sides")
        if key not in sample.counted:
            halves = tuple(np.flatnonzero(sample.user % 2 == parity) for parity in (0, 1))
            parts = [sample.take(half) for half in halves]
            sides = tuple(SearchHalf(all_statements(self.attributes, p), p.user) for p in parts)
            sample.counted[key] = halves, sides
        found: tuple[Halves, tuple[SearchHalf, SearchHalf]] = sample.counted[key]
        return found

    def _kinds(self) -> Kinds:
        """Kinds of values, plainest first, and by how much they must be better."""
        others = (*DERIVED, FANS, TERM, ITEM_ITSELF)
        bare = all(name in others for name, _ in self.attributes.names)
        group = {**dict.fromkeys(DERIVED, 1), FANS: 2, TERM: 3, ITEM_ITSELF: 3}
        kinds = np.array([group.get(attribute, 0) for attribute, _ in self.attributes.names])
        return Kinds(np.tile(kinds, len(SITES)), np.array([0.0, 0.01, 0.02, 0.0 if bare else 0.02]))

    def _table(
        self,
        chosen: Choice,
        statements: Statements,
        everywhere: NDArray[np.bool_],
        cases: Cases,
    ) -> pd.DataFrame:
        titles = cases.catalog.title_of
        sites = list(SITES)

        def predicate(column: int, level: int, negated: int) -> Predicate | None:
            if column < 0:
                return None
            site = sites[statements.columns.site[column]]
            attribute, value = self.attributes.names[statements.columns.value[column]]
            return Predicate(site, attribute, value, SITES[site][level - 1], bool(negated))

        records = []
        for latent, (c, level, negated, c2, level2, negated2, either) in enumerate(
            zip(*(column.tolist() for column in chosen), strict=True)
        ):
            first, second = predicate(c, level, negated), predicate(c2, level2, negated2)
            joint = None if second is None else OR if either else AND
            if everywhere[latent] or first is None:
                words, first, second = (GENERAL, "Active on most sequences."), None, None
                joint = None
            else:
                words = (
                    name_of(first, second, titles, joint),
                    label_of(first, second, titles, joint),
                )
            records.append((latent, *words, self.name, *_cells(first), joint, *_cells(second)))
        return pd.DataFrame(records, columns=list(LABEL_COLUMNS))

    def predict(self, labels: pd.DataFrame, cases: Cases) -> Predictions:
        """Levels of the statements that the labels make."""
        keys = list(
            zip(
                _predicates(labels, PREDICATE),
                labels[C.JOINT],
                _predicates(labels, SECOND_PREDICATE),
                strict=True,
            )
        )
        different = list(dict.fromkeys(keys))
        levels = self._levels({p for key in different for p in key[::2] if p is not None}, cases)
        made = [_combined(*key, levels, len(cases)) for key in different]
        place = {key: i for i, key in enumerate(different)}
        column = np.array([place[key] for key in keys], dtype=np.int64)
        threshold = np.array([least for _, least in made], dtype=np.int64)
        table = scipy.sparse.hstack([levels for levels, _ in made], format="csc")
        return Predictions(table, column, threshold[column])

    def _levels(
        self, predicates: set[Predicate], cases: Cases
    ) -> dict[tuple[str, str, str], scipy.sparse.csc_matrix]:
        """``(n, 1)`` level of every site, attribute and value that is asked for."""
        index = {name: i for i, name in enumerate(self.attributes.names)}
        found = {}
        for site in SITES:
            values = sorted({p[1:3] for p in predicates if p.site == site})
            if not values:
                continue
            counts = self.attributes.counts(cases, site, [index[v] for v in values]).tocsc()
            counts.data = levels_of(counts.data, site)
            for i, value in enumerate(values):
                found[(site, *value)] = counts[:, [i]]
        return found


def _cells(predicate: Predicate | None) -> tuple[str | None, str | None, str | None, int, bool]:
    if predicate is None:
        return None, None, None, 0, False
    return (
        *(predicate.attribute, predicate.value, predicate.site),
        *(predicate.threshold, predicate.negated),
    )


def _predicates(labels: pd.DataFrame, columns: tuple[str, ...]) -> list[Predicate | None]:
    rows = labels[list(columns)].itertuples(index=False)
    return [
        Predicate(site, attribute, value, int(threshold), bool(negated))
        if isinstance(attribute, str)
        else None
        for attribute, value, site, threshold, negated in rows
    ]


def _combined(
    first: Predicate | None,
    joint: str | None,
    second: Predicate | None,
    levels: dict[tuple[str, str, str], scipy.sparse.csc_matrix],
    n: int,
) -> tuple[scipy.sparse.csc_matrix, int]:
    """Levels ``(n, 1)`` of a label, and from which on it says "active".

    A pair has level 1 where one of its predicates holds (of "and", the first) and 2 where both do;
    what is said of everything has level 1 everywhere.
    """
    if first is None:
        return scipy.sparse.csc_matrix(np.ones((n, 1), dtype=np.int8)), 1
    alone, least = _single(first, levels, n)
    if second is None:
        return alone, least
    one = alone.toarray()[:, 0] >= least
    levels_of_other, at_least = _single(second, levels, n)
    other = levels_of_other.toarray()[:, 0] >= at_least
    level = one.astype(np.int8) + (other if joint == OR else one & other)
    return scipy.sparse.csc_matrix(level[:, None]), 1 if joint == OR else 2


def _single(
    predicate: Predicate, levels: dict[tuple[str, str, str], scipy.sparse.csc_matrix], n: int
) -> tuple[scipy.sparse.csc_matrix, int]:
    """Levels of one predicate; of a negated one how far below the threshold a case is."""
    level = levels[predicate[:3]]
    least = SITES[predicate.site].index(predicate.threshold) + 1
    if not predicate.negated:
        return level, least
    below = (len(SITES[predicate.site]) - level.toarray()).astype(np.int8)
    return scipy.sparse.csc_matrix(below), len(SITES[predicate.site]) - least + 1


def _activity(code: scipy.sparse.csr_matrix) -> scipy.sparse.csr_matrix:
    active = code.copy()
    active.data = (active.data > 0).astype(np.float32)
    active.eliminate_zeros()
    return active
