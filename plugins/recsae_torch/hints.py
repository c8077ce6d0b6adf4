"""What helps where a module cannot be asked for scores in the way that was said."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from recsae.core.errors import CannotOpenModel

_FOR_TRAINING = frozenset(
    {"pos", "neg", "positive", "negative", "positives", "negatives", "label", "labels", "target"}
    | {"targets", "pos_seqs", "neg_seqs", "pos_items", "neg_items", "loss"}
)
_FOR_OTHER_INPUT = frozenset({"user", "users", "user_id", "user_ids", "uid", "uids"})
_FOR_TIME = frozenset({"time", "times", "timestamp", "timestamps", "time_matrix", "time_matrices"})
_FOR_SCORES = ("predict", "full_sort_predict", "predict_all", "score", "scores", "recommend")


def scoring_error(
    module: torch.nn.Module, name: str, batch: Any, error: Exception, *, own: bool
) -> CannotOpenModel:
    """The error of a module that fails when it is asked for scores, and which argument helps.

    Parameters
    ----------
    own
        Whether it was called by a ``score`` of somebody's own.
    """
    said = f"{type(error).__name__}: {error}".strip().rstrip(".:")
    if own:
        return CannotOpenModel(
            f"score fails on {_shape(batch)} of make_batch's ({said}): let score(model, batch) "
            f"call {name} as it is called to recommend, and make_batch make all that it reads."
        )
    advice = [f"{name} cannot be called with {_shape(batch)} of make_batch's ({said})."]
    names = _parameters(module.forward)
    needed = {n.casefold() for n in names}
    methods = [m for m in _FOR_SCORES if inspect.ismethod(getattr(module, m, None))]
    if isinstance(batch, Mapping) and not set(batch) <= set(names):
        advice.append(
            "A dict is taken for keyword arguments: if forward reads the dict itself, say "
            "score=lambda model, batch: model(batch)."
        )
    if needed & _FOR_TRAINING or methods:
        shown = ", ".join(f"{m}({', '.join(_parameters(getattr(module, m)))})" for m in methods)
        through = f"it has {shown}" if shown else "it needs a method for that"
        advice.append(
            f"forward({', '.join(names)}) seems made for training: say with score=lambda model, "
            f"batch: ... how all items are scored; {through}."
        )
    for words, what in ((_FOR_OTHER_INPUT, "users"), (_FOR_TIME, "times")):
        if needed & words:
            advice.append(
                f"recsae asks for histories of items alone: if the model reads {what}, let "
                f"make_batch put in something constant for them, in a tuple or a dict."
            )
    if len(advice) == 1:
        advice.append(
            f"forward takes ({', '.join(names)}): let make_batch make these, as a tuple or as a "
            "dict of keyword arguments, or say score=lambda model, batch: ... ."
        )
    return CannotOpenModel(" ".join(advice))


def scores_hint(scores: Any, n: int, n_items: int, last: int) -> str:
    """What to do about scores of another form, as a sentence with a blank before it; or nothing."""
    if isinstance(scores, Mapping):
        keys = [str(key) for key, value in scores.items() if isinstance(value, torch.Tensor)]
        key = next((k for k in ("logits", "scores", "score") if k in keys), "KEY")
        return f" It has {keys}: say score=lambda model, batch: model(batch)[{key!r}]."
    if isinstance(scores, tuple | list):
        return " Of several outputs choose one: score=lambda model, batch: model(batch)[0]."
    if not isinstance(scores, torch.Tensor):
        return ""
    shape = tuple(scores.shape)
    if len(shape) in (2, 3) and shape[0] == n and shape[-1] in (n_items, last):
        return (
            f" If its {shape[-1]} outputs leave out padding, put a column before them: "
            "score=lambda model, batch: torch.nn.functional.pad(model(batch), (1, 0))."
        )
    if len(shape) in (2, 3) and shape[0] == n:
        return (
            " If these are states, multiply them by the items' vectors: score=lambda model, batch: "
            "model(batch) @ model.ITEMS.weight.T."
        )
    return ""


def _parameters(function: Any) -> list[str]:
    try:
        return [name for name in inspect.signature(function).parameters if name != "self"]
    except (TypeError, ValueError):
        return []


def _shape(batch: Any) -> str:
    """A batch in words: ``a tensor (64, 50)``, ``a dict of 'items', 'mask'``."""
    if isinstance(batch, torch.Tensor):
        return f"a tensor {tuple(batch.shape)}"
    if isinstance(batch, Mapping):
        return f"a dict of {', '.join(map(repr, batch))}"
    if isinstance(batch, tuple | list):
        return f"a {type(batch).__name__} of {len(batch)}"
    return f"a {type(batch).__name__}"
