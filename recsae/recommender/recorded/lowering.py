"""Torch's operations in terms of those of a graph, by their names in ATen.

Each function takes the recorder, torch's own result, and the arguments of the operation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from recsae.recommender.recorded.graph import numel
from recsae.recommender.recorded.recorder import CannotRecord, Value

if TYPE_CHECKING:
    from recsae.recommender.recorded.recorder import Recorder

    Lower = Callable[..., Any]
    One = Callable[..., Value]
Shape = Sequence[int]


# -- shapes --------------------------------------------------------------------------------------
def strides_of(shape: Shape) -> list[int]:
    """Strides of an array without gaps."""
    return [numel(shape[i + 1 :]) for i in range(len(shape))]


def expand(r: Recorder, x: Value, shape: Shape) -> Value:
    """``x`` in a shape that it is broadcast to."""
    if tuple(x.shape) == tuple(shape):
        return x
    ahead = len(shape) - len(x.shape)
    own = strides_of(x.shape)
    strides = [0] * ahead + [0 if n == 1 else s for n, s in zip(x.shape, own, strict=True)]
    return r.view(x, shape, strides, 0)


def permute(r: Recorder, x: Value, order: Sequence[int]) -> Value:
    """``x`` with its axes in another order."""
    own = strides_of(x.shape)
    return r.view(x, [x.shape[i] for i in order], [own[i] for i in order], 0)


def value(r: Recorder, x: Any) -> Value:
    """A number or a value as a value."""
    return x if isinstance(x, Value) else r.number(x)


def operand(r: Recorder, x: Any, shape: Shape) -> Value:
    """One side of an operation that goes entry by entry: of the shape, or one number."""
    x = value(r, x)
    return x if numel(x.shape) == 1 else expand(r, x, shape)


def axes(x: Value, dim: Any) -> list[int]:
    """Axes that are meant, none being all, from 0."""
    rank = len(x.shape)
    chosen = range(rank) if dim is None or dim == [] else [dim] if isinstance(dim, int) else dim
    return [d % max(rank, 1) for d in chosen]


def last(r: Recorder, x: Value, dims: Sequence[int]) -> tuple[Value, int, list[int]]:
    """``x`` with some axes moved to the end, their size, and the order of its axes then."""
    order = [d for d in range(len(x.shape)) if d not in dims] + list(dims)
    moved = permute(r, x, order) if order != list(range(len(x.shape))) else x
    return moved, numel([x.shape[d] for d in dims]), order


def along(name: str) -> One:
    """An operation along one axis that keeps the shape."""

    def lower(r: Recorder, out: Any, x: Value, dim: int, *_: Any, **__: Any) -> Value:
        moved, size, order = last(r, x, axes(x, dim))
        made = r.add(name, [moved], moved.shape, size)
        back = [order.index(d) for d in range(len(order))]
        return permute(r, made, back) if back != order or order != sorted(order) else made

    return lower


def reduced(r: Recorder, name: str, x: Value, dim: Any, shape: Shape) -> Value:
    """``x`` without some axes."""
    moved, size, _ = last(r, x, axes(x, dim))
    return r.add(name, [moved], shape, size)


def reduce(name: str, before: Callable[[Recorder, Value], Value] | None = None) -> Lower:
    """An operation that takes axes away."""

    def lower(r: Recorder, out: Any, x: Value, dim: Any = None, *_: Any, **__: Any) -> Any:
        several = isinstance(out, tuple)
        shape = (out[0] if several else out).shape
        made = reduced(r, name, before(r, x) if before else x, dim, shape)
        return (made, None) if several else made

    return lower


# -- entry by entry ------------------------------------------------------------------------------
def unary(*names: str) -> One:
    """One operation after another."""

    def lower(r: Recorder, out: Any, x: Value, *_: Any, **__: Any) -> Value:
        for name in names:
            x = r.add(name, [x], x.shape)
        return x

    return lower


def both(r: Recorder, name: str, a: Any, b: Any, shape: Shape) -> Value:
    """An operation of two values."""
    return r.add(name, [operand(r, a, shape), operand(r, b, shape)], shape)


def full(r: Recorder, x: Value, shape: Shape) -> Value:
    """A result of the shape, also where only single numbers went into it."""
    return x if numel(x.shape) == numel(shape) else expand(r, x, shape)


def binary(name: str, *after: str, swapped: bool = False) -> One:
    """An operation of two values, and operations of one after it."""

    def lower(r: Recorder, out: Any, a: Any, b: Any, *_: Any, alpha: Any = 1, **__: Any) -> Value:
        if alpha != 1:
            b = both(r, "mul", b, alpha, b.shape if isinstance(b, Value) else ())
        one, other = (b, a) if swapped else (a, b)
        made = both(r, name, one, other, out.shape)
        return unary(*after)(r, out, made)

    return lower


def divide(r: Recorder, out: Any, a: Any, b: Any, rounding_mode: str | None = None) -> Value:
    """``div``, rounded where that is asked for."""
    made = both(r, "div", a, b, out.shape)
    return r.add(rounding_mode, [made], out.shape) if rounding_mode else made


def clamp(r: Recorder, out: Any, x: Value, min: Any = None, max: Any = None) -> Value:
    """Between bounds, each of which may be missing."""
    x = x if min is None else both(r, "maximum", x, min, out.shape)
    return x if max is None else both(r, "minimum", x, max, out.shape)


def where(r: Recorder, out: Any, c: Value, a: Any, b: Any) -> Value:
    """One of two by a condition."""
    taken = [expand(r, c, out.shape), operand(r, a, out.shape), operand(r, b, out.shape)]
    return r.add("where", taken, out.shape)


def cast(r: Recorder, out: Any, x: Value, *_: Any, **__: Any) -> Value:
    """Another type of number: whole where it is one of whole numbers, 0 or 1 of booleans."""
    if out.dtype in (torch.float16, torch.bfloat16) or out.is_complex():
        raise CannotRecord(f"reckons in {str(out.dtype).removeprefix('torch.')}")
    if out.dtype == torch.bool and x.dtype != torch.bool:
        return unary("not", "not")(r, out, x)
    if not out.dtype.is_floating_point and x.dtype.is_floating_point:
        return unary("trunc")(r, out, x)
    return x


def copy(r: Recorder, out: Any, x: Value, source: Value, *_: Any) -> Value:
    """What is copied into a tensor."""
    return expand(r, cast(r, out, source), out.shape)


def gelu(r: Recorder, out: Any, x: Value, approximate: str = "none") -> Value:
    """``x`` times the normal distribution function of it, or what is near to that."""
    shape = x.shape
    if approximate == "tanh":
        cubed = both(r, "mul", both(r, "pow", x, 3.0, shape), 0.044715, shape)
        inner = both(r, "mul", both(r, "add", x, cubed, shape), math.sqrt(2 / math.pi), shape)
        grown = unary("tanh")(r, out, inner)
    else:
        grown = unary("erf")(r, out, both(r, "mul", x, math.sqrt(0.5), shape))
    return both(r, "mul", both(r, "mul", x, 0.5, shape), both(r, "add", grown, 1.0, shape), shape)


def silu(r: Recorder, out: Any, x: Value) -> Value:
    """``x sigmoid(x)``."""
    return both(r, "mul", x, unary("sigmoid")(r, out, x), x.shape)


def leaky(r: Recorder, out: Any, x: Value, slope: float = 0.01) -> Value:
    """``x``, times the slope where it is negative."""
    steep = both(r, "mul", both(r, "minimum", x, 0.0, x.shape), slope, x.shape)
    return both(r, "add", unary("relu")(r, out, x), steep, x.shape)


def elu(
    r: Recorder, out: Any, x: Value, alpha: float = 1.0, scale: float = 1.0, inner: float = 1.0
) -> Value:
    """``exp(x) - 1`` where it is negative."""
    low = both(r, "mul", both(r, "minimum", x, 0.0, x.shape), inner, x.shape)
    grown = both(r, "sub", unary("exp")(r, out, low), 1.0, x.shape)
    steep = both(r, "mul", grown, alpha, x.shape)
    return both(r, "mul", both(r, "add", unary("relu")(r, out, x), steep, x.shape), scale, x.shape)


def triangle(keep: Callable[..., torch.Tensor]) -> Lower:
    """Zeros above or below a diagonal."""

    def lower(r: Recorder, out: Any, x: Value, diagonal: int = 0) -> Value:
        kept = r.constant(keep(torch.ones(tuple(out.shape), dtype=torch.bool), diagonal))
        return r.add("where", [kept, x, r.number(0.0)], out.shape)

    return lower


def safe_softmax(r: Recorder, out: Any, x: Value, dim: int, *_: Any) -> Value:
    """The softmax, 0 where all are -inf."""
    made = along("softmax")(r, out, x, dim)
    known = both(r, "eq", made, made, made.shape)  # NaN is unlike itself
    return r.add("where", [known, made, r.number(0.0)], made.shape)


# -- products and norms --------------------------------------------------------------------------
def product(r: Recorder, a: Value, b: Value, shape: Shape) -> Value:
    """``(..., n, k)`` times ``(..., k, m)``."""
    n_batch = numel(a.shape[:-2])
    return r.add("matmul", [a, b], shape, n_batch, a.shape[-2], a.shape[-1], b.shape[-1])


def matmul(r: Recorder, out: Any, a: Value, b: Value) -> Value:
    """``mm``, ``bmm``, ``mv`` and ``dot``."""
    if len(a.shape) == 1:
        a = Value(a.number, (1, *a.shape), a.dtype)
    if len(b.shape) == 1:
        b = Value(b.number, (*b.shape, 1), b.dtype)
    return product(r, a, b, out.shape)


def added(
    r: Recorder, out: Any, x: Any, a: Value, b: Value, *, beta: Any = 1, alpha: Any = 1
) -> Value:
    """``beta x + alpha a b``."""
    made = matmul(r, out, a, b)
    made = made if alpha == 1 else both(r, "mul", made, alpha, out.shape)
    x = x if beta == 1 else both(r, "mul", x, beta, x.shape)
    return made if beta == 0 else both(r, "add", made, x, out.shape)


def layer_norm(
    r: Recorder, out: Any, x: Value, size: Shape, weight: Any, bias: Any, eps: float
) -> tuple[Value, None, None]:
    """Mean 0 and variance 1 along the last axes."""
    made = r.add("normalise", [x], x.shape, numel(size), eps)
    made = made if weight is None else both(r, "mul", made, weight, x.shape)
    made = made if bias is None else both(r, "add", made, bias, x.shape)
    return made, None, None


def mean(r: Recorder, out: Any, x: Value, dim: Any = None, *_: Any, **__: Any) -> Value:
    """The mean along axes."""
    size = numel([x.shape[d] for d in axes(x, dim)])
    return both(r, "div", reduced(r, "sum", x, dim, out.shape), float(size), out.shape)


def variance(
    r: Recorder, out: Any, x: Value, dim: Any = None, *_: Any, correction: Any = 1, **__: Any
) -> Value:
    """The variance along axes."""
    dims = axes(x, dim)
    size = numel([x.shape[d] for d in dims])
    kept = [1 if d in dims else n for d, n in enumerate(x.shape)]
    middle = both(r, "div", reduced(r, "sum", x, dims, kept), float(size), kept)
    off = both(r, "sub", x, middle, x.shape)
    total = reduced(r, "sum", both(r, "mul", off, off, x.shape), dims, out.shape)
    return both(r, "div", total, float(size - (1 if correction is None else correction)), out.shape)


def norm(
    r: Recorder, out: Any, x: Value, ord: Any = 2, dim: Any = None, *_: Any, **__: Any
) -> Value:
    """The length along axes."""
    if ord != 2:
        raise CannotRecord(f"takes a norm of order {ord}")
    total = reduced(r, "sum", both(r, "mul", x, x, x.shape), dim, out.shape)
    return unary("sqrt")(r, out, total)


def constant(r: Recorder, out: Any, *_: Any, **__: Any) -> None:
    """What shapes alone decide."""


def same(r: Recorder, out: Any, x: Value, *_: Any, **__: Any) -> Value:
    """A copy."""
    return x
