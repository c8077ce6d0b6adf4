"""Which gates make the core: those that explain most of the scores, whatever users are asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsae.core.selection import forward_selection

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.concepts.gates.fit import GateFit

    Floats = NDArray[np.float64]

N_CONSENSUS = 64
"""Gates that each half of the users chooses."""
MIN_VOTES = 0.6
"""Share of the halves that must choose a value, for it to be in the core."""
N_CUTS = 4
"""Times that the users are cut in two halves."""
N_GROUPS = 16
"""Groups of users of which the halves are made."""
N_OF_VALUE = 4
"""Gates of one value and sign that are compared, those that explain most alone."""
MAX_COMPARED = 1_200
"""Gates at most that are compared: bounds the tables of pairs."""
MIN_GAIN = 0.001
"""Share of the score variance that each gate must explain of what those before it left."""
MAX_OF_VALUE = 2
"""Gates of one value and sign that the core has at most."""
MAX_COSINE = 0.9
"""Directions nearer than this are the same gate twice."""
MIN_REST = 0.01
"""A gate is redundant once the others leave less than this share of its variance."""
ROWS_AT_ONCE = 8192
"""Cases in one go: bounds the tables of cases and gates."""


class Moments(NamedTuple):
    """Sums over n cases: of m gates, of d states, of gates x gates and of gates x states."""

    n: float
    gates: Floats  # (m,)
    states: Floats  # (d,)
    gram: NDArray[np.floating[Any]]  # (m, m), of groups in the precision of the products
    cross: Floats  # (m, d)

    def centred(self) -> tuple[Floats, Floats, Floats]:
        """Correlation of the gates, their covariance with states once standardised, deviations."""
        mean, states = self.gates / self.n, self.states / self.n
        covariance = np.divide(self.gram, self.n, dtype=np.float64) - np.outer(mean, mean)
        size = np.sqrt(np.maximum(covariance.diagonal(), 1e-24))
        cross = self.cross / self.n - np.outer(mean, states)
        return covariance / np.outer(size, size), cross / size[:, None], size


def total(groups: Sequence[Moments]) -> Moments:
    """The sums of several groups of cases."""
    parts = [np.array(part, dtype=np.float64) for part in groups[0]]
    for group in groups[1:]:
        for part, more in zip(parts, group, strict=True):
            part += np.asarray(more)
    n, *others = parts
    return Moments(float(n), *others)


def activations(states: NDArray[np.float32], gates: GateFit) -> NDArray[np.float32]:
    """``relu(weight . x - bound)`` of standardised states ``(n, d)``: ``(n, m)``."""
    told = states @ gates.weight.astype(np.float32).T
    told -= gates.bound.astype(np.float32)
    return np.maximum(told, 0, out=told)


def moments(states: NDArray[np.float32], gates: GateFit) -> Moments:
    """Of gates on n standardised states, some thousand at a time."""
    parts = [
        Moments(
            len(x),
            z.sum(0, dtype=np.float64),
            x.sum(0, dtype=np.float64),
            z.T @ z,
            (z.T @ x).astype(np.float64),
        )
        for z, x in _blocks(states, gates)
    ]
    return parts[0] if len(parts) == 1 else total(parts)


def _blocks(
    states: NDArray[np.float32], gates: GateFit
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    for start in range(0, len(states), ROWS_AT_ONCE):
        part = states[start : start + ROWS_AT_ONCE]
        yield activations(part, gates), part


def explained_alone(states: NDArray[np.float32], gates: GateFit, root: Floats) -> Floats:
    """``(m,)`` score variance that each gate explains by itself; ``root (d, e)`` of the metric."""
    m, d = gates.weight.shape
    first, second, cross = np.zeros(m), np.zeros(m), np.zeros((m, d))
    for z, x in _blocks(states, gates):
        first += z.sum(0, dtype=np.float64)
        second += np.square(z).sum(0, dtype=np.float64)
        cross += z.T @ x
    n = len(states)
    variance = np.maximum(second / n - np.square(first / n), 1e-24)
    cross = cross / n - np.outer(first / n, states.mean(0, dtype=np.float64))
    return np.asarray(np.square(cross @ root).sum(1) / variance)


def few_of_each(
    value: NDArray[np.int64], gain: Floats, limit: int = MAX_COMPARED
) -> NDArray[np.int64]:
    """The :data:`N_OF_VALUE` gates of each value with the highest gain, the best few, ascending.

    >>> few_of_each(np.array([0, 0, 0, 0, 0, 7]), np.array([1.0, 3.0, 2.0, 5.0, 4.0, 0.5])).tolist()
    [1, 2, 3, 4, 5]
    """
    order = np.lexsort((-gain, value))
    starts = np.r_[True, value[order][1:] != value[order][:-1]][: len(order)]
    first = np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))
    kept = order[np.arange(len(order)) - first < N_OF_VALUE]
    return np.sort(kept[np.argsort(-gain[kept], kind="stable")[:limit]])


class Compared(NamedTuple):
    """m gates that are compared with each other."""

    value: NDArray[np.int64]
    """``(m,)`` equal for gates of one value and sign."""
    alike: NDArray[np.bool_]
    """``(m, m)`` whether two directions are nearly the same."""
    price: Floats
    """``(m,)`` how much each must explain, compared with the others."""
    root: Floats
    """``(d, e)``: errors in standardised states times it are errors in the scores."""
    variance: float
    """Of the scores."""

    def pursue(
        self,
        sums: Moments,
        limit: int,
        closed: NDArray[np.bool_] | None = None,
        begin: Sequence[int] = (),
    ) -> list[int]:
        """Choose gates one after another by what each explains of what those before it left.

        At most two of one value and sign, no two of nearly the same direction, none that the
        others make redundant.
        """
        correlation, cross, _ = sums.centred()
        number: dict[int, int] = {}

        def closes(best: int) -> NDArray[np.bool_]:
            key = int(self.value[best])
            number[key] = number.get(key, 0) + 1
            ruled_out: NDArray[np.bool_] = self.alike[best]
            if number[key] >= MAX_OF_VALUE:
                ruled_out = ruled_out | (self.value == key)
            return ruled_out

        return forward_selection(
            *(correlation, cross @ self.root, limit),
            least_rest=MIN_REST,
            closed=closed,
            closes=closes,
            begin=begin,
            price=self.price,
            least_gain=MIN_GAIN * self.variance,
        )


def consensus(compared: Compared, groups: Sequence[Moments], seed: int) -> NDArray[np.bool_]:
    """``(m,)`` whether most halves of the users choose a gate of this value and sign.

    ``groups`` are the moments of groups of users; halves are made of whole groups.
    """
    rng = np.random.default_rng(seed)
    votes = np.zeros(len(compared.value))
    for _ in range(N_CUTS):
        order = rng.permutation(len(groups))
        for half in (order[: len(groups) // 2], order[len(groups) // 2 :]):
            chosen = compared.pursue(total([groups[i] for i in half]), N_CONSENSUS)
            votes += np.isin(compared.value, compared.value[chosen])
    return np.asarray(votes >= MIN_VOTES * 2 * N_CUTS)


def cover(
    chosen: Sequence[int], of_values: Sequence[Sequence[int]], f1: Floats, alike: NDArray[np.bool_]
) -> list[int]:
    """Of each value the gate with the best F1 that is not like one chosen before.

    ``of_values`` are the gates that may speak of each value.

    >>> cover([0], [[1, 2], [3]], np.array([0, 0.9, 0.8, 0.7]), np.eye(4, dtype=bool))
    [1, 3]
    """
    more: list[int] = []
    for gates in of_values:
        taken = [*chosen, *more]
        usable = [i for i in gates if not alike[i, taken].any()]
        if usable:
            more.append(max(usable, key=lambda i: f1[i]))
    return more
