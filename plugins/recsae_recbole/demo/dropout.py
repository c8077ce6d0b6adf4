"""Dropout by a random byte for each number: torch's own takes an eighth of a training step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from recsae.recommender.hooks import replaced_method

if TYPE_CHECKING:
    from torch import nn

BYTE = 256


@contextmanager
def dropout_by_bytes(model: nn.Module, rng: np.random.Generator) -> Iterator[None]:
    """Let every ``nn.Dropout`` of a model draw from ``rng``, in training.

    The probability is that of the module to a 256th, and what is kept is scaled up accordingly.
    """

    def wrap(module: nn.Dropout) -> Callable[[Any], Callable[[torch.Tensor], torch.Tensor]]:
        cut = round(module.p * BYTE)

        def forward(x: torch.Tensor) -> torch.Tensor:
            if not module.training or not cut:
                return x
            drawn = np.frombuffer(rng.bytes(x.numel()), np.uint8).reshape(x.shape)
            scale = np.float32(BYTE / max(1, BYTE - cut))
            return x * torch.from_numpy((drawn >= cut) * scale).to(x)

        return lambda _: forward

    with ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                stack.enter_context(replaced_method(module, "forward", wrap(module)))
        yield
