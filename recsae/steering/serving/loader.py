"""A steered model, ready to serve: loads what ``recsae export`` wrote, and needs nothing of recsae.

``load(folder)`` gives a module: ``module.edit(states)`` are the steered states, for the rest of
the model or for a stack that looks up neighbours of the state among the items. ``module(states)``
are the steered scores where scores are linear in the states, elsewhere the steered states too.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn


class SteeredStates(nn.Module):
    """States ``(..., d)`` in, steered states out."""

    mean: torch.Tensor
    scale: torch.Tensor
    W_enc: torch.Tensor
    b_enc: torch.Tensor
    b_dec: torch.Tensor
    gate_weight: torch.Tensor
    gate_bound: torch.Tensor
    gate_decoder: torch.Tensor
    directions: torch.Tensor

    def __init__(self, config: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.k, self.steps = config["k"], config["steps"]
        self.latents = config["latents"]
        for name, value in weights.items():
            self.register_buffer(name, value)

    def change(self, states: torch.Tensor) -> torch.Tensor:
        """What interventions do to the activations of the turned latents, ``(n, m)``."""
        gates = nn.functional.linear(states, self.gate_weight, -self.gate_bound).relu()
        rest = states - gates @ self.gate_decoder * self.scale if len(self.gate_bound) else states
        x = (rest - self.mean) / self.scale
        pre = nn.functional.linear(x - self.b_dec, self.W_enc, self.b_enc).relu()
        values, indices = pre.topk(self.k, dim=1)
        code = torch.zeros_like(pre).scatter(1, indices, values)
        before = torch.cat([gates, code], 1)[:, self.latents]
        after = before
        for number, step in enumerate(self.steps):
            value: torch.Tensor = getattr(self, f"value_{number}")  # (m,)
            turned = {
                "set": value.expand_as(after),
                "scale": after * value,
                "add": after + value,
                "at_most": torch.minimum(after, value.expand_as(after)),
                "at_least": torch.maximum(after, value.expand_as(after)),
            }[step["op"]]
            reached: torch.Tensor = getattr(self, f"reached_{number}").expand_as(after)
            if step["where"] == "active":
                reached = reached & (before > 0)
            after = torch.where(reached, turned, after)
        return after - before

    def edit(self, states: torch.Tensor) -> torch.Tensor:
        """The steered states ``(..., d)``; those that no latent moves are as they were."""
        if states.dim() > 2:
            return self.edit(states.flatten(0, -2)).view(states.shape)
        change = self.change(states)
        moved = (change != 0).any(1, keepdim=True)
        return torch.where(moved, states + change @ self.directions, states)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """The steered states."""
        return self.edit(states)


class SteeredHead(SteeredStates):
    """``states (n, d)`` in, scores ``(n, n_items)`` out; rows that are no items have -inf."""

    items: torch.Tensor
    bias: torch.Tensor
    recommendable: torch.Tensor

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """The steered scores."""
        scores = self.edit(states) @ self.items.T + self.bias
        return scores.masked_fill(~self.recommendable, float("-inf"))


def made_of(config: dict[str, Any], weights: dict[str, torch.Tensor]) -> SteeredStates:
    """The module: with a head where there is an item table."""
    kind = SteeredHead if "items" in weights else SteeredStates
    return kind(config, weights).eval()


def load(folder: str | Path) -> SteeredStates:
    """Read what ``recsae export`` wrote."""
    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return made_of(config, load_file(folder / "weights.safetensors"))
