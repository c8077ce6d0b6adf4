"""Places inside a RecTools model where states pass: sessions, blocks, attention, feed-forward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from recsae.recommender.hooks import replaced_method

SESSION = "session"
"""Name of the default site."""
Edit = Callable[[torch.Tensor], torch.Tensor]
BLOCKS = ("transformer_blocks", "stu_blocks")
"""Lists of layers, by the name that they have in the module of all layers."""
PARTS = {
    "multi_head_attn": "what attention of block {} adds",
    "feed_forward": "what the feed-forward layer of block {} adds",
    "output_mlp": "what block {} adds",
}
"""Submodules of a layer whose output has a state for each item, and what it is."""
GATED = "gating_linear_1"
"""A submodule of layers, LiGR's, that multiply what a part gives before it is added."""


@dataclass(frozen=True)
class Place:
    """The states of sessions, or the output of a submodule (of a tuple the first)."""

    name: str
    """``session``, or the path of the submodule."""
    meaning: str

    @contextmanager
    def through(self, net: torch.nn.Module, change: Edit) -> Iterator[None]:
        """Let what the submodule gives, ``(n, positions, d)``, go through ``change``."""

        def wrap(forward: Callable[..., Any]) -> Callable[..., Any]:
            def changed(*args: Any, **kwargs: Any) -> Any:
                output = forward(*args, **kwargs)
                if isinstance(output, tuple):
                    return (change(output[0]), *output[1:])
                return change(output)

            return changed

        with replaced_method(net.get_submodule(self.name), "forward", wrap):
            yield


def find_places(net: torch.nn.Module) -> list[Place]:
    """The states of sessions first, then each block and its parts."""
    meaning = "the session representation, that scores are products of"
    places = [Place(SESSION, meaning)]
    layers = net.get_submodule("transformer_layers")
    for name in BLOCKS:
        for number, block in enumerate(getattr(layers, name, ())):
            path = f"transformer_layers.{name}.{number}"
            places.append(Place(path, f"output of block {number}"))
            for part, said in PARTS.items():
                if hasattr(block, part):
                    gate = ", before its gate" if hasattr(block, GATED) else ""
                    places.append(Place(f"{path}.{part}", said.format(number) + gate))
    return places
