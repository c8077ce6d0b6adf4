"""Labels without a language model: predicates on items' attributes that predict activity."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from importlib.metadata import entry_points
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
import pandas as pd
import scipy.sparse

from recsae.capture.cases import spread
from recsae.concepts.attributes.names import (
    BY_ATTRIBUTES,
    DERIVED,
    FANS,
    ITEM_ITSELF,
    SEPARATOR,
    TERM,
    VIEWS,
)
from recsae.concepts.attributes.table import ItemAttributes
from recsae.concepts.item_sets import SET_VIEWS, ItemSet, ViewItems, best_sets, theme_of
from recsae.concepts.label_steps import AND, OR, Column, Predictions, steps_of_label
from recsae.concepts.predicates import Columns, Predicates, all_predicates, steps_of
from recsae.concepts.rewording import best_said
from recsae.concepts.search import Choice, HalfOfUsers, Kinds, choose
from recsae.concepts.wording import Predicate, label_of, name_of
from recsae.core import columns as C
from recsae.core.errors import InvalidInput, LabelerFailed, nearest
from recsae.recommender.plugins import LABELERS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases

MAX_SEARCH_CASES = 80_000
"""Construction cases at most that predicates are searched on, evenly spread: bounds the time."""
DERIVED_COST = 0.01
"""Popularity, typical place, repetition and length must beat attributes of the catalog by so much
F1."""
COMMUNITY_COST = 0.02
"""The same for communities and, where there are attributes, title terms."""
ITEMS_COST = 0.02
"""The same for sets of items: a theme that is right is worth more than a list."""
EVERYWHERE = 0.5
"""A latent that is active on more than so many of the cases is general-purpose."""
GENERAL = "general-purpose"
Halves: TypeAlias = (
    "tuple[tuple[NDArray[np.int64], ...], tuple[HalfOfUsers, HalfOfUsers], "
    "tuple[dict[str, ViewItems], dict[str, ViewItems]]]"
)
CORE = "core"
FOUND = "found"
"""Where a concept is from: a gate for a statement that was asked, or a latent that was trained."""


class Labeler(Protocol):
    """Turns a sparse code into labels on construction cases, and labels into predictions.

    One of your own is named by an entry point of the group ``recsae.labelers``, a function that
    makes it from the :class:`ItemAttributes` of a run; see ``docs/own.md``.
    """

    name: str
    sees_examples: bool
    """Whether labels are written after looking at single example sequences."""

    def label(
        self, code: scipy.sparse.csr_matrix, cases: Cases, asked: Sequence[Predicate] = ()
    ) -> pd.DataFrame:
        """One row per latent of a code ``(n, n_latents)``, in their order: ``name`` and ``label``,
        and the others of ``C.LABEL_COLUMNS`` where the label is a predicate on attributes."""

    def predict(self, labels: pd.DataFrame, cases: Cases) -> Predictions:
        """Predictions of the labels on other cases."""


def labels_by(
    labeler: Labeler,
    code: scipy.sparse.csr_matrix,
    cases: Cases,
    asked: Sequence[Predicate] = (),
) -> pd.DataFrame:
    """What a labeler says of a code, with all of ``C.LABEL_COLUMNS``.

    Raises
    ------
    LabelerFailed
        It does not say a name and a label of every latent.
    """
    if isinstance(labeler, AttributeLabeler):
        return labeler.label(code, cases, asked)
    m = code.shape[1]
    said = labeler.label(code, cases, asked)
    if not isinstance(said, pd.DataFrame) or len(said) != m or not {C.NAME, C.LABEL} <= {*said}:
        seen = (
            f"{len(said)} rows of {', '.join(map(str, said))}" if hasattr(said, "columns") else said
        )
        raise LabelerFailed(
            f"The labeler {labeler.name!r} must give a table of one row for each of {m} latents, "
            f"with {C.NAME} and {C.LABEL} (seen: {seen})."
        )
    table = said.reset_index(drop=True).reindex(columns=list(C.LABEL_COLUMNS))
    texts = table[[C.NAME, C.LABEL]]
    if not texts.map(lambda text: isinstance(text, str) and bool(text.strip())).all(axis=None):
        raise LabelerFailed(f"The labeler {labeler.name!r} left a name or a label empty.")
    table = table.astype(object).where(table.notna(), None)
    table[C.LATENT] = np.arange(m)
    table[C.LABELER] = labeler.name
    table[C.ORIGIN] = [CORE] * len(asked) + [FOUND] * (m - len(asked))
    for _, _, _, threshold, negated in C.PARTS:
        table[negated] = [bool(cell) for cell in table[negated]]
        least = int(threshold == C.THRESHOLD)  # of yes and no
        table[threshold] = [least if cell is None else int(cell) for cell in table[threshold]]
    return table


def named_labeler(name: str) -> Callable[[ItemAttributes], Labeler]:
    """What makes the labeler of an entry point of the group ``recsae.labelers``.

    Raises
    ------
    InvalidInput
        There is none of that name, or it cannot be imported.
    """
    points = {point.name: point for point in entry_points(group=LABELERS)}
    if name not in points:
        known = ", ".join(sorted(points)) or "none"
        raise InvalidInput(
            f"No labeler named {name!r} is installed (there is: {known}): a package names one by "
            f"an entry point of the group {LABELERS!r}.{nearest(name, points)}"
        )
    try:
        made: Callable[[ItemAttributes], Labeler] = points[name].load()
    except (Exception, SystemExit) as error:  # a third party's package may fail in any way
        raise InvalidInput(
            f"The labeler {name!r} cannot be imported ({type(error).__name__}: {error})."
        ) from error
    return made


class AttributeLabeler:
    """Labels from the attributes of items, their communities, and facts of the history.

    Each latent gets one predicate, two of which both or either must be true, or three, all of which
    must be: "at least t (or fewer than t) of (the last item, the last 5, 20 or 50 items, the top
    recommendation, the top 10) are V", or "(the last item, one of the last 5, the top
    recommendation) is one of these items". How it is chosen: :mod:`recsae.concepts.search` and
    :mod:`recsae.concepts.item_sets`. Attributes of the catalog are preferred; popularity, typical
    place, repetition and length must be better by .01 of F1; communities, sets of items and, where
    there are attributes, title terms by .02.
    """

    name = BY_ATTRIBUTES
    sees_examples = False

    def __init__(self, attributes: ItemAttributes) -> None:
        self.attributes = attributes

    def label(
        self, code: scipy.sparse.csr_matrix, cases: Cases, asked: Sequence[Predicate] = ()
    ) -> pd.DataFrame:
        """Choose and word a predicate per latent; see the class.

        The first latents are gates for the statements ``asked``: see
        :mod:`recsae.concepts.rewording`.
        """
        found = self._found(code[:, len(asked) :], cases) if code.shape[1] > len(asked) else []
        titles, nothing = cases.catalog.title_of, cells_of(None)
        said = self._said(code[:, : len(asked)], cases, asked) if asked else []
        core = [
            (
                *(s.name(titles), s.sentence(titles), self.name, CORE),
                *(*cells_of(s), None, *nothing, *nothing),
            )
            for s in said
        ]
        return _table([*core, *found])

    def _said(
        self, code: scipy.sparse.csr_matrix, cases: Cases, asked: Sequence[Predicate]
    ) -> list[Predicate]:
        """What gates for some statements are called."""
        rows, halves = self.halves_of(cases.sample(MAX_SEARCH_CASES))
        active = _activity(code[spread(len(cases), MAX_SEARCH_CASES)])
        place = {name: i for i, name in enumerate(self.attributes.names)}
        views, n_values = list(VIEWS), len(place)
        statements = [
            (
                views.index(view) * n_values + place[attribute, value],
                VIEWS[view].index(threshold) + 1,
                negated,
            )
            for view, attribute, value, threshold, negated in asked
        ]
        said = best_said(halves, tuple(active[half].tocsc() for half in rows), statements)
        columns = halves[0].predicates.columns
        return [self.predicate(columns, *statement) for statement in said]

    def _found(self, code: scipy.sparse.csr_matrix, cases: Cases) -> list[tuple[object, ...]]:
        """Rows of the table for latents whose labels are searched."""
        rows, halves, (of_search, of_confirm) = self._halves(cases.sample(MAX_SEARCH_CASES))
        active = _activity(code[spread(len(cases), MAX_SEARCH_CASES)])
        search, confirm = (active[half].tocsc() for half in rows)
        chosen = choose(halves, (search, confirm), self._kinds())
        best = best_sets(of_search, of_confirm, (search, confirm))
        better = (chosen.choice.first >= 0) & (best.f1 - ITEMS_COST > chosen.net_f1)
        sets = {j: of for j, of in enumerate(best.of) if of is not None and better[j]}
        everywhere = np.asarray(active.mean(0)).ravel() > EVERYWHERE
        return self._records(chosen.choice, sets, halves[0].predicates, everywhere, cases)

    def label_of_views(
        self, code: scipy.sparse.csr_matrix, cases: Cases, usable: Collection[str]
    ) -> pd.DataFrame:
        """The best single predicate per latent of some of the views alone; see ``label``."""
        rows, halves = self.halves_of(cases.sample(MAX_SEARCH_CASES))
        columns = halves[0].predicates.columns
        usable_columns = np.array([view in usable for view in VIEWS])[columns.view]
        active = _activity(code[spread(len(cases), MAX_SEARCH_CASES)])
        parts = tuple(active[half].tocsc() for half in rows)
        chosen = choose(halves, parts, self._kinds(), usable_columns).choice
        everywhere = np.zeros(code.shape[1], dtype=bool)
        return _table(self._records(chosen, {}, halves[0].predicates, everywhere, cases))

    def sample_of(self, cases: Cases) -> Cases:
        """The cases that are searched on."""
        return cases.sample(MAX_SEARCH_CASES)

    def halves_of(
        self, sample: Cases
    ) -> tuple[tuple[NDArray[np.int64], ...], tuple[HalfOfUsers, HalfOfUsers]]:
        """Rows and predicates of both halves of the users of a sample."""
        rows, halves, _ = self._halves(sample)
        return rows, halves

    def predicate(self, columns: Columns, column: int, step: int, negated: bool) -> Predicate:
        """The predicate at a step of a column, from 1 on."""
        view = list(VIEWS)[columns.view[column]]
        attribute, value = self.attributes.names[columns.value[column]]
        return Predicate(view, attribute, value, VIEWS[view][step - 1], negated)

    def _halves(self, sample: Cases) -> Halves:
        """Rows, predicates and items of the search and the confirm half; kept for the next code."""
        key = (self.attributes, "halves")
        if key not in sample.counted:
            rows = tuple(np.flatnonzero(sample.user % 2 == parity) for parity in (0, 1))
            made = [self._half(sample.take(half)) for half in rows]
            halves, items = zip(*made, strict=True)
            sample.counted[key] = rows, halves, items
        kept: Halves = sample.counted[key]
        return kept

    def _half(self, cases: Cases) -> tuple[HalfOfUsers, dict[str, ViewItems]]:
        """Predicates and items of one half; the counts behind them go with its cases."""
        items = {view: ViewItems.of(cases, view) for view in SET_VIEWS}
        return HalfOfUsers(all_predicates(self.attributes, cases), cases.user), items

    def _kinds(self) -> Kinds:
        """Kinds of attributes, plainest first, and by how much each must be better."""
        others = (*DERIVED, FANS, TERM, ITEM_ITSELF)
        bare = all(name in others for name, _ in self.attributes.names)
        group = {**dict.fromkeys(DERIVED, 1), FANS: 2, TERM: 3, ITEM_ITSELF: 3}
        kinds = np.array([group.get(attribute, 0) for attribute, _ in self.attributes.names])
        cost = [0.0, DERIVED_COST, COMMUNITY_COST, 0.0 if bare else COMMUNITY_COST]
        attributes = np.unique([name for name, _ in self.attributes.names], return_inverse=True)[1]
        alike = np.add.outer(np.arange(len(VIEWS)) * len(kinds), attributes).ravel()
        deniable = np.tile(self.attributes.deniable, len(VIEWS))
        return Kinds(np.tile(kinds, len(VIEWS)), np.array(cost), alike, deniable)

    def _records(
        self,
        chosen: Choice,
        sets: dict[int, ItemSet],
        predicates: Predicates,
        everywhere: NDArray[np.bool_],
        cases: Cases,
    ) -> list[tuple[object, ...]]:
        """A row of ``C.LABEL_COLUMNS``, without the latent, for each latent that was searched."""
        titles, external = cases.catalog.title_of, cases.catalog.external_ids

        def predicate(column: int, step: int, negated: int) -> Predicate | None:
            if column < 0:
                return None
            return self.predicate(predicates.columns, column, step, bool(negated))

        records: list[tuple[object, ...]] = []
        for latent, (*one, c2, step2, negated2, either, c3, step3, negated3) in enumerate(
            zip(*(column.tolist() for column in chosen), strict=True)
        ):
            first, further = predicate(*one), [(c2, step2, negated2), (c3, step3, negated3)]
            others = [p for p in (predicate(*each) for each in further) if p is not None]
            if latent in sets:
                first, others = _of_items(sets[latent], external), []
            if everywhere[latent] or first is None:
                words, first, others = (GENERAL, "Active on most sequences."), None, []
            joint = (OR if either else AND) if others else None
            if first is not None:
                theme = theme_of(sets[latent].items, self.attributes) if latent in sets else None
                words = (
                    name_of(first, others, titles, joint, theme),
                    label_of(first, others, titles, joint),
                )
            second, third = (*others, None, None)[:2]
            records.append(
                (
                    *(*words, self.name, FOUND, *cells_of(first), joint),
                    *(*cells_of(second), *cells_of(third)),
                )
            )
        return records

    def predict(self, labels: pd.DataFrame, cases: Cases) -> Predictions:
        """Steps of the labels' predicates on cases."""
        keys = list(
            zip(
                labels[C.JOINT],
                *(_predicates(labels, part) for part in C.PARTS),
                strict=True,
            )
        )
        different = list(dict.fromkeys(keys))
        steps = self._steps({p for _, *parts in different for p in parts if p is not None}, cases)
        made = [steps_of_label(joint, parts, steps, len(cases)) for joint, *parts in different]
        place = {key: i for i, key in enumerate(different)}
        column = np.array([place[key] for key in keys], dtype=np.int64)
        threshold = np.array([least for _, least in made], dtype=np.int64)
        rows, steps_there = (
            np.concatenate(part) for part in zip(*(c for c, _ in made), strict=True)
        )
        bounds = np.cumsum([0, *(len(column.rows) for column, _ in made)])
        shape = (len(cases), len(made))
        table = scipy.sparse.csc_matrix((steps_there, rows, bounds), shape)
        return Predictions(table, column, threshold[column])

    def _steps(
        self, predicates: set[Predicate], cases: Cases
    ) -> dict[tuple[str, str, str], Column]:
        """Steps by view, attribute and value of the predicates."""
        attributes = self.attributes.including([p[1:3] for p in predicates], cases.catalog)
        index = {name: i for i, name in enumerate(attributes.names)}
        steps = {}
        for view in VIEWS:
            values = sorted({p[1:3] for p in predicates if p.view == view})
            if not values:
                continue
            counts = attributes.counts(cases, view, [index[v] for v in values]).tocsc()
            reached = steps_of(counts.data, view)
            for value, (start, stop) in zip(values, pairwise(counts.indptr.tolist()), strict=True):
                there = reached[start:stop] > 0
                rows, own = counts.indices[start:stop][there], reached[start:stop][there]
                steps[(view, *value)] = Column(rows, own)
        return steps


def _of_items(chosen: ItemSet, external: Sequence[str]) -> Predicate:
    """An item set as a predicate: its value is the external ids."""
    value = SEPARATOR.join(external[i] for i in chosen.items)
    return Predicate(chosen.view, ITEM_ITSELF, value, 1)


def _table(records: list[tuple[object, ...]]) -> pd.DataFrame:
    """Labels as a table, from rows of ``C.LABEL_COLUMNS`` without the latent."""
    table = pd.DataFrame(records, columns=list(C.LABEL_COLUMNS[1:]))
    table.insert(0, C.LATENT, np.arange(len(table)))
    return table


def cells_of(predicate: Predicate | None) -> tuple[str | None, str | None, str | None, int, bool]:
    """A predicate, or none, as cells of the columns ``C.PREDICATE``."""
    if predicate is None:
        return None, None, None, 0, False
    return (
        *(predicate.attribute, predicate.value, predicate.view),
        *(predicate.threshold, predicate.negated),
    )


def _predicates(labels: pd.DataFrame, columns: tuple[str, ...]) -> list[Predicate | None]:
    rows = labels[list(columns)].itertuples(index=False)
    return [
        Predicate(view, attribute, value, int(threshold), bool(negated))
        if isinstance(attribute, str)
        else None
        for attribute, value, view, threshold, negated in rows
    ]


def _activity(code: scipy.sparse.csr_matrix) -> scipy.sparse.csr_matrix:
    active = code.copy()
    active.data = (active.data > 0).astype(np.float32)
    active.eliminate_zeros()
    return active
