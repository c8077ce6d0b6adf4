"""Other ways to the same goal, for the same cases: what a practitioner would do without latents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import scipy.sparse
import torch

from recsae.attributes import ItemAttributes
from recsae.cases import spread
from recsae.frontier import Steered
from recsae.probes import class_means, logistic_probes
from recsae.steering import active_latents
from recsae.tuning import natural_path
from recsae.yardstick import MAX_CASES, Task, attribute_tasks, task_truth

if TYPE_CHECKING:
    from recsae.cases import Cases
    from recsae.goals import Goal
    from recsae.recommender import LinearHead
    from recsae.sae import SAE
    from recsae.tuning import TuningPath

    Moves = Callable[[slice, float], torch.Tensor]

BATCH, MIN_POSITIVES = 4096, 20
LATENTS, REBUILT, NEURONS = "latents", "reconstruction steering", "neurons"
RERANKING, MEAN, PROBE, RANDOM = "re-ranking", "class mean", "probe", "random direction"


@dataclass(frozen=True)
class Ways:
    """All ways to a goal, fitted on construction cases.

    ``latents``: the path. ``reconstruction steering``: the same, with what the SAE does not
    reconstruct thrown away. ``neurons``: a path of as many single dimensions of the state, found
    alike. ``re-ranking``: a constant added to the scores of the items. ``vectors (d,)`` are added
    to every state: the difference of class means and the weights of a logistic probe, for the
    attribute as :mod:`recsae.yardstick` asks for it, and a random direction.
    """

    goal: Goal
    path: TuningPath
    neurons: TuningPath
    vectors: dict[str, torch.Tensor]
    sae: SAE
    head: LinearHead

    def all(self, cases: Cases) -> list[Steered]:
        """Each way, for some cases; the latents come first."""
        states, head = torch.from_numpy(cases.states), self.head
        worth = torch.from_numpy(self.goal.weights)
        spread = float(head.score(states[:BATCH]).std())
        with torch.no_grad():
            rebuilt = torch.cat([self.sae(part) for part in states.split(BATCH)])
        single = torch.eye(states.shape[1])[self.neurons.latents]
        by_neurons = _moves(self.neurons, states[:, self.neurons.latents], single)
        longest, moves = self.path.longest, _moves_of_latents(self.path, cases, self.sae)
        return [
            _added(LATENTS, states, moves, head, longest),
            Steered(
                RERANKING,
                lambda part, strength: head.score(states[part]) + strength * spread * worth,
            ),
            *(_added(name, states, _constant(v), head) for name, v in self.vectors.items()),
            _added(NEURONS, states, by_neurons, head, self.neurons.longest),
            _added(REBUILT, rebuilt, moves, head, longest),
        ]


def by_latents(path: TuningPath, cases: Cases, sae: SAE, head: LinearHead) -> Steered:
    """The path alone, for some cases."""
    states, moves = torch.from_numpy(cases.states), _moves_of_latents(path, cases, sae)
    return _added(LATENTS, states, moves, head, path.longest)


def _moves_of_latents(path: TuningPath, cases: Cases, sae: SAE) -> Moves:
    z = activations(sae, torch.from_numpy(cases.states), path.latents)
    return _moves(path, z, sae.directions()[path.latents])


def find_ways(
    goal: Goal, fit: Cases, known: Cases, path: TuningPath, sae: SAE, head: LinearHead
) -> Ways:
    """Fit the alternatives on construction cases.

    Neurons on those of the path, directions on all that are ``known``. They are directions of the
    attribute where the yardstick asks for it; of one too rare for that, of having had it last.
    """
    states = torch.from_numpy(fit.states)
    single = torch.eye(states.shape[1])
    neurons = natural_path(goal.weights, fit, states, single, head, n_latents=len(path.latents))
    items = scipy.sparse.csr_matrix(goal.items[:, None].astype("int8"))
    attribute = ItemAttributes(items, (("goal", goal.name),))
    tasks = attribute_tasks(attribute, known) or [Task(0, "last")]
    known = known.take(spread(len(known), MAX_CASES))
    truth = task_truth(attribute, tasks, known)
    found = {RANDOM: torch.randn(states.shape[1], generator=torch.Generator().manual_seed(0))}
    if MIN_POSITIVES <= truth.sum() <= len(truth) - MIN_POSITIVES:
        sign = 1 if goal.more else -1
        found[MEAN] = sign * torch.from_numpy(class_means(known.states, truth)[0])
        found[PROBE] = sign * torch.from_numpy(logistic_probes(known.states, truth)[0])
    size = float(states.std(0).norm())
    vectors = {name: (v / v.norm() * size).float() for name, v in found.items()}
    return Ways(goal, path, neurons, vectors, sae, head)


def activations(sae: SAE, states: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """``(n, m)`` of some latents on states ``(n, d)``, in batches."""
    return torch.cat([active_latents(sae, part, latents) for part in states.split(BATCH)])


def _moves(path: TuningPath, z: torch.Tensor, directions: torch.Tensor) -> Moves:
    def moved(part: slice, strength: float) -> torch.Tensor:
        scale, bias = path.at(strength)
        return (z[part] * scale + bias) @ directions

    return moved


def _constant(vector: torch.Tensor) -> Moves:
    return lambda part, strength: strength * vector


def _added(
    name: str, states: torch.Tensor, moves: Moves, head: LinearHead, longest: float | None = None
) -> Steered:
    return Steered(
        name, lambda part, strength: head.score(states[part] + moves(part, strength)), longest
    )
