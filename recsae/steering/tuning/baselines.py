"""Other ways to the same goal, for the same cases: what a practitioner would do without latents."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import scipy.sparse
import torch

from recsae.capture.cases import spread
from recsae.concepts.attributes.probes import class_means, logistic_probes
from recsae.concepts.attributes.table import ItemAttributes
from recsae.concepts.attributes.tasks import MAX_TASK_CASES, Task, attribute_tasks, task_truth
from recsae.steering.frontier import N_TOP, Steered
from recsae.steering.methods import SteeringMethod, along
from recsae.steering.steered_scores import BATCH
from recsae.steering.tuning.path import natural_path, temperature_of

if TYPE_CHECKING:
    from recsae.capture.cases import Cases
    from recsae.sae.model import SAE
    from recsae.steering.steered_scores import Nearby, SteeredScores
    from recsae.steering.tuning.goals import Goal
    from recsae.steering.tuning.path import TuningPath

MIN_POSITIVES = 20
LATENTS = "latents"
REBUILT = "reconstruction steering"
NEURONS = "neurons"
RERANKING = "re-ranking"
MEAN = "class mean"
PROBE = "probe"
RANDOM = "random direction"
BY_PROBABILITY = "re-ranking by probability"
N_CANDIDATES = 300
N_TOLD = 1024


def by_latents(path: TuningPath, sae: SAE) -> SteeringMethod:
    """Along a path of latents."""
    directions = sae.directions()[path.latents]

    def edit(states: torch.Tensor, z: torch.Tensor, strength: float) -> torch.Tensor:
        scale, bias = path.at(strength)
        return states + (z * scale + bias) @ directions

    return SteeringMethod(LATENTS, edit, path.latents, path.longest)


def by_reconstruction(path: TuningPath, sae: SAE) -> SteeringMethod:
    """The same, with what the SAE does not reconstruct thrown away."""
    way = by_latents(path, sae)

    def edit(states: torch.Tensor, z: torch.Tensor, strength: float) -> torch.Tensor:
        with torch.no_grad():
            rebuilt = sae(states)
        return way.edit(rebuilt, z, strength)

    return way._replace(name=REBUILT, edit=edit)


def by_neurons(path: TuningPath) -> SteeringMethod:
    """Along a path of single dimensions of the state."""

    def edit(states: torch.Tensor, _: torch.Tensor, strength: float) -> torch.Tensor:
        scale, bias = path.at(strength)
        moved = states.clone()
        moved[:, path.latents] += moved[:, path.latents] * scale + bias
        return moved

    return SteeringMethod(NEURONS, edit, longest=path.longest)


def re_ranking(scorer: SteeredScores, goal: Goal) -> Steered:
    """A constant added to the scores of the goal's items, in units of the scores' spread."""
    worth = torch.from_numpy(goal.weights)
    real = torch.from_numpy(scorer.cases.catalog.recommendable)
    size = float(scorer.scores(slice(0, BATCH))[:, real].std())

    def scores(part: slice, strength: float) -> torch.Tensor:
        return scorer.scores(part) + strength * size * worth

    return Steered(RERANKING, scores, at_once=scorer.at_once)


def re_ranking_by_probability(scorer: SteeredScores, goal: Goal) -> Steered:
    """The list that is worth most by the model's own probabilities: what re-ranking can reach.

    Place by place, from the first, the item with the largest ``p * discount + strength * worth``;
    ``p`` is the softmax of the scores at the temperature that tells the next items best, and
    strengths are in units of what the last place of an ordinary list is worth by it. Unlike a
    constant added to scores it changes the lower places of a list first, where NDCG has least to
    lose. Only the items of the list have scores, the better the earlier.
    """
    cases, worth = scorer.cases, torch.from_numpy(goal.weights)
    n_places = min(N_TOP, int(cases.catalog.recommendable.sum()))
    items, p = _likely(scorer, worth, n_places)
    unit = float(p[:, n_places - 1].mean()) / math.log2(n_places + 1)

    def scores(part: slice, strength: float) -> torch.Tensor:
        mine, likely = items[part], p[part]
        gain = (strength * unit * worth[mine]).masked_fill(likely == 0, float("-inf"))
        found = torch.full((len(mine), len(worth)), float("-inf"))
        for place in range(n_places):
            best = (likely / math.log2(place + 2) + gain).max(1, keepdim=True)
            left = best.values > float("-inf")  # histories may leave fewer items than places
            item = mine.gather(1, best.indices).masked_fill(~left, 0)
            found.scatter_(1, item, torch.where(left, float(n_places - place), float("-inf")))
            gain.scatter_(1, best.indices, float("-inf"))
        return found

    return Steered(BY_PROBABILITY, scores, at_once=True)


def _likely(
    scorer: SteeredScores, worth: torch.Tensor, n: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Items ``(n_cases, m)`` to make lists of, and their probabilities; 0: not to be recommended.

    They are the first by score, and the n first of those that are worth most.
    """
    banned = torch.from_numpy(~scorer.cases.catalog.recommendable)
    seen, temperature, found = scorer.cases.seen, 0.0, []
    for first in range(0, len(scorer.cases), N_TOLD):
        part = slice(first, first + N_TOLD)
        scores = scorer.scores(part).masked_fill(banned, float("-inf"))
        if seen is not None:
            seen.take(part).mask_seen(scores)
        temperature = temperature or temperature_of(scores, scorer.cases.targets)
        best = scores.topk(min(N_CANDIDATES, scores.shape[1]), dim=1).indices
        worthy = scores.masked_fill(worth < worth[~banned].max(), float("-inf")).topk(n, dim=1)
        twice = (worthy.indices[:, :, None] == best[:, None, :]).any(2)
        items = torch.cat([best, worthy.indices], 1)
        p = torch.softmax(scores / temperature, 1).gather(1, items)
        p[:, best.shape[1] :].masked_fill_(twice, 0)
        found.append((items, p))
    return torch.cat([items for items, _ in found]), torch.cat([p for _, p in found])


class SteeringMethods(NamedTuple):
    """All ways to a goal, fitted on construction cases.

    ``edits``: latents first, then directions that are added to every state (the difference of class
    means and the weights of a logistic probe, for the attribute as
    :mod:`recsae.evaluation.attribute_auc` asks for it, and a random one), a path of as many
    neurons found alike, and steering the reconstruction.
    """

    goal: Goal
    edits: list[SteeringMethod]

    def all(self, scorer: SteeredScores) -> list[Steered]:
        """Each way, for some cases; the latents come first, then the two of re-ranking."""
        first, *others = (way.on(scorer) for way in self.edits)
        by_scores = (f(scorer, self.goal) for f in (re_ranking, re_ranking_by_probability))
        return [first, *by_scores, *others]


def fit_methods(
    goal: Goal, fit: Cases, known: Cases, path: TuningPath, sae: SAE, near: Nearby
) -> SteeringMethods:
    """Fit the alternatives on construction cases.

    Neurons on those of the path, directions on all that are ``known``.
    """
    states = torch.from_numpy(fit.states)
    single = torch.eye(states.shape[1])
    neurons = natural_path(goal.weights, fit, states, single, near, n_latents=len(path.latents))
    vectors = directions_to(goal, known, states)
    return SteeringMethods(
        goal,
        [
            by_latents(path, sae),
            *(along(name, vector) for name, vector in vectors.items()),
            by_neurons(neurons),
            by_reconstruction(path, sae),
        ],
    )


def directions_to(goal: Goal, known: Cases, states: torch.Tensor) -> dict[str, torch.Tensor]:
    """Directions ``(d,)`` as long as ``states (n, d)`` spread: a random one and, where the
    attribute can be told on the known cases, supervised ones.

    They are of the attribute in the view where the states know it best; of one too rare for that,
    of having had it last.
    """
    items = scipy.sparse.csr_matrix(goal.items[:, None].astype("int8"))
    attribute = ItemAttributes(items, (("goal", goal.name),))
    tasks = attribute_tasks(attribute, known) or [Task(0, "last")]
    known = known.take(spread(len(known), MAX_TASK_CASES))
    truth = task_truth(attribute, tasks, known)
    found = {RANDOM: torch.randn(states.shape[1], generator=torch.Generator().manual_seed(0))}
    if MIN_POSITIVES <= truth.sum() <= len(truth) - MIN_POSITIVES:
        sign = 1 if goal.more else -1
        found[MEAN] = sign * torch.from_numpy(class_means(known.states, truth)[0])
        found[PROBE] = sign * torch.from_numpy(logistic_probes(known.states, truth)[0])
    size = float(states.std(0).norm())
    return {name: (v / v.norm() * size).float() for name, v in found.items()}
