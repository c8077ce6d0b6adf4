"""The recorded list of operations, and an interpreter of it in NumPy.

The page has the same interpreter in JavaScript, ``forward.js``: both know the operations of
``OPERATIONS`` and no others, and reckon in double precision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

Values = NDArray[Any]
ITEMS, LENGTHS = 0, 1
"""Numbers of the values that a history is given as: ``(length,)`` items, padded, and ``(1,)``."""


class Operation(NamedTuple):
    """One step: its name, the numbers of the values that it takes, and sizes and settings.

    Every value is an array in one row; what shape it has the settings of the next step say.
    """

    name: str
    takes: tuple[int, ...]
    settings: tuple[float, ...]


@dataclass(frozen=True)
class Graph:
    """Operations in order: the first makes value 2, the last values are what came out.

    Parameters
    ----------
    length
        Items that a history is padded to.
    operations
        ``("constant", (), (n,))`` is the n-th of the constants.
    constants
        Arrays of any shape; of one that ``rows`` looks up in, the first axis counts items.
    outputs
        Numbers of the values that are asked for.
    """

    length: int
    operations: tuple[Operation, ...]
    constants: tuple[Values, ...]
    outputs: tuple[int, ...]

    @property
    def tables(self) -> list[int]:
        """Places of the constants in which items are looked up, and nothing else."""
        by_item, other = set[int](), set[int]()
        for name, takes, _ in self.operations:
            if name == "rows" and self._are_items(takes[1]):
                by_item.add(takes[0])
                takes = ()
            other.update(takes)
        return sorted(
            int(self._made(number).settings[0])
            for number in by_item - other
            if number > 1 and self._made(number).name == "constant"
        )

    def _made(self, number: int) -> Operation:
        return self.operations[number - 2]

    def _are_items(self, number: int) -> bool:
        """Whether a value has items of the history, or what the model puts beside them."""
        if number < 2:
            return number == ITEMS
        name, takes, _ = self._made(number)
        if name == "view":
            return self._are_items(takes[0])
        return (
            name == "write"
            and any(map(self._are_items, takes))
            and all(self._are_items(n) or not self._depends(n) for n in takes)
        )

    def _depends(self, number: int) -> bool:
        return number < 2 or any(map(self._depends, self._made(number).takes))

    def run(
        self, history: Sequence[int], constants: Mapping[int, Values] | None = None
    ) -> list[NDArray[np.float64]]:
        """The outputs for a history, of which the last ``length`` items count.

        ``constants`` are put in place of the graph's, by their places.
        """
        kept = list(history)[-self.length :]
        items = np.zeros(self.length)
        items[: len(kept)] = kept
        values: list[Values] = [items, np.array([float(len(kept))])]
        instead = constants or {}
        with np.errstate(all="ignore"):
            for name, takes, settings in self.operations:
                if name == "constant":
                    place = int(settings[0])
                    values.append(instead.get(place, self.constants[place]))
                else:
                    taken = [values[number] for number in takes]
                    values.append(OPERATIONS[name](settings, *taken))
        return [np.asarray(values[number], np.float64).ravel() for number in self.outputs]


def _ints(settings: Sequence[float]) -> list[int]:
    return [int(n) for n in settings]


def _places(settings: Sequence[float]) -> NDArray[np.int64]:
    """Places that a view reads: settings are the offset, then sizes, then strides."""
    offset, *rest = _ints(settings)
    sizes, strides = rest[: len(rest) // 2], rest[len(rest) // 2 :]
    places = np.array(offset)
    for size, stride in zip(sizes, strides, strict=True):
        places = places[..., None] + stride * np.arange(size)
    return places.ravel()


def _view(settings: Sequence[float], x: Values) -> Values:
    offset, *rest = _ints(settings)
    sizes, strides = rest[: len(rest) // 2], rest[len(rest) // 2 :]
    flat = np.ascontiguousarray(x).ravel()
    step = flat.itemsize
    seen = as_strided(flat[offset:], sizes, [s * step for s in strides], writeable=False)
    return seen.astype(np.float64).ravel()


def _write(settings: Sequence[float], x: Values, y: Values) -> Values:
    return _put((), x, _places(settings), y)


def _put(_: Sequence[float], x: Values, at: Values, y: Values) -> Values:
    after = np.array(x, np.float64).ravel()
    after[at.astype(np.int64)] = y.ravel()
    return after


def _add_at(_: Sequence[float], x: Values, at: Values, y: Values) -> Values:
    after = np.array(x, np.float64).ravel()
    np.add.at(after, at.astype(np.int64), y.ravel())
    return after


def _take(_: Sequence[float], x: Values, at: Values) -> Values:
    return np.asarray(x.ravel()[at.astype(np.int64)], np.float64)


def _rows(settings: Sequence[float], table: Values, at: Values) -> Values:
    rows = table.reshape(-1, int(settings[0]))
    return np.asarray(rows[at.astype(np.int64).ravel()], np.float64).ravel()


def _matmul(settings: Sequence[float], a: Values, b: Values) -> Values:
    n_batch, n, k, m = _ints(settings)
    left = np.asarray(a, np.float64).reshape(n_batch, n, k)
    return np.asarray(left @ np.asarray(b, np.float64).reshape(n_batch, k, m)).ravel()


def _rowwise(
    does: Callable[..., Values],
) -> Callable[..., Values]:
    """Of ``(n, m)``, m being the first of the settings."""

    def over(settings: Sequence[float], x: Values) -> Values:
        rows = np.asarray(x, np.float64).reshape(-1, int(settings[0]))
        return np.asarray(does(rows, *settings[1:]), np.float64).ravel()

    return over


def _softmax(x: Values) -> Values:
    grown = np.exp(x - x.max(1, keepdims=True))
    return np.asarray(grown / grown.sum(1, keepdims=True))


def _normalise(x: Values, eps: float) -> Values:
    centred = x - x.mean(1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred**2).mean(1, keepdims=True) + eps))


def _largest(x: Values, k: float) -> Values:
    return np.argsort(-x, axis=1, kind="stable")[:, : int(k)]


def _unary(does: Callable[[Values], Any]) -> Callable[..., Values]:
    return lambda _, x: np.asarray(does(np.asarray(x, np.float64).ravel()), np.float64)


def _binary(does: Callable[[Values, Values], Any]) -> Callable[..., Values]:
    return lambda _, a, b: np.asarray(
        does(np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()), np.float64
    )


def _erf(x: Values) -> Values:
    import torch

    return torch.erf(torch.from_numpy(x)).numpy()


OPERATIONS: dict[str, Callable[..., Values]] = {
    "number": lambda settings: np.array([settings[0]]),
    "view": _view,
    "write": _write,
    "take": _take,
    "put": _put,
    "add_at": _add_at,
    "rows": _rows,
    "matmul": _matmul,
    "where": lambda _, c, a, b: np.where(c.ravel() != 0, a.ravel(), b.ravel()),
    "sum": _rowwise(lambda x: x.sum(1)),
    "prod": _rowwise(lambda x: x.prod(1)),
    "max": _rowwise(lambda x: x.max(1)),
    "cumsum": _rowwise(lambda x: x.cumsum(1)),
    "softmax": _rowwise(_softmax),
    "normalise": _rowwise(_normalise),
    "largest": _rowwise(_largest),
    "neg": _unary(np.negative),
    "abs": _unary(np.abs),
    "exp": _unary(np.exp),
    "log": _unary(np.log),
    "sqrt": _unary(np.sqrt),
    "tanh": _unary(np.tanh),
    "sigmoid": _unary(lambda x: 1 / (1 + np.exp(-x))),
    "relu": _unary(lambda x: np.maximum(x, 0)),
    "erf": _unary(_erf),
    "sin": _unary(np.sin),
    "cos": _unary(np.cos),
    "floor": _unary(np.floor),
    "trunc": _unary(np.trunc),
    "not": _unary(lambda x: x == 0),
    "add": _binary(np.add),
    "sub": _binary(np.subtract),
    "mul": _binary(np.multiply),
    "div": _binary(np.divide),
    "pow": _binary(np.power),
    "maximum": _binary(np.maximum),
    "minimum": _binary(np.minimum),
    "eq": _binary(np.equal),
    "lt": _binary(np.less),
    "le": _binary(np.less_equal),
}
"""Of a step's settings and of the values that it takes, each in one row: the value, in one row."""


def numel(shape: Sequence[int]) -> int:
    """Entries of an array of that shape."""
    return prod(shape)
