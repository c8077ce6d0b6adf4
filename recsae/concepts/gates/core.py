"""The core of a dictionary: statements that the states hold, chosen by what they explain.

What is asked is the vocabulary of the labels; what is chosen explains most of the model's scores.
The gates are closed-form and see construction users alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsae.capture.cases import spread
from recsae.concepts.attributes.names import FANS, LENGTH, REPEAT
from recsae.concepts.attributes.table import ItemAttributes
from recsae.concepts.attributes.values import own_columns
from recsae.concepts.gates.choose import (
    MAX_COSINE,
    N_GROUPS,
    Compared,
    consensus,
    cover,
    explained_alone,
    few_of_each,
    moments,
    total,
)
from recsae.concepts.gates.fit import GateFit, LearnedStatements, Side, learn
from recsae.concepts.gates.statements import Statements, candidate_statements
from recsae.concepts.labeler import AttributeLabeler
from recsae.concepts.wording import Predicate
from recsae.core import layout
from recsae.core.errors import InvalidInput, nearest
from recsae.core.files import map_arrays, read_json, write_arrays, write_json
from recsae.recommender.score_metric import root_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from recsae.capture.cases import Cases

    Floats = NDArray[np.float64]

N_CORE = 48
"""Gates of the core at most, before rare values are covered."""
PER_DIMENSION = 0.75
"""Gates at most per dimension of the states: with more than these the others are redundant."""
MAX_CORE_CASES = 60_000
"""Cases at most on which gates are compared, evenly spread: bounds the time."""
MAX_PERMUTED_CASES = 30_000
"""Cases at most for the control with permuted attributes: bounds the time."""
FANS_COST, DENIAL_COST, DERIVED_COST = 1.3, 1.3, 1.6
"""How many times as much as for an own value of the items a gate must explain: for a community, for
the absence of a value, and for popularity, title words and the like or several of these. Of
statements that the states hold nearly alike the plain one is chosen, whatever users are asked."""
RIGHT = 2
"""A gate whose F1 is n times another's may explain n to this power less: what is told better is
chosen again on other users."""
RARE = 0.05
"""A value that no chosen gate speaks of is covered by a gate that is open at most so often ..."""
RIGHT_OF_RARE = 0.65
"""... and whose F1 on other users is at least this."""
DECODER_RIDGE = 1e-3
"""Penalty of the decoders, of standardised gates."""
_RANDOM = 1
"""Added to the seed for gates at random."""


class Core(NamedTuple):
    """c gates on raw states and what each adds to one: ``z = relu(weight . h - bound)``.

    Rows of ``decoder`` have unit length, so that z is in the states' own units.
    """

    statements: tuple[Predicate, ...]
    weight: NDArray[np.float32]  # (c, d)
    bound: NDArray[np.float32]  # (c,)
    decoder: NDArray[np.float32]  # (c, d)


@dataclass(frozen=True)
class FoundCore:
    """A core, how it came about, and its controls."""

    core: Core
    at_random: Core
    """As many gates drawn at random among those that the states hold."""
    n_candidates: int
    """Statements that were asked."""
    n_learnable: int
    """Those that gates tell on other users."""
    n_permuted: int
    """Those that gates tell after attributes were permuted over the items."""
    n_permuted_candidates: int

    @classmethod
    def nothing(cls, width: int) -> FoundCore:
        """No core, for states ``(n, width)``."""
        empty = np.zeros((0, width), dtype=np.float32)
        core = Core((), empty, empty[:, 0], empty)
        return cls(core, core, 0, 0, 0, 0)

    def save(self, folder: Path, made_from: str) -> None:
        """Write ``core.safetensors`` and ``core.json``."""
        cores = {"core": self.core, "at_random": self.at_random}
        arrays = {
            f"{name}.{part}": getattr(one, part)
            for name, one in cores.items()
            for part in ("weight", "bound", "decoder")
        }
        write_arrays(folder / layout.CORE_ARRAYS, arrays)
        figures = {key: value for key, value in vars(self).items() if key.startswith("n_")}
        statements = {name: [list(s) for s in one.statements] for name, one in cores.items()}
        meta = {"made_from": made_from, "statements": statements, **figures}
        write_json(folder / layout.CORE, meta)

    @staticmethod
    def is_there(folder: Path, made_from: str) -> bool:
        """Whether a folder holds a core that was made from this."""
        path = folder / layout.CORE
        return path.exists() and read_json(path)["made_from"] == made_from

    @classmethod
    def load(cls, folder: Path) -> FoundCore:
        """Read what ``save`` wrote."""
        meta = read_json(folder / layout.CORE)
        arrays = map_arrays(folder / layout.CORE_ARRAYS)

        def one(name: str) -> Core:
            statements = tuple(Predicate(*row) for row in meta["statements"][name])
            parts = (np.array(arrays[f"{name}.{p}"]) for p in ("weight", "bound", "decoder"))
            return Core(statements, *parts)

        figures = {key: value for key, value in meta.items() if key.startswith("n_")}
        return cls(one("core"), one("at_random"), **figures)


@dataclass(frozen=True)
class _Asked:
    """What was asked of the states of a sample of cases, and what they hold."""

    labeler: AttributeLabeler
    cases: Cases

    @cached_property
    def mean(self) -> Floats:
        return np.asarray(self.cases.states.mean(0, dtype=np.float64))

    @cached_property
    def size(self) -> Floats:
        return np.asarray(np.maximum(self.cases.states.std(0, dtype=np.float64), 1e-12))

    @cached_property
    def states(self) -> NDArray[np.float32]:
        """Standardised."""
        return np.asarray((self.cases.states - self.mean) / self.size, dtype=np.float32)

    @cached_property
    def sides(self) -> tuple[Side, Side]:
        """The search half and the confirm half of the users."""
        rows, halves = self.labeler.halves_of(self.cases)
        search, confirm = (
            Side(self.states[own], half.predicates) for own, half in zip(rows, halves, strict=True)
        )
        return search, confirm

    @cached_property
    def candidates(self) -> Statements:
        candidates = candidate_statements([side.predicates for side in self.sides])
        value = self.sides[0].predicates.columns.value[candidates.column]
        deniable = self.labeler.attributes.deniable[value]
        return candidates.take(np.flatnonzero(~candidates.negated | deniable))

    @cached_property
    def learned(self) -> LearnedStatements:
        return learn(self.candidates, *self.sides)

    @cached_property
    def value(self) -> NDArray[np.int64]:
        """``(m,)`` the value of each learned statement."""
        columns = self.sides[0].predicates.columns
        return np.asarray(columns.value[self.learned.statements.column])

    def core(self, chosen: Sequence[int]) -> Core:
        """The core of some of the learned statements."""
        which = np.array(chosen, dtype=np.int64)
        gates, picked = self.learned.gates.take(which), self.learned.statements.take(which)
        columns = self.sides[0].predicates.columns
        decoder = _decoder(self.states[spread(len(self.states), MAX_CORE_CASES)], gates) * self.size
        length = np.maximum(np.linalg.norm(decoder, axis=1, keepdims=True), 1e-12)
        weight = gates.weight / self.size
        bound = gates.bound + weight @ self.mean
        rows = zip(*(part.tolist() for part in picked[:3]), strict=True)
        return Core(
            tuple(self.labeler.predicate(columns, *row) for row in rows),
            (weight * length).astype(np.float32),
            (bound * length[:, 0]).astype(np.float32),
            (decoder / length).astype(np.float32),
        )


def find_core(
    labeler: AttributeLabeler,
    cases: Cases,
    metric: Floats,
    seed: int = 0,
    attributes_first: Sequence[str] = (),
) -> FoundCore:
    """Choose the core on construction cases.

    Candidates are the statements that labels are made of. Those whose gate tells them on other
    users are compared by forward selection: first the ``attributes_first``, each value by the gate
    with the best F1; then up to 48 of values that most halves of the users choose, by the score
    variance they explain and by how right they are; then of each value of the catalog that none of
    these speaks of the best gate, if it is right and open on at most one case in twenty.

    Parameters
    ----------
    labeler
        Whose vocabulary is asked.
    metric
        ``(d, d)`` what an error in a state does to the scores.
    attributes_first
        Attributes of which every value that the states hold gets a gate.

    Raises
    ------
    InvalidInput
        There is no such attribute.
    """
    asked = _Asked(labeler, labeler.sample_of(cases))
    chosen = _chosen(asked, metric, seed, attributes_first)
    permuted = _Asked(
        AttributeLabeler(_permuted(labeler.attributes, cases, seed)),
        cases.take(spread(len(cases), MAX_PERMUTED_CASES)),
    )
    n_learnable = len(asked.learned.statements)
    drawn = np.random.default_rng(seed + _RANDOM).permutation(n_learnable)[: len(chosen)]
    return FoundCore(
        asked.core(chosen),
        asked.core(np.sort(drawn).tolist()),
        n_candidates=len(asked.candidates),
        n_learnable=n_learnable,
        n_permuted=len(permuted.learned.statements),
        n_permuted_candidates=len(permuted.candidates),
    )


def core_of(
    labeler: AttributeLabeler,
    cases: Cases,
    metric: Floats,
    seed: int = 0,
    attributes_first: Sequence[str] = (),
) -> Core:
    """The core alone, without its controls; see :func:`find_core`."""
    asked = _Asked(labeler, labeler.sample_of(cases))
    return asked.core(_chosen(asked, metric, seed, attributes_first))


def _chosen(asked: _Asked, metric: Floats, seed: int, attributes_first: Sequence[str]) -> list[int]:
    """Places of the core's gates among the learned statements."""
    _check_attributes(attributes_first, asked.labeler.attributes)
    if not len(asked.learned.statements):
        return []
    names, own = asked.labeler.attributes.names, set(own_columns(asked.labeler.attributes))
    some = spread(len(asked.cases), MAX_CORE_CASES)
    states, user = asked.states[some], asked.cases.user[some]
    root = asked.size[:, None] * root_of(metric)
    negated, value = asked.learned.statements.negated, asked.value
    gain = explained_alone(states, asked.learned.gates, root)
    kept = few_of_each(2 * value + negated, gain)
    gates, f1 = asked.learned.gates.take(kept), asked.learned.f1[kept]
    rate, value, negated = asked.learned.statements.rate[kept], value[kept], negated[kept]
    unit = gates.weight / np.linalg.norm(gates.weight, axis=1, keepdims=True)
    variance = float(np.square((states - states.mean(0)) @ root).sum() / len(states))
    price = _price(asked.labeler.attributes, value, negated, f1)
    compared = Compared(2 * value + negated, unit @ unit.T > MAX_COSINE, price, root, variance)

    def of_values(wanted: set[int], most: float, least: float) -> list[list[int]]:
        usable = np.flatnonzero(~negated & (rate <= most) & (f1 >= least))
        return [[i for i in usable.tolist() if value[i] == v] for v in sorted(wanted)]

    first = {i for i, (attribute, _) in enumerate(names) if attribute in attributes_first}
    begin = cover([], of_values(first, 1.0, 0.0), f1, compared.alike)
    groups = np.array_split(np.random.default_rng(seed).permutation(user[-1] + 1), N_GROUPS)
    sums = [moments(states[np.isin(user, group)], gates) for group in groups if len(group)]
    closed = None if len(sums) < 2 else ~consensus(compared, sums, seed)
    limit = min(N_CORE, round(PER_DIMENSION * states.shape[1]))
    chosen = compared.pursue(total(sums), max(limit, len(begin)), closed, begin)
    rare = of_values(own - set(value[chosen].tolist()), RARE, RIGHT_OF_RARE)
    return [int(kept[i]) for i in [*chosen, *cover(chosen, rare, f1, compared.alike)]]


def _price(
    attributes: ItemAttributes, value: NDArray[np.int64], negated: NDArray[np.bool_], f1: Floats
) -> Floats:
    """What gates must explain because of what they speak of and of how right they are."""
    of_value = np.full(len(attributes.names), DERIVED_COST)
    of_value[[i for i, (name, _) in enumerate(attributes.names) if name == FANS]] = FANS_COST
    of_value[own_columns(attributes)] = 1.0
    cost = of_value[value] * np.where(negated, DENIAL_COST, 1.0)
    return np.asarray(np.minimum(cost, DERIVED_COST) / f1**RIGHT)


def _decoder(states: NDArray[np.float32], gates: GateFit) -> Floats:
    """Weights of states on gates by ridge regression: what each adds besides the others."""
    correlation, cross, size = moments(states, gates).centred()
    penalty = DECODER_RIDGE * np.eye(len(size))
    return np.asarray(np.linalg.solve(correlation + penalty, cross) / size[:, None])


def _permuted(attributes: ItemAttributes, cases: Cases, seed: int) -> ItemAttributes:
    """The values of items given to other items; what histories have is left out."""
    kept = [i for i, (name, _) in enumerate(attributes.names) if name not in (LENGTH, REPEAT)]
    real = np.flatnonzero(cases.catalog.recommendable)
    order = np.arange(cases.catalog.n_items)
    order[real] = np.random.default_rng(seed).permutation(real)
    names = tuple(attributes.names[i] for i in kept)
    return ItemAttributes(attributes.matrix[order][:, kept], names)


def _check_attributes(wanted: Sequence[str], attributes: ItemAttributes) -> None:
    known = sorted({name for name, _ in attributes.names})
    for name in wanted:
        if name not in known:
            raise InvalidInput(
                f"No attribute is named {name!r}.{nearest(name, known)} Those with values that "
                f"enough sequences have: {', '.join(known)}."
            )
