"""Which of torch's operations can be written down, by their names in ATen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from recsae.recommender.recorded import gathering as put
from recsae.recommender.recorded import lowering as low
from recsae.recommender.recorded.recorder import Value

LOWERING: dict[str, Callable[..., Any]] = {
    **{name: low.unary(name) for name in ("neg", "abs", "exp", "log", "sqrt", "tanh", "sigmoid")},
    **{name: low.unary(name) for name in ("relu", "erf", "sin", "cos", "floor", "trunc")},
    "logical_not": low.unary("not"),
    "bitwise_not": low.unary("not"),
    "rsqrt": lambda r, out, x: low.both(r, "div", 1.0, low.unary("sqrt")(r, out, x), x.shape),
    "reciprocal": lambda r, out, x: low.both(r, "div", 1.0, x, x.shape),
    "log1p": lambda r, out, x: low.unary("log")(r, out, low.both(r, "add", x, 1.0, x.shape)),
    "gelu": low.gelu,
    "silu": low.silu,
    "leaky_relu": low.leaky,
    "elu": low.elu,
    "hardtanh": lambda r, out, x, a=-1.0, b=1.0: low.clamp(r, out, x, a, b),
    "softplus": lambda r, out, x, *_: low.unary("log")(
        r, out, low.both(r, "add", low.unary("exp")(r, out, x), 1.0, x.shape)
    ),
    **{name: low.binary(name) for name in ("add", "sub", "mul", "pow", "maximum", "minimum")},
    **{name: low.binary(name) for name in ("eq", "lt", "le")},
    "rsub": low.binary("sub", swapped=True),
    "ne": low.binary("eq", "not"),
    "gt": low.binary("lt", swapped=True),
    "ge": low.binary("le", swapped=True),
    **dict.fromkeys(("logical_and", "bitwise_and", "__and__"), low.binary("mul", "not", "not")),
    **dict.fromkeys(("logical_or", "bitwise_or", "__or__"), low.binary("add", "not", "not")),
    "logical_xor": low.binary("sub", "not", "not"),
    "div": low.divide,
    "floor_divide": lambda r, out, a, b: low.divide(r, out, a, b, "floor"),
    "clamp": low.clamp,
    "clamp_min": lambda r, out, x, bound: low.clamp(r, out, x, bound),
    "clamp_max": lambda r, out, x, bound: low.clamp(r, out, x, None, bound),
    "where": low.where,
    "masked_fill": lambda r, out, x, mask, y: low.where(r, out, mask, y, x),
    "tril": low.triangle(torch.tril),
    "triu": low.triangle(torch.triu),
    "_to_copy": low.cast,
    "clone": low.same,
    "_unsafe_view": lambda r, out, x, shape: Value(x.number, tuple(out.shape), x.dtype),
    "copy": low.copy,
    "fill": lambda r, out, x, y: low.expand(r, low.value(r, y), out.shape),
    "zero": lambda r, out, x: low.expand(r, r.number(0.0), out.shape),
    **dict.fromkeys(("mm", "bmm", "mv", "dot"), low.matmul),
    **dict.fromkeys(("addmm", "baddbmm", "addmv"), low.added),
    "_softmax": low.along("softmax"),
    "_safe_softmax": low.safe_softmax,
    "_log_softmax": lambda r, out, x, dim, *_: low.unary("log")(
        r, out, low.along("softmax")(r, out, x, dim)
    ),
    "cumsum": low.along("cumsum"),
    "native_layer_norm": low.layer_norm,
    "sum": low.reduce("sum"),
    "prod": low.reduce("prod"),
    **dict.fromkeys(("max", "amax"), low.reduce("max")),
    "any": low.reduce("max", lambda r, x: low.unary("not", "not")(r, None, x)),
    "mean": low.mean,
    "var": low.variance,
    "std": lambda r, out, *a, **k: low.unary("sqrt")(r, out, low.variance(r, out, *a, **k)),
    "linalg_vector_norm": low.norm,
    "embedding": put.lookup,
    "index": put.index,
    "index_select": put.index_select,
    "index_put": put.index_put,
    "gather": put.gather,
    "scatter": put.scatter("put"),
    "scatter_add": put.scatter("add_at"),
    "cat": put.cat,
    "stack": put.stack,
    "constant_pad_nd": put.pad,
    "repeat": put.repeat,
    "flip": put.flip,
    "roll": put.roll,
    "topk": put.largest,
    "sort": put.sort,
    "argmax": put.argmax,
    **dict.fromkeys(("zeros_like", "ones_like", "full_like", "empty_like"), low.constant),
    **dict.fromkeys(("new_zeros", "new_ones", "new_full", "new_empty"), low.constant),
    "new_empty_strided": low.constant,
}
"""Of a recorder, torch's result, and the arguments: the value, see :class:`.recorder.Recorder`."""
