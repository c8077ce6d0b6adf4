"""Reading a RecBole model's states on the way to its scores, and checking that they are those.

RecBole scores by ``full_sort_predict``, which calls ``forward`` with whatever arguments the model
wants. Here that same call runs, is listened to, and stops behind ``forward``: no model's signature
has to be known.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from recsae.errors import CannotOpenModel
from recsae.hooks import edited_output, replaced_method

if TYPE_CHECKING:
    import torch

    from recsae.recommender import Recommender
    from recsae.sequences import Batch

TOLERANCE = 1e-4


class _Reached(Exception):
    """Raised behind the model's forward, where the rest of its scoring is not needed."""


def full_scores(model: Any, interaction: Any) -> torch.Tensor:
    """Scores ``(n, n_items)`` of all items by the model's own ``full_sort_predict``."""
    import torch

    try:
        with torch.no_grad():
            scores: torch.Tensor = model.full_sort_predict(interaction)
    except NotImplementedError:
        raise refusal(model, "is called for each pair of sequence and item") from None
    return scores.view(len(interaction), -1).cpu()


def states_of(model: Any, interaction: Any) -> torch.Tensor:
    """What ``forward`` gives on the way to the scores, ``(n, d)``, edits applied."""
    import torch

    found: list[Any] = []

    def wrap(forward: Callable[..., Any]) -> Callable[..., Any]:
        def reading(*args: Any, **kwargs: Any) -> Any:
            found.append(forward(*args, **kwargs))
            raise _Reached

        return reading

    with replaced_method(model, "forward", wrap), suppress(_Reached):
        full_scores(model, interaction)
    if not found:
        raise refusal(model, "takes no part in its scoring")
    states = found[0]
    if not isinstance(states, torch.Tensor):
        raise refusal(model, f"gives a {type(states).__name__}")
    n = len(interaction)
    if states.dim() != 2 or len(states) != n:
        raise refusal(model, f"gives a tensor {tuple(states.shape)} for {n} sequences")
    return states.cpu()


def states_of_positions(model: Any, interaction: Any) -> torch.Tensor:
    """What the model gathers the last position's state from, ``(n, length, d)``.

    Whether a position's row is what ``forward`` would give there is not known here: see
    :func:`recsae.recommender.is_causal`. Edits do not reach it.
    """
    gathered: list[torch.Tensor] = []

    def wrap(gather: Callable[..., Any]) -> Callable[..., Any]:
        def listening(output: torch.Tensor, index: torch.Tensor) -> Any:
            gathered.append(output)
            return gather(output, index)

        return listening

    with replaced_method(model, "gather_indexes", wrap):
        last = states_of(model, interaction)
    shape = (*interaction[model.ITEM_SEQ].shape, last.shape[1])
    if not gathered or gathered[-1].shape != shape:
        raise CannotOpenModel(f"{type(model).__name__} does not give the states of all positions.")
    return gathered[-1].cpu()


def verified_width(recommender: Recommender, model: Any, batch: Batch) -> int:
    """Width of the states, if the scores are made from them and from nothing else: tried.

    Each sequence of ``batch`` is given the state of another one; its scores must follow.

    Raises
    ------
    CannotOpenModel
        They do not, or states are not finite.
    """
    states, scores = recommender.represent(batch), recommender.score(batch)
    if not bool(states.isfinite().all()):
        raise CannotOpenModel(
            f"{recommender.name} gives NaN or infinite states on its own data: the model is "
            "broken, nothing can be learned from it."
        )
    if states.shape == scores.shape and gap(recommender, scores, states) <= TOLERANCE:
        raise refusal(model, "gives the scores themselves")
    with edited_output(model, lambda h: h.roll(1, 0)):
        moved = recommender.score(batch)
    if gap(recommender, scores.roll(1, 0), moved) > TOLERANCE:
        raise refusal(model, "does not give all that its scores are made from")
    return int(states.shape[1])


def gap(recommender: Recommender, scores: torch.Tensor, others: torch.Tensor) -> float:
    """Largest difference over real items, relative to the largest score; NaN counts as infinite."""
    import torch

    real = torch.from_numpy(recommender.catalog.recommendable)
    scores, others = scores[:, real], others[:, real]
    found = float((scores - others).abs().max() / (scores.abs().max() + 1e-12))
    return found if found == found else float("inf")


def refusal(model: Any, what: str) -> CannotOpenModel:
    """The error for a model whose ``forward`` does not do what is needed."""
    return CannotOpenModel(
        f"recsae cannot attach to {type(model).__name__} yet: its forward {what}, where one vector "
        "per sequence is needed from which all scores are made."
    )
