"""Torch's operations that look values up, put them elsewhere or in order, as those of a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from recsae.recommender.recorded.graph import numel
from recsae.recommender.recorded.lowering import (
    axes,
    both,
    expand,
    full,
    last,
    operand,
    strides_of,
    where,
)
from recsae.recommender.recorded.recorder import CannotRecord, Value

if TYPE_CHECKING:
    from recsae.recommender.recorded.recorder import Recorder

Shape = Sequence[int]


def lookup(r: Recorder, out: Any, table: Value, at: Value, *_: Any, **__: Any) -> Value:
    """Rows of a table; those of a constant are looked up as they are."""
    return r.add("rows", [table, at], out.shape, numel(table.shape[1:]))


def places(r: Recorder, shape: Shape, indices: Sequence[Value | None]) -> tuple[Value, Shape]:
    """Where in one row lie the entries of ``x[indices]``; the indexed axes are the first."""
    chosen = [index for index in indices if index is not None]
    together = torch.broadcast_shapes(*(index.shape for index in chosen))
    if any(index is None for index in indices[: len(chosen)]):
        raise CannotRecord("picks entries along other axes than the first")
    if any(index.dtype == torch.bool for index in chosen):
        raise CannotRecord("keeps as many values as the history decides")
    rest = shape[len(chosen) :]
    found = [*together, *rest]
    steps = strides_of(shape)
    inner = torch.arange(numel(rest)).reshape(*[1] * len(together), *rest)
    where_ = r.constant(inner)
    for index, size, step in zip(chosen, shape, steps, strict=False):
        low = both(r, "lt", index, 0, index.shape)  # from the end
        wrapped = both(r, "add", index, both(r, "mul", low, size, index.shape), index.shape)
        scaled = both(r, "mul", wrapped, step, index.shape)
        wide = Value(scaled.number, (*index.shape, *[1] * len(rest)), index.dtype)
        where_ = both(r, "add", where_, wide, torch.broadcast_shapes(where_.shape, wide.shape))
    return full(r, where_, found), found


def index(r: Recorder, out: Any, x: Value, indices: Sequence[Value | None]) -> Value:
    """``x[indices]``."""
    lone = len(indices) == 1 and indices[0] is not None and indices[0].dtype != torch.bool
    if lone and r.is_constant(x):
        return lookup(r, out, x, indices[0])  # type: ignore[arg-type]
    at, shape = places(r, x.shape, indices)
    return r.add("take", [x, at], shape)


def index_select(r: Recorder, out: Any, x: Value, dim: int, at: Value) -> Value:
    """Rows, if they are of the first axis."""
    if dim % len(x.shape):
        raise CannotRecord("picks entries along other axes than the first")
    return index(r, out, x, [at])


def index_put(
    r: Recorder,
    out: Any,
    x: Value,
    indices: Sequence[Value | None],
    y: Value,
    accumulate: bool = False,
) -> Value:
    """``x[indices] = y``, or ``+=``."""
    if len(indices) == 1 and indices[0] is not None and indices[0].dtype == torch.bool:
        if numel(y.shape) != 1:
            raise CannotRecord("puts values where the history decides")
        mask = indices[0]
        tail = [1] * (len(x.shape) - len(mask.shape))
        return where(r, out, Value(mask.number, (*mask.shape, *tail), mask.dtype), y, x)
    at, shape = places(r, x.shape, indices)
    return r.add("add_at" if accumulate else "put", [x, at, expand(r, y, shape)], x.shape)


def along_axis(r: Recorder, x: Value, dim: int, at: Value) -> Value:
    """Where in one row lie the entries of ``gather(x, dim, at)``."""
    steps = strides_of(x.shape)
    dim %= len(x.shape)
    base = torch.zeros(1, dtype=torch.int64)
    for axis, size in enumerate(at.shape):
        if axis != dim:
            shape = [-1 if i == axis else 1 for i in range(len(at.shape))]
            base = base + (torch.arange(size) * steps[axis]).reshape(shape)
    scaled = both(r, "mul", at, steps[dim], at.shape)
    return both(r, "add", scaled, r.constant(base), at.shape)


def gather(r: Recorder, out: Any, x: Value, dim: int, at: Value, **_: Any) -> Value:
    """One entry for each index, along an axis."""
    return r.add("take", [x, along_axis(r, x, dim, at)], out.shape)


def scatter(name: str) -> Callable[..., Value]:
    """Entries put in places along an axis, or added there."""

    def lower(r: Recorder, out: Any, x: Value, dim: int, at: Value, y: Any, **kwargs: Any) -> Value:
        if kwargs:
            raise CannotRecord("scatters with a reduction")
        y = operand(r, y, at.shape) if not isinstance(y, Value) else y
        if y.shape != at.shape:
            y = r.view(y, at.shape, strides_of(y.shape) if y.shape else [0] * len(at.shape), 0)
        return r.add(name, [x, along_axis(r, x, dim, at), y], x.shape)

    return lower


def cat(r: Recorder, out: Any, parts: Sequence[Value], dim: int = 0) -> Value:
    """One after another along an axis."""
    made = r.add("number", (), (), 0.0)
    whole = r.view(made, out.shape, [0] * len(out.shape), 0)
    parts = [part for part in parts if part.shape != (0,)]
    dim, steps, at = dim % len(out.shape), strides_of(out.shape), 0
    for part in parts:
        whole = r.add("write", [whole, part], out.shape, at * steps[dim], *part.shape, *steps)
        at += part.shape[dim]
    return whole


def stack(r: Recorder, out: Any, parts: Sequence[Value], dim: int = 0) -> Value:
    """One after another along a new axis."""
    dim %= len(out.shape)
    wide = [Value(p.number, (*p.shape[:dim], 1, *p.shape[dim:]), p.dtype) for p in parts]
    return cat(r, out, wide, dim)


def pad(r: Recorder, out: Any, x: Value, sizes: Sequence[int], filled: Any = 0) -> Value:
    """Entries put around; negative sizes are refused."""
    if min(sizes) < 0:
        raise CannotRecord("cuts by padding")
    before = [0] * len(x.shape)
    for place in range(len(sizes) // 2):
        before[-1 - place] = sizes[2 * place]
    steps = strides_of(out.shape)
    whole = r.view(r.number(float(filled or 0)), out.shape, [0] * len(out.shape), 0)
    at = sum(b * s for b, s in zip(before, steps, strict=True))
    return r.add("write", [whole, x], out.shape, at, *x.shape, *steps)


def repeat(r: Recorder, out: Any, x: Value, times: Sequence[int]) -> Value:
    """Copies of the whole along axes."""
    shape = [1] * (len(times) - len(x.shape)) + list(x.shape)
    wide = Value(x.number, tuple(n for size in shape for n in (1, size)), x.dtype)
    made = expand(r, wide, [n for t, size in zip(times, shape, strict=True) for n in (t, size)])
    return Value(made.number, tuple(out.shape), x.dtype)


def flip(r: Recorder, out: Any, x: Value, dims: Sequence[int]) -> Value:
    """The other way round along axes."""
    at = torch.arange(numel(x.shape)).reshape(x.shape).flip(list(dims))
    return r.add("take", [x, r.constant(at)], x.shape)


def roll(r: Recorder, out: Any, x: Value, shifts: Any, dims: Any = ()) -> Value:
    """Moved on along axes, and in again at the other end."""
    at = torch.arange(numel(x.shape)).reshape(x.shape).roll(shifts, dims)
    return r.add("take", [x, r.constant(at)], x.shape)


def largest(
    r: Recorder, out: Any, x: Value, k: int, dim: int = -1, largest: bool = True, *_: Any, **__: Any
) -> tuple[Value, Value]:
    """The k largest along the last axis, and where they are."""
    if dim % len(x.shape) != len(x.shape) - 1:
        raise CannotRecord("sorts along other axes than the last")
    signed = x if largest else r.add("neg", [x], x.shape)
    at = r.add("largest", [signed], out[1].shape, x.shape[-1], k, dtype=torch.int64)
    return gather(r, out[0], x, -1, at), at


def sort(
    r: Recorder, out: Any, x: Value, *args: Any, dim: int = -1, descending: bool = False, **_: Any
) -> tuple[Value, Value]:
    """All along the last axis, in order."""
    given: list[Any] = [a for a in args if a is not None]
    if given and not isinstance(given[0], bool):
        dim = given.pop(0)
    return largest(r, out, x, x.shape[dim], dim, given[-1] if given else descending)


def argmax(r: Recorder, out: Any, x: Value, dim: Any = None, *rest: Any) -> Value:
    """Where the largest is."""
    moved, size, _ = last(r, x, axes(x, dim))
    return r.add("largest", [moved], out.shape, size, 1, dtype=torch.int64)
