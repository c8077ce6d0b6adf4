"""Other methods of steering towards the same goal: what a practitioner would do without latents."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import scipy.sparse
import torch

from recsae.capture.cases import spread
from recsae.concepts.attributes.probes import class_means, logistic_probes
from recsae.concepts.attributes.table import ItemAttributes
from recsae.concepts.attributes.tasks import MAX_TASK_CASES, Task, attribute_tasks, task_truth
from recsae.core.threads import in_threads
from recsae.core.topk import top_k
from recsae.steering.frontier import LIST_LENGTH, Steered
from recsae.steering.methods import SteeringMethod, along
from recsae.steering.shortlist import lists_by_utility
from recsae.steering.steered_scores import SCORING_BATCH, HeadScorer, mask_unavailable
from recsae.steering.tuning.path import natural_path, temperature_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.sae.model import SAE
    from recsae.steering.steered_scores import Nearby, SteeredScores
    from recsae.steering.tuning.goals import Goal
    from recsae.steering.tuning.path import TuningPath

LATENTS = "latents"
REBUILT = "reconstruction steering"
NEURONS = "neurons"
RERANKING = "re-ranking"
MEAN = "class mean"
PROBE = "probe"
RANDOM = "random direction"
BY_PROBABILITY = "re-ranking by probability"
MIN_GOAL_POSITIVES = 20
"""Supervised directions need so many cases with the attribute, and as many without."""
N_CANDIDATE_ITEMS = 300
"""How many items, the first by score, re-ranking by probability may choose from."""
RANKED_AT_ONCE = 1024
"""Cases at a time, or fewer where there are many items; the temperature is estimated on the first
of them."""
MAX_SCORES = 2**24
"""Scores at a time."""


def by_latents(path: TuningPath, sae: SAE) -> SteeringMethod:
    """Steer along a path of latents."""
    directions = sae.directions()[path.latents]

    def edit(states: torch.Tensor, z: torch.Tensor, strength: float) -> torch.Tensor:
        scale, bias = path.at(strength)
        return states + (z * scale + bias) @ directions

    return SteeringMethod(LATENTS, edit, path.latents, path.max_strength, identity_at_zero=True)


def by_reconstruction(path: TuningPath, sae: SAE) -> SteeringMethod:
    """Steer along a path of latents, with what the SAE does not reconstruct thrown away."""
    method = by_latents(path, sae)

    def edit(states: torch.Tensor, z: torch.Tensor, strength: float) -> torch.Tensor:
        with torch.no_grad():
            rebuilt = sae(states)
        return method.edit(rebuilt, z, strength)

    return method._replace(name=REBUILT, edit=edit, identity_at_zero=False)


def by_neurons(path: TuningPath) -> SteeringMethod:
    """Steer along a path of single dimensions of the state."""

    def edit(states: torch.Tensor, _: torch.Tensor, strength: float) -> torch.Tensor:
        scale, bias = path.at(strength)
        moved = states.clone()
        moved[:, path.latents] += moved[:, path.latents] * scale + bias
        return moved

    return SteeringMethod(NEURONS, edit, max_strength=path.max_strength, identity_at_zero=True)


def re_ranking(scorer: SteeredScores, goal: Goal) -> Steered:
    """Add a constant to the scores of the goal's items, in units of the scores' spread."""
    utility = torch.from_numpy(goal.weights)
    real = torch.from_numpy(scorer.cases.catalog.recommendable)
    some = slice(0, min(SCORING_BATCH, max(1, MAX_SCORES // len(real))))
    size = float(scorer.scores(some)[:, real].std())

    def scores(part: slice, strength: float) -> torch.Tensor:
        return scorer.scores(part) + strength * size * utility

    steered = Steered(RERANKING, scores, at_once=scorer.at_once)
    found = None
    if isinstance(scorer, HeadScorer) and scorer.is_large:
        found = lists_by_utility(scorer.cases, scorer.head, goal.weights)
    if found is None:
        return steered
    items, own = found

    def lists(strength: float, k: int) -> NDArray[np.int64]:
        best = top_k(own + strength * size * utility[items], k).indices
        return items.gather(1, best).numpy()

    return replace(steered, lists=lists)


def re_ranking_by_probability(scorer: SteeredScores, goal: Goal) -> Steered:
    """Make the list of most utility by the model's own probabilities: what re-ranking can reach.

    Place by place, from the first, the item with the largest ``p * discount + strength * utility``;
    ``p`` is the softmax of the scores at the temperature that predicts the next items best, and
    strengths are in units of ``p * discount`` at the last place of an ordinary list. Unlike a
    constant added to scores it changes the lower places of a list first, where NDCG has least to
    lose. Only the items of the list have scores, the better the earlier.
    """
    cases, utility = scorer.cases, torch.from_numpy(goal.weights)
    n_places = min(LIST_LENGTH, int(cases.catalog.recommendable.sum()))
    items, p = _candidates(scorer, utility, n_places)
    unit = float(p[:, n_places - 1].mean()) / math.log2(n_places + 1)

    def chosen(part: slice, strength: float) -> torch.Tensor:
        """Lists ``(b, n_places)``; 0 where histories leave fewer items."""
        mine, likely = items[part], p[part]
        gain = (strength * unit * utility[mine]).masked_fill(likely == 0, float("-inf"))
        places = []
        for place in range(n_places):
            best = (likely / math.log2(place + 2) + gain).max(1, keepdim=True)
            left = best.values > float("-inf")
            places.append(mine.gather(1, best.indices).masked_fill(~left, 0))
            gain.scatter_(1, best.indices, float("-inf"))
        return torch.cat(places, 1)

    def scores(part: slice, strength: float) -> torch.Tensor:
        lists = chosen(part, strength)
        scores = torch.full((len(lists), len(utility)), float("-inf"))
        scores.scatter_(1, lists, n_places - torch.arange(n_places).float().expand(lists.shape))
        scores[:, 0] = float("-inf")
        return scores

    def lists(strength: float, k: int) -> NDArray[np.int64]:
        parts = [slice(i, i + RANKED_AT_ONCE) for i in range(0, len(cases), RANKED_AT_ONCE)]
        return torch.cat(in_threads(lambda part: chosen(part, strength), parts))[:, :k].numpy()

    return Steered(BY_PROBABILITY, scores, at_once=True, lists=lists)


def _candidates(
    scorer: SteeredScores, utility: torch.Tensor, n: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Items ``(n_cases, m)`` to make lists of, and their probabilities; 0: not to be recommended.

    They are the first by score, and the n first of those with the largest utility.
    """
    cases, temperature, batches = scorer.cases, 0.0, []
    largest = utility[torch.from_numpy(cases.catalog.recommendable)].max()
    size = min(RANKED_AT_ONCE, max(1, MAX_SCORES // len(utility)))
    for first in range(0, len(cases), size):
        part = slice(first, first + size)
        scores = mask_unavailable(scorer.scores(part), cases, part)
        temperature = temperature or temperature_of(scores, cases.targets)
        best = scores.topk(min(N_CANDIDATE_ITEMS, scores.shape[1]), dim=1).indices
        useful = scores.masked_fill(utility < largest, float("-inf")).topk(n, dim=1).indices
        twice = (useful[:, :, None] == best[:, None, :]).any(2)
        items = torch.cat([best, useful], 1)
        p = torch.softmax(scores / temperature, 1).gather(1, items)
        p[:, best.shape[1] :].masked_fill_(twice, 0)
        batches.append((items, p))
    return torch.cat([items for items, _ in batches]), torch.cat([p for _, p in batches])


class SteeringMethods(NamedTuple):
    """All methods of steering towards a goal, fitted on construction cases."""

    goal: Goal
    edits: list[SteeringMethod]
    """Latents first, then directions that are added to every state (a random one, the difference of
    class means and the weights of a logistic probe), a path of as many neurons, and steering the
    reconstruction."""

    def on(self, scorer: SteeredScores) -> list[Steered]:
        """Apply every method to some cases: the latents first, then the two of re-ranking."""
        first, *others = (method.on(scorer) for method in self.edits)
        by_scores = (f(scorer, self.goal) for f in (re_ranking, re_ranking_by_probability))
        return [first, *by_scores, *others]


def fit_methods(
    goal: Goal, search: Cases, construction: Cases, path: TuningPath, sae: SAE, near: Nearby
) -> SteeringMethods:
    """Fit the other methods: neurons on the cases of the path, directions on all of construction.

    ``near`` is how the scores of the ``search`` cases follow their states.
    """
    states = torch.from_numpy(search.states)
    single = torch.eye(states.shape[1])
    neurons = natural_path(goal.weights, search, states, single, near, n_latents=len(path.latents))
    vectors = directions_to(goal, construction, states)
    return SteeringMethods(
        goal,
        [
            by_latents(path, sae),
            *(along(name, vector) for name, vector in vectors.items()),
            by_neurons(neurons),
            by_reconstruction(path, sae),
        ],
    )


def directions_to(goal: Goal, cases: Cases, states: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return directions ``(d,)``, as long as ``states (n, d)`` spread: a random one and, where
    enough of the cases have the attribute, supervised ones.

    They are fitted to the tasks of :func:`attribute_tasks`; where the attribute is too rare for
    any, to whether the last item has it.
    """
    items = scipy.sparse.csr_matrix(goal.items[:, None].astype("int8"))
    attribute = ItemAttributes(items, (("goal", goal.name),))
    tasks = attribute_tasks(attribute, cases) or [Task(0, "last")]
    cases = cases.take(spread(len(cases), MAX_TASK_CASES))
    truth = task_truth(attribute, tasks, cases)
    directions = {RANDOM: torch.randn(states.shape[1], generator=torch.Generator().manual_seed(0))}
    if MIN_GOAL_POSITIVES <= truth.sum() <= len(truth) - MIN_GOAL_POSITIVES:
        sign = 1 if goal.more else -1
        directions[MEAN] = sign * torch.from_numpy(class_means(cases.states, truth)[0])
        directions[PROBE] = sign * torch.from_numpy(logistic_probes(cases.states, truth)[0])
    size = float(states.std(0).norm())
    return {name: (v / v.norm() * size).float() for name, v in directions.items()}
