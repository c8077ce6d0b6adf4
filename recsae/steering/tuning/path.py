"""A path of latent settings towards a goal, along the natural gradient.

Every latent has two parameters: a scale where it is active, and a bias for everybody (what RecFTT
trains, with everything else frozen). The path starts at the unchanged model. At each step the
parameters move along the natural gradient: towards the goal's gradient, in the metric of how much
the model's own distribution over items changes. All steps change that distribution alike, so how
far to go along the path is one number, the strength, chosen later by what accuracy it costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from recsae.core.errors import NotEnoughData
from recsae.core.topk import top_k
from recsae.recommender.lists import top_of_states
from recsae.sae.editing import Intervention
from recsae.steering.frontier import LIST_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.steering.steered_scores import Nearby

MAX_TUNED_LATENTS = 16
"""How many latents are turned at most; more of them (32, 64, 128) gained nothing on ml-1m."""
N_STEPS = 10
"""Steps of the path."""
STEP = 0.15
"""Length of a step in the metric: the divergence of the model's distribution over items from one
step to the next is about half its square."""
RIDGE = 1e-3
"""What is added to the diagonal of the information, as a part of it, so that it can be inverted."""
SOFTNESS = 0.5
"""How wide the soft edge of a list is, in standard deviations of the scores."""
MIN_ACTIVE_SHARE = 0.002
"""A latent that is active on a smaller part of the cases keeps its scale: its information is next
to nothing, and the step would be next to infinite."""
MIN_ACTIVE = 8
"""The same for one that is active on fewer cases than this."""
MAX_TIMES = 5.0
"""A latent is multiplied by 0 to so much: an activation has no other sign, and several times what
was seen is as far as what was measured says anything."""
MAX_SDS = 10.0
"""At most so many standard deviations of its activation are added to a latent, for that reason."""
MIN_REACH = 0.1 * STEP
"""A setting that at its bound would change the model's distribution by less stays as it is: the
metric, which says how far to turn, says nothing of it."""
BLOCK = 2**21
"""Scores at a time: larger temporary arrays cost more in page faults than in arithmetic."""
FEWEST_ROWS = 32
"""Cases at a time at least, since what is known of each item is read for all of them."""
INFORMATION_THINNING = 4
"""With at least ``MIN_THINNED_CASES``, one case in four is used to estimate the Fisher information,
which costs more than the gradient and varies less."""
MOST_ITEMS = 2**14
"""Of a catalogue that is larger, the path is found among so many items: those that stand highest in
the list of any case. It is then measured among all."""
LIST_OF_ITEMS = 500
"""So many of the first items of each list are looked at for them."""
MIN_THINNED_CASES = 2_000
"""Number of cases from which the information is estimated on a part of them."""
EVERY = slice(None)


class TuningPath(NamedTuple):
    """Settings of m latents at strengths 0, 1, ..., S."""

    latents: torch.Tensor
    """``(m,)``"""
    scale: torch.Tensor
    """``(S + 1, m)`` what is added to a multiplier of 1."""
    bias: torch.Tensor
    """``(S + 1, m)`` what is added to the activation."""

    def at(self, strength: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale and bias ``(m,)`` at a strength, by straight lines between steps."""
        last = len(self.scale) - 1
        first = min(int(strength), last - 1)
        part = strength - first
        return tuple((1 - part) * x[first] + part * x[first + 1] for x in (self.scale, self.bias))  # type: ignore[return-value]

    @property
    def max_strength(self) -> float:
        """The largest strength."""
        return float(len(self.scale) - 1)

    def interventions(self, strength: float, name: str = "") -> list[Intervention]:
        """The settings at a strength as interventions: scales where active, then biases for all."""
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
    n_latents: int = MAX_TUNED_LATENTS,
) -> TuningPath:
    """Find the path towards a goal on construction cases.

    Parameters
    ----------
    weights
        ``(n_items,)`` utility of recommending each item.
    z, directions
        Activations ``(n, m)`` of the cases, and what one unit adds to a state ``(m, d)``.
    near
        How the cases' scores follow their states.
    candidates
        ``(m,)`` which latents may be chosen; all if None.

    Notes
    -----
    The goal is the mean utility of the top 10, softened: an item is in the list with a probability
    that rises with its score above the tenth. The metric is the Fisher information of the softmax
    over items, at the temperature at which it predicts the next items best. A multiplier stays
    between 0 and ``MAX_TIMES``, a bias within ``MAX_SDS`` standard deviations of the activations.

    Raises
    ------
    NotEnoughData
        No latent that may be chosen has information: none is active, or none moves scores.
    """
    lists = _SoftLists(weights, cases, near)
    by_state, fisher = lists.gradient_by_state(lists.states)
    allowed = _informed(z, directions, fisher)
    if candidates is not None:
        allowed &= torch.from_numpy(candidates)
    if not bool(allowed.any()):
        raise NotEnoughData(
            f"None of the latents that could be turned is active often enough at {len(z):,} "
            "positions, or moves the scores there: there is nothing to tune."
        )
    chosen = _choose(by_state, fisher, z, directions, allowed, n_latents)
    mine, along = z[:, chosen], directions[chosen]
    moves = along @ lists.near.head.items.T
    m = len(chosen)
    low, high = _bounds(mine)
    fixed = torch.cat([~_often_active(mine), torch.zeros(m, dtype=torch.bool)])
    parameters = torch.zeros(2 * m)  # scales, then biases
    steps = [parameters]
    for number in range(N_STEPS):
        states = lists.states + (mine * parameters[:m] + parameters[m:]) @ along
        gradient, information = lists.gradient(states, moves, mine, number)
        reach = information.diagonal().clamp_min(0).sqrt() * high
        step = _natural_step(gradient, information, fixed | (reach < MIN_REACH))
        parameters = (parameters + step).clamp(low, high)
        steps.append(parameters)
    path = torch.stack(steps)
    return TuningPath(chosen, path[:, :m], path[:, m:])


def _bounds(z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The least and the most ``(2 m,)`` that scales and biases of activations ``(n, m)`` become."""
    scale, bias = torch.ones(z.shape[1]), MAX_SDS * z.std(0, correction=0)
    return torch.cat([-scale, -bias]), torch.cat([(MAX_TIMES - 1) * scale, bias])


def _informed(z: torch.Tensor, directions: torch.Tensor, fisher: torch.Tensor) -> torch.Tensor:
    """Which latents ``(m,)`` change the model's distribution, were they turned to their bounds.

    One that is never active is none of them: its bounds are 0.
    """
    own = ((directions @ fisher) * directions).sum(1).clamp_min(0)
    return own.sqrt() * MAX_SDS * z.std(0, correction=0) >= MIN_REACH


def _natural_step(
    gradient: torch.Tensor, information: torch.Tensor, fixed: torch.Tensor
) -> torch.Tensor:
    """A step of length ``STEP`` along the natural gradient; what is ``fixed`` stays."""
    free = torch.where(~fixed)[0]
    step = torch.zeros_like(gradient)
    mine, slope = information[free][:, free], gradient[free]
    way = torch.linalg.solve(mine + RIDGE * torch.diag(mine.diagonal()), slope)
    size = max(float(way @ mine @ way), 0.0) ** 0.5
    step[free] = way * (STEP / size if size > 0 else 0.0)
    return step


def _choose(
    gradient: torch.Tensor,
    fisher: torch.Tensor,
    z: torch.Tensor,
    directions: torch.Tensor,
    allowed: torch.Tensor,
    n_latents: int,
) -> torch.Tensor:
    """Choose the latents that gain most per change: half by their biases, half by their scales.

    ``gradient (n, d)`` is the goal's by state, ``fisher (d, d)`` the mean information about it,
    ``allowed (m,)`` which may be chosen.

    Biases one after another, each by what it adds to those before it (matching pursuit in the
    metric), since many latents point the same way.
    """
    mean = gradient.mean(0)
    gain, information = directions @ mean, directions @ fisher @ directions.T
    own = information.diagonal().clamp_min(1e-12)
    chosen: list[int] = []
    for _ in range(min((n_latents + 1) // 2, int(allowed.sum()))):
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
        value[~allowed] = -1
        chosen.append(int(value.argmax()))
    often = _often_active(z)
    by_scale = (z * (gradient @ directions.T)).mean(0).square()
    by_scale = by_scale / (z.square().mean(0) * own).clamp_min(1e-12)
    by_scale[~(allowed & often)] = -1
    by_scale[chosen] = -1
    rest = by_scale.argsort(descending=True)[: n_latents - len(chosen)]
    return torch.tensor(chosen + rest[by_scale[rest] >= 0].tolist())


def temperature_of(scores: torch.Tensor, targets: NDArray[np.integer[Any]]) -> float:
    """Return the temperature at which the softmax of scores ``(n, n_items)`` predicts the next
    items best: scores need not be logits.

    What cannot be recommended has -inf; of ``targets`` the first n count, and -1 is none.
    """
    next_items = torch.from_numpy(targets[: len(scores)].astype(np.int64))[:, None]
    where, next_items = next_items[:, 0] >= 0, next_items.clamp_min(0)
    where &= scores.gather(1, next_items)[:, 0] > float("-inf")
    spread = max(float(scores[scores > float("-inf")].std()), 1e-6)
    tried = [spread * 2.0**e for e in range(-5, 3)]

    def likelihood(t: float) -> float:
        log_p = torch.log_softmax(scores[where] / t, 1).gather(1, next_items[where])
        return float(log_p.mean())

    return max(tried, key=likelihood) if bool(where.any()) else spread


def _often_active(z: torch.Tensor) -> torch.Tensor:
    """Return which latents ``(m,)`` are active on enough of the cases ``(n, m)``."""
    return (z > 0).sum(0) >= max(MIN_ACTIVE, MIN_ACTIVE_SHARE * len(z))


def highest_items(cases: Cases, near: Nearby) -> NDArray[np.int64]:
    """Items, ascending, that the path is found among: all of them, or of a catalogue larger than
    ``MOST_ITEMS`` those that stand highest in the list of any case."""
    n_items = cases.catalog.n_items
    if n_items <= MOST_ITEMS:
        return np.arange(n_items)
    k = min(LIST_OF_ITEMS, n_items)
    best = np.full(n_items, k)
    if near.offsets is None:
        lists = top_of_states(cases.states, near.head, cases.catalog, k, cases.seen)
    else:
        lists = cases.top_items.astype(np.int64)
    for place in range(lists.shape[1])[::-1]:
        best[lists[:, place]] = place
    highest = np.argsort(best, kind="stable")[:MOST_ITEMS]
    return np.sort(highest[best[highest] < k])


class _Products:
    """Products of columns of ``by_item (n_items, m)``."""

    def __init__(self, by_item: torch.Tensor) -> None:
        self.m = by_item.shape[1]
        self.one, self.other = torch.triu_indices(self.m, self.m)
        self.products = by_item[:, self.one] * by_item[:, self.other]

    def means(self, p: torch.Tensor) -> torch.Tensor:
        """``(n, m, m)`` under each of the distributions ``p (n, n_items)``."""
        means = p.new_empty(len(p), self.m, self.m)
        means[:, self.one, self.other] = means[:, self.other, self.one] = p @ self.products
        return means


class _SoftLists:
    """The soft lists of some cases, and how they and the model's distribution change."""

    def __init__(self, weights: NDArray[np.float32], cases: Cases, near: Nearby) -> None:
        self.cases = cases
        self.states = torch.from_numpy(cases.states)
        self.items = highest_items(cases, near)
        self.near = near.among(self.items)
        weights = weights[self.items]
        self.weights = torch.from_numpy(
            weights - weights.max()
        )  # 0 where all have the same utility
        self.place = np.full(cases.catalog.n_items, -1)
        self.place[self.items] = np.arange(len(self.items))
        self.banned = torch.from_numpy(np.flatnonzero(~cases.catalog.recommendable[self.items]))
        self.batch = max(FEWEST_ROWS, BLOCK // len(weights))
        scores = self._scores(self.states[: self.batch], 0)
        known = scores > float("-inf")
        self.softness = SOFTNESS * max(float(scores[known].std()), 1e-6)
        self.temperature = temperature_of(scores, self.place[cases.targets])

    def _scores(self, states: torch.Tensor, first: int) -> torch.Tensor:
        """Scores at states ``(b, d)`` of the cases from ``first`` on, -inf for what is left out."""
        part = slice(first, first + len(states))
        scores = self.near.score(states, part).index_fill_(1, self.banned, float("-inf"))
        if self.cases.seen is not None:
            which, items = self.cases.seen.take(part).pairs()
            there = self.place[items] >= 0
            at = which[there], self.place[items[there]]
            scores[tuple(map(torch.from_numpy, at))] = float("-inf")
        return scores

    def _batches(
        self, states: torch.Tensor, used: slice = EVERY
    ) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
        """Slices, the goal's gradient by score ``(b, n_items)``, and the model's distribution for
        those cases of each slice that are used for the information."""
        for first in range(0, len(states), self.batch):
            yield self._by_score(states, first, used)

    def _by_score(
        self, states: torch.Tensor, first: int, used: slice
    ) -> tuple[slice, torch.Tensor, torch.Tensor]:
        part = slice(first, first + self.batch)
        scores = self._scores(states[part], first)
        k = min(LIST_LENGTH + 1, int(self.cases.catalog.recommendable.sum()))
        edge = top_k(scores, k).values[:, -2:].mean(1, keepdim=True)
        inside = (scores - edge).div_(self.softness).sigmoid_()  # 0 where the score is -inf
        slope = inside.addcmul_(inside, inside, value=-1)
        total = slope.sum(1, keepdim=True).clamp_min(1e-12)
        # the list keeps its length: what comes in pushes others out
        mean = (slope @ self.weights)[:, None] / total
        gradient = slope.mul_((self.weights - mean).div_(self.softness * LIST_LENGTH))
        return part, gradient, torch.softmax(scores[used] / self.temperature, 1)

    def gradient_by_state(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The goal's gradient by state ``(n, d)``, and the mean information about it ``(d, d)``."""
        items, n = self.near.head.items, len(states)
        gradient = torch.zeros_like(states)
        second, first = states.new_zeros((states.shape[1],) * 2), []
        for part, by_score, p in self._batches(states):
            gradient[part] = by_score @ items
            second += (items.T * p.sum(0)) @ items
            first.append(p @ items)
        means = torch.cat(first)
        return gradient, (second - means.T @ means) / (n * self.temperature**2)

    def gradient(
        self, states: torch.Tensor, moves: torch.Tensor, z: torch.Tensor, number: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradient ``(2 m,)`` of the goal by scales and biases, and information ``(2 m, 2 m)``.

        ``moves (m, n_items)``: what one unit of each latent adds to the scores. Of many cases only
        every fourth is used for the information; ``number``, the step, decides which.
        """
        every = INFORMATION_THINNING if len(states) >= MIN_THINNED_CASES else 1
        used = slice(number % every, None, every)
        m, n = len(moves), len(states)
        gradient, information = states.new_zeros(2 * m), states.new_zeros(2 * m, 2 * m)
        by_item, n_used = moves.T.contiguous(), 0
        products = _Products(by_item)
        for part, by_score, p in self._batches(states, used):
            slope = by_score @ by_item
            gradient[:m] += (z[part] * slope).sum(0)
            gradient[m:] += slope.sum(0)
            mine = z[part][used]
            n_used += len(p)
            mean = p @ by_item
            varies = products.means(p) - mean[:, :, None] * mean[:, None, :]
            crossed = (mine[:, :, None] * varies).sum(0)
            information[:m, :m] += (mine[:, :, None] * mine[:, None, :] * varies).sum(0)
            information[:m, m:] += crossed
            information[m:, :m] += crossed.T
            information[m:, m:] += varies.sum(0)
        return gradient / n, information / (n_used * self.temperature**2)
