"""Which latents to turn, and how far, to reach a goal: a path that buys much for little.

Every latent has two dials: a multiplier where it is active, and a bias for everybody (what RecFTT
trains, with everything else frozen). The path starts at the unchanged model. At each step the
dials move along the natural gradient: towards the goal's gradient, in the metric of how much the
model's own distribution over items changes. All steps change that distribution alike, so how far
to go along the path is one number, the strength, chosen later by what accuracy it costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from recsae.core.topk import top_k
from recsae.sae.editing import Intervention

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.steering.steered_scores import Nearby

N_LATENTS = 16
N_STEPS = 10
STEP = 0.15
N_TOP = 10
RIDGE = 1e-3
SOFTNESS = 0.5
MIN_FIRING = 0.002
MIN_ACTIVE = 8
"""A multiplier of a latent that is active on fewer cases, in part or in number, is not known well
enough."""
BLOCK = 2**21
"""Scores at a time: larger temporary arrays cost more in page faults than in arithmetic."""
INFORMED = 4
MANY = 2_000
"""One of many cases in so many tells the information, which varies less than the slope and costs
more."""


class TuningPath(NamedTuple):
    """Settings of some latents at strengths 0, 1, 2, ...

    ``latents (m,)``; ``scale (S + 1, m)`` what is added to a multiplier of 1, ``bias (S + 1, m)``.
    """

    latents: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor

    def at(self, strength: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale and bias ``(m,)`` at a strength, between steps by straight lines."""
        last = len(self.scale) - 1
        first = min(int(strength), last - 1)
        part = strength - first
        return tuple((1 - part) * x[first] + part * x[first + 1] for x in (self.scale, self.bias))  # type: ignore[return-value]

    @property
    def longest(self) -> float:
        """The largest strength."""
        return float(len(self.scale) - 1)

    def interventions(self, strength: float, name: str = "") -> list[Intervention]:
        """The same as interventions: multipliers where active, then biases for everybody."""
        scale, bias = (x.tolist() for x in self.at(strength))
        latents = tuple(self.latents.tolist())
        return [
            Intervention(latents, "scale", tuple(1 + s for s in scale), name),
            Intervention(latents, "add", tuple(bias), name),
        ]


def natural_path(
    weights: NDArray[np.float32],
    cases: Cases,
    z: torch.Tensor,
    directions: torch.Tensor,
    near: Nearby,
    candidates: NDArray[np.bool_] | None = None,
    n_latents: int = N_LATENTS,
) -> TuningPath:
    """The path towards a goal on construction cases.

    Parameters
    ----------
    weights
        ``(n_items,)`` worth of an item in the list.
    z, directions
        Activations ``(n, m)`` of the cases, and what one unit adds to a state ``(m, d)``.
    near
        How the cases' scores follow their states.
    candidates
        ``(m,)`` which latents may be chosen; all if None.

    Notes
    -----
    The goal is the mean worth of the top 10, softened: an item is in the list with a probability
    that rises with its score above the tenth. The metric is the Fisher information of the softmax
    over items, at the temperature at which it tells the next items best.
    """
    lists = _Lists(weights, cases, near)
    goal, fisher = lists.slopes(lists.states)
    chosen = _choose(goal, fisher, z, directions, candidates, n_latents)
    mine, along = z[:, chosen], directions[chosen]
    moves = along @ near.head.items.T
    m = len(chosen)
    fixed = torch.cat([~_often(mine), torch.zeros(m, dtype=torch.bool)])
    dials = torch.zeros(2 * m)
    steps = [dials]
    for number in range(N_STEPS):
        states = lists.states + (mine * dials[:m] + dials[m:]) @ along
        gradient, information = lists.dials(states, moves, mine, number)
        gradient[fixed] = 0
        information[fixed] = 0
        information[:, fixed] = 0
        own = torch.diag(information.diagonal().clamp_min(1e-12))
        step = torch.linalg.solve(information + RIDGE * own, gradient)
        size = float(step @ information @ step) ** 0.5
        dials = dials + step * (STEP / size if size > 0 else 0.0)
        steps.append(dials)
    path = torch.stack(steps)
    return TuningPath(chosen, path[:, :m], path[:, m:])


def _choose(
    goal: torch.Tensor,
    fisher: torch.Tensor,
    z: torch.Tensor,
    directions: torch.Tensor,
    candidates: NDArray[np.bool_] | None,
    n_latents: int,
) -> torch.Tensor:
    """The latents whose dials gain most per change: half by their biases, half by multipliers.

    Biases one after another, each by what it adds to those before it (matching pursuit in the
    metric); many latents point the same way.
    """
    may = torch.ones(len(directions), dtype=torch.bool)
    if candidates is not None:
        may = torch.from_numpy(candidates)
    mean = goal.mean(0)
    gain, information = directions @ mean, directions @ fisher @ directions.T
    own = information.diagonal().clamp_min(1e-12)
    chosen: list[int] = []
    for _ in range(min((n_latents + 1) // 2, int(may.sum()))):
        left, size = gain, own
        if chosen:
            block = information[chosen][:, chosen] + RIDGE * torch.diag(own[chosen])
            solved = torch.linalg.solve(
                block, torch.cat([gain[chosen, None], information[chosen]], 1)
            )
            left = gain - information[:, chosen] @ solved[:, 0]
            size = own - (information[:, chosen] * solved[:, 1:].T).sum(1)
        value = left.square() / torch.maximum(size, 0.05 * own)
        value[chosen] = -1
        value[~may] = -1
        chosen.append(int(value.argmax()))
    often = _often(z)
    by_multiplier = (z * (goal @ directions.T)).mean(0).square()
    by_multiplier = by_multiplier / (z.square().mean(0) * own).clamp_min(1e-12)
    by_multiplier[~(may & often)] = -1
    by_multiplier[chosen] = -1
    rest = by_multiplier.argsort(descending=True)[: n_latents - len(chosen)]
    return torch.tensor(chosen + rest[by_multiplier[rest] >= 0].tolist())


def temperature_of(scores: torch.Tensor, targets: NDArray[np.int32]) -> float:
    """At which the softmax of scores ``(n, n_items)`` tells the next items best: scores need not
    be logits. What cannot be recommended has -inf; of ``targets`` the first n count."""
    next_items = torch.from_numpy(targets[: len(scores)].astype(np.int64))[:, None]
    where = scores.gather(1, next_items)[:, 0] > float("-inf")
    spread = max(float(scores[scores > float("-inf")].std()), 1e-6)
    tried = [spread * 2.0**e for e in range(-5, 3)]

    def likelihood(t: float) -> float:
        told = torch.log_softmax(scores[where] / t, 1).gather(1, next_items[where])
        return float(told.mean())

    return max(tried, key=likelihood) if bool(where.any()) else spread


def _often(z: torch.Tensor) -> torch.Tensor:
    """``(m,)`` which latents are active on enough of the cases ``(n, m)``."""
    return (z > 0).sum(0) >= max(MIN_ACTIVE, MIN_FIRING * len(z))


class _Lists:
    """The soft lists of some cases, and how they and the model's distribution change."""

    def __init__(self, weights: NDArray[np.float32], cases: Cases, near: Nearby) -> None:
        self.near = near
        self.cases = cases
        self.states = torch.from_numpy(cases.states)
        self.weights = torch.from_numpy(weights - weights.max())  # 0 where all are worth the same
        self.batch = max(1, BLOCK // len(weights))
        self.real = torch.from_numpy(cases.catalog.recommendable)
        scores = self._scores(self.states[: self.batch], 0)
        known = scores > float("-inf")
        self.softness = SOFTNESS * max(float(scores[known].std()), 1e-6)
        self.temperature = temperature_of(scores, cases.targets)

    def _scores(self, states: torch.Tensor, first: int) -> torch.Tensor:
        """What can be recommended for the cases from ``first`` on; the rest has -inf."""
        part = slice(first, first + len(states))
        scores = self.near.score(states, part).masked_fill(~self.real, float("-inf"))
        seen = self.cases.seen
        if seen is not None:
            seen.take(part).mask_seen(scores)
        return scores

    def _batches(self, states: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
        """Slices, the goal's slope by score ``(b, n_items)``, and the model's distribution."""
        for first in range(0, len(states), self.batch):
            yield self._slope(states, first)

    def _slope(self, states: torch.Tensor, first: int) -> tuple[slice, torch.Tensor, torch.Tensor]:
        part = slice(first, first + self.batch)
        scores = self._scores(states[part], first)
        k = min(N_TOP + 1, int(self.real.sum()))
        edge = top_k(scores, k).values[:, -2:].mean(1, keepdim=True)
        inside = ((scores - edge) / self.softness).sigmoid_()  # 0 where the score is -inf
        slope = inside.addcmul_(inside, inside, value=-1)
        total = slope.sum(1, keepdim=True).clamp_min(1e-12)
        # the list keeps its length: what comes in pushes others out
        mean = (slope @ self.weights)[:, None] / total
        pushed = slope.mul_((self.weights - mean).div_(self.softness * N_TOP))
        return part, pushed, torch.softmax(scores.div_(self.temperature), 1)

    def slopes(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The goal's slope by state ``(n, d)``, and the mean information about it ``(d, d)``."""
        items, n = self.near.head.items, len(states)
        goal = torch.zeros_like(states)
        second, first = states.new_zeros((states.shape[1],) * 2), []
        for part, pushed, p in self._batches(states):
            goal[part] = pushed @ items
            second += (items.T * p.sum(0)) @ items
            first.append(p @ items)
        means = torch.cat(first)
        return goal, (second - means.T @ means) / (n * self.temperature**2)

    def dials(
        self, states: torch.Tensor, moves: torch.Tensor, z: torch.Tensor, number: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Slope ``(2 m,)`` of the goal by multipliers and biases, and information ``(2 m, 2 m)``.

        ``moves (m, n_items)``: what one unit of each latent adds to the scores. Of many cases only
        every fourth tells the information: others at each step, ``number``.
        """
        every = INFORMED if len(states) >= MANY else 1
        told = slice(number % every, None, every)
        m, n = len(moves), len(states)
        gradient, information = states.new_zeros(2 * m), states.new_zeros(2 * m, 2 * m)
        by_item, informed = moves.T.contiguous(), 0
        pairs = (by_item[:, :, None] * by_item[:, None, :]).flatten(1)
        for part, pushed, p in self._batches(states):
            slope = pushed @ by_item
            gradient[:m] += (z[part] * slope).sum(0)
            gradient[m:] += slope.sum(0)
            p, mine = p[told], z[part][told]
            informed += len(p)
            mean = p @ by_item
            varies = (p @ pairs).view(-1, m, m) - mean[:, :, None] * mean[:, None, :]
            crossed = (mine[:, :, None] * varies).sum(0)
            information[:m, :m] += (mine[:, :, None] * mine[:, None, :] * varies).sum(0)
            information[:m, m:] += crossed
            information[m:, :m] += crossed.T
            information[m:, m:] += varies.sum(0)
        return gradient / n, information / (informed * self.temperature**2)
