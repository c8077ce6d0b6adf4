"""A steered model, ready to serve: loads what ``recsae export`` wrote, and needs nothing of recsae.

``load(folder)`` gives a module: ``module.edit(states)`` are the steered states, for the rest of
the model or for a stack that looks up neighbours of the state among the items. ``module(states)``
are the steered scores where scores are linear in the states, elsewhere the steered states too.
``module.rank(scores, k)`` are lists where re-ranking needs more than scores; with an item table
``module.lists(states, k)`` does both.
"""

import json
import math
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
    direction: torch.Tensor
    banned: torch.Tensor

    def __init__(self, config: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.k, self.steps = config["k"], config["steps"]
        self.latents, self.ranking = config["latents"], config.get("ranking", [])
        self.needs_own = any(step["edits"] != "scores" for step in self.ranking)
        self.has_direction, self.has_banned = "direction" in weights, "banned" in weights
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
        edited = states
        if self.latents:
            change = self.change(states)
            moved = (change != 0).any(1, keepdim=True)
            edited = torch.where(moved, states + change @ self.directions, states)
        return edited + self.direction if self.has_direction else edited

    def rank(self, scores: torch.Tensor, k: int, own: torch.Tensor | None = None) -> torch.Tensor:
        """Rows of items ``(n, k)``, best first, by steered scores ``(n, n_items)``.

        What is not to be recommended has a score of -inf; where fewer are left, lists end with 0.
        ``own`` are the scores without steering, where ``module.needs_own``.
        """
        if self.has_banned:
            scores = scores.masked_fill(self.banned, float("-inf"))
            own = None if own is None else own.masked_fill(self.banned, float("-inf"))
        for number, step in enumerate(self.ranking):
            weights: torch.Tensor = getattr(self, f"weights_{number}")
            if step["edits"] != "scores":
                if own is None:
                    raise ValueError("give own=, the scores without steering: lists need both")
                prior = getattr(self, f"prior_{number}", None)
                return _of_two_queries(scores, own, weights, prior, step, k)
            if step["candidates"] is not None and step["candidates"] < scores.shape[1]:
                first = scores.topk(step["candidates"], dim=1).indices
                inside = torch.full_like(scores, float("-inf"))
                scores = inside.scatter(1, first, scores.gather(1, first))
            if step["temperature"] is not None:
                prior = getattr(self, f"prior_{number}", None)
                return _by_probability(scores, weights, prior, step, k)
            scores = scores + step["gain"] * weights
            own = None if own is None else own + step["gain"] * weights
        best = scores.topk(min(k, scores.shape[1]), dim=1)
        return best.indices.masked_fill(best.values == float("-inf"), 0)

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
        return self.scores(self.edit(states))

    def scores(self, states: torch.Tensor) -> torch.Tensor:
        """The scores of states as they are."""
        return (states @ self.items.T + self.bias).masked_fill(~self.recommendable, float("-inf"))

    def lists(
        self, states: torch.Tensor, k: int, seen: list[list[int]] | None = None
    ) -> torch.Tensor:
        """Rows of items ``(n, k)``, best first; ``seen`` are rows that each list leaves out."""
        tables = [self(states), self.scores(states)] if self.needs_own else [self(states)]
        for scores in tables:
            for row, items in enumerate(seen or []):
                scores[row, items] = float("-inf")
        return self.rank(tables[0], k, tables[-1])


def _by_probability(
    scores: torch.Tensor,
    weights: torch.Tensor,
    prior: torch.Tensor | None,
    step: dict[str, Any],
    k: int,
) -> torch.Tensor:
    """Place by place the item with the largest ``p * discount + gain * weight``, then by p."""
    scaled = scores / step["temperature"]
    log_p = scaled - torch.logsumexp(scaled, 1, keepdim=True)
    p = log_p.exp()
    gain = (step["gain"] * weights).expand_as(p).masked_fill(scores == float("-inf"), float("-inf"))
    if step["first"] is not None:  # so many by score, and the first of the most useful
        most = weights[(scores > float("-inf")).any(0)].max()
        useful = scores.masked_fill(weights < most, float("-inf"))
        allowed = torch.zeros_like(p, dtype=torch.bool)
        for table, n in ((scores, step["first"]), (useful, k)):
            best = table.topk(min(n, table.shape[1]), dim=1)
            there = best.values > float("-inf")  # else any item would do
            allowed |= torch.zeros_like(allowed).scatter(1, best.indices, there)
        gain = gain.masked_fill(~allowed, float("-inf"))
    if prior is not None:
        log_p = log_p.masked_fill(gain == float("-inf"), float("-inf"))
        p = _calibrated(log_p, step["powers"], prior)
    return _place_by_place(p, gain, k)


def _of_two_queries(
    steered: torch.Tensor,
    own: torch.Tensor,
    weights: torch.Tensor,
    prior: torch.Tensor | None,
    step: dict[str, Any],
    k: int,
) -> torch.Tensor:
    """The same within what both queries find, half and half, by the scores without steering."""
    found = torch.zeros_like(own, dtype=torch.bool)
    for table, n in ((own, step["candidates"] - step["turned"]), (steered, step["turned"])):
        best = table.topk(min(n, table.shape[1]), dim=1)
        found |= torch.zeros_like(found).scatter(1, best.indices, best.values > float("-inf"))
    inside = own.masked_fill(~found, float("-inf"))
    log_p = torch.log_softmax(inside / step["temperature"], 1)
    p = log_p.exp() if prior is None else _calibrated(log_p, step["powers"], prior)
    if step["edits"] == "pushes":
        weights = (steered - own) / step["temperature"]
    gain = (step["gain"] * weights).expand_as(p).masked_fill(inside == float("-inf"), float("-inf"))
    return _place_by_place(p, gain, k)


def _place_by_place(p: torch.Tensor, gain: torch.Tensor, k: int) -> torch.Tensor:
    taken, likely = [], []
    for place in range(min(k, p.shape[1])):
        best = (p / math.log2(place + 2) + gain).max(1, keepdim=True)
        none = best.values == float("-inf")
        taken.append(best.indices.masked_fill(none, 0))
        likely.append(p.gather(1, best.indices).masked_fill(none, float("-inf")))
        gain = gain.scatter(1, best.indices, float("-inf"))
    order = torch.cat(likely, 1).argsort(dim=1, descending=True, stable=True)
    return torch.cat(taken, 1).gather(1, order)


def _calibrated(log_p: torch.Tensor, powers: list[float], prior: torch.Tensor) -> torch.Tensor:
    """Better probabilities ``(n, n_items)`` than the model's, -inf being what is left out."""
    order = log_p.argsort(dim=1, descending=True, stable=True)
    place = torch.arange(1.0, log_p.shape[1] + 1).log().expand_as(log_p)
    place = torch.empty_like(log_p).scatter(1, order, place)
    own = powers[0] * log_p.clamp_min(-200) + powers[1] * place + prior
    outside = (1 - log_p.exp().sum(1, keepdim=True)).clamp_min(1e-6).log()
    own = torch.cat([own.masked_fill(log_p == float("-inf"), float("-inf")), outside], 1)
    return torch.softmax(own, 1)[:, :-1]


def made_of(config: dict[str, Any], weights: dict[str, torch.Tensor]) -> SteeredStates:
    """The module: with a head where there is an item table."""
    kind = SteeredHead if "items" in weights else SteeredStates
    return kind(config, weights).eval()


def load(folder: str | Path) -> SteeredStates:
    """Read what ``recsae export`` wrote."""
    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return made_of(config, load_file(folder / "weights.safetensors"))
