"""Item vectors given to a RecBole model in place of items, to differentiate its states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recsae.core.errors import CannotOpenModel, summary_of
from recsae_recbole.boundary import recbole_boundary
from recsae_recbole.sites.taps import Tap, differentiable_at_last_item, read

if TYPE_CHECKING:
    import torch

    from recsae.recommender.embeddings import EmbeddingLookups
    from recsae.recommender.sequences import Batch
    from recsae_recbole.scoring import ModelCaller


def lookups_of(model: Any, scorer: ModelCaller, interaction: Any, batch: Batch) -> EmbeddingLookups:
    """The embedding tables in which the model looks up the items of sequences.

    Raises
    ------
    CannotOpenModel
        There is none, because the model knows users and no sequences or reads items otherwise.
    """
    from recsae.recommender.embeddings import find_lookups

    if not hasattr(model, "ITEM_SEQ"):
        raise CannotOpenModel(
            f"{type(model).__name__} keeps one state for each user and reads no items, so there is "
            "nothing to take gradients by."
        )
    return find_lookups(model, batch.items, batch.lengths, lambda: scorer.until(interaction))


def differentiable_states(
    model: Any, tap: Tap, scorer: ModelCaller, interaction: Any
) -> torch.Tensor:
    """States ``(n, d)`` at a tap with the way they were made, on the CPU.

    Raises
    ------
    CannotOpenModel
        The model cannot be run with gradients; the message has its own error.
    """
    import torch

    # cuDNN's recurrent layers cannot be differentiated in evaluation mode
    with recbole_boundary(), torch.backends.cudnn.flags(enabled=False):
        try:
            outputs = read([tap], lambda: scorer.until(interaction, gradients=True))[0]
        except RuntimeError as error:  # autograd's, where a model works in place
            raise CannotOpenModel(
                f"{type(model).__name__} cannot be run with gradients ({summary_of(error)})."
            ) from error
        if not outputs:
            raise CannotOpenModel(f"{tap.call} of {type(model).__name__} was not reached.")
        return differentiable_at_last_item(model, tap, outputs[-1], interaction).cpu()
