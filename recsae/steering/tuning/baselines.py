"""Methods of steering towards a goal: latents, and what a practitioner would do without them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import scipy.sparse
import torch

from recsae.capture.cases import spread
from recsae.concepts.attributes.probes import class_means, logistic_probes
from recsae.concepts.attributes.table import ItemAttributes
from recsae.concepts.attributes.tasks import MAX_TASK_CASES, Task, attribute_tasks, task_truth
from recsae.steering.frontier import LIST_LENGTH
from recsae.steering.methods import SteeringMethod
from recsae.steering.steered_scores import mask_unavailable
from recsae.steering.steps.applied import Applied, applied
from recsae.steering.steps.kinds import Direction, Filter, ReRanking, Wishes
from recsae.steering.steps.pools import CalibratedP
from recsae.steering.tuning.path import natural_path, temperature_of

if TYPE_CHECKING:
    from recsae.capture.cases import Cases
    from recsae.sae.model import SAE
    from recsae.steering.steered_scores import Nearby, SteeredScores
    from recsae.steering.steps.goals import Goal
    from recsae.steering.steps.kinds import By, Edits, Powers, Step
    from recsae.steering.tuning.path import TuningPath

LATENTS = "latents"
PLACED = "latents by probability"
FILTER = "filter"
RERANKING = "re-ranking"
BY_PROBABILITY = "re-ranking by probability"
CALIBRATED = "re-ranking by calibrated probability"
LOGIT = "logit adjustment"
CONCEPT_0 = "popularity direction"
MEAN = "class mean"
PROBE = "probe"
RANDOM = "random direction"
NEURONS = "neurons"
REBUILT = "reconstruction steering"
THEN = "latents retrieve, then "
"""What the name of a method begins with that re-ranks what the turned state finds as well."""
WITHIN = " within "
"""What the name of a re-ranking says before the number of its candidates."""
RE_RANKINGS: dict[str, By] = {
    RERANKING: "constant",
    BY_PROBABILITY: "probability",
    CALIBRATED: "probability",
    LOGIT: "log popularity",
}
MIN_GOAL_POSITIVES = 20
"""Supervised directions need so many cases with the attribute, and as many without."""
N_RETRIEVED = 100
"""Candidates that two queries find, where nothing else is asked for: as behind a retriever."""
FURTHER = 2.0
"""Latents find candidates at so many times the strength at which they alone lose a tenth of NDCG:
what they find is ranked without them, and further is more of what is asked for."""
N_PLACED = 200
"""Candidates of latents by probability; on ml-1m 50 reach as much up to a loss of 2 %."""
N_CALIBRATED = 1024
"""Cases at most that the units of re-ranking are taken from."""
MAX_SCORES = 2**24
"""Scores at a time."""


class Scale(NamedTuple):
    """The units of re-ranking, from construction cases: strengths mean the same on any cases."""

    spread: float
    """Standard deviation of the scores."""
    temperature: float
    """At which the softmax of the scores predicts the next items best."""
    last_place: float
    """Mean of ``p * discount`` at the last place of an unsteered list, p being that softmax."""


def scale_of(scorer: SteeredScores) -> Scale:
    """Measure the units of re-ranking on the first of the scorer's cases."""
    cases = scorer.cases
    part = slice(0, min(N_CALIBRATED, max(1, MAX_SCORES // cases.catalog.n_items)))
    scores = scorer.scores(part)
    spread_of_scores = float(scores[:, torch.from_numpy(cases.catalog.recommendable)].std())
    scores = mask_unavailable(scores, cases, part)
    temperature = temperature_of(scores, cases.targets)
    n_places = min(LIST_LENGTH, int(cases.catalog.recommendable.sum()))
    p = torch.softmax(scores / temperature, 1).topk(n_places, dim=1).values[:, -1]
    last = float(p.mean()) / math.log2(n_places + 1)
    return Scale(max(spread_of_scores, 1e-6), temperature, max(last, 1e-12))


class MethodMaker(NamedTuple):
    """Makes the methods towards one goal."""

    goal: Goal
    sae: SAE
    path: TuningPath
    scale: Scale
    powers: Powers | None = None
    """Of calibrated probabilities."""
    popular: Goal | None = None
    """More popular items: what these have the items' popularity from."""

    def latents(self) -> SteeringMethod:
        """Turn latents along the path."""
        return self.of_steps(LATENTS, self._turned, self.path.max_strength)

    def along(self, name: str, vector: torch.Tensor) -> SteeringMethod:
        """Add a vector ``(d,)``, times the strength, to every state."""
        numbers = tuple(vector.tolist())
        return self.of_steps(
            name, lambda strength: [Direction(name=name, vector=numbers, strength=strength)]
        )

    def re_ranking(self, name: str, candidates: int | None = None) -> SteeringMethod:
        """Re-rank, within the first ``candidates`` where that is given."""
        by, scale = RE_RANKINGS[name], self.scale
        units = {"constant": scale.spread, "probability": scale.last_place, "log popularity": 1.0}
        step = ReRanking(
            **self.goal.wishes.model_dump(),
            by=by,
            strength=0.0,
            unit=units[by],
            temperature=scale.temperature if by == "probability" else None,
            candidates=candidates,
            powers=self.powers if name == CALIBRATED else None,
        )

        return self.of_steps(
            f"{name}{WITHIN}{candidates}" if candidates else name,
            lambda strength: [step.model_copy(update={"strength": strength})],
            # at a strength of 0 it leaves out what is no candidate, and rounds what is unlikely
            identity_at_zero=candidates is None and by != "probability",
            only_gain=True,
            by_own=name != CALIBRATED,
        )

    def placed(self, far: float, candidates: int | None = None) -> SteeringMethod:
        """Turn latents as far as ``far``, and give each place to the item that is probable without
        that, or pushed up by it: a list has least to lose at its end, and the steeper the push the
        lower the place it is worth."""
        step = self._of_two_queries("pushes", Wishes(), candidates or N_PLACED)
        name = f"{PLACED}{WITHIN}{candidates}" if candidates else PLACED
        return self._after_latents(name, far, step)

    def retrieved(self, far: float, candidates: int | None = None) -> SteeringMethod:
        """Turn latents ``FURTHER`` than ``far`` to find half of the candidates, and re-rank all of
        them by their probability without that."""
        step = self._of_two_queries("candidates", self.goal.wishes, candidates or N_RETRIEVED)
        kind = BY_PROBABILITY if self.powers is None else CALIBRATED
        name = f"{THEN}{kind}{WITHIN}{step.candidates}"
        return self._after_latents(name, min(FURTHER * far, self.path.max_strength), step)

    def _of_two_queries(self, edits: Edits, wishes: Wishes, candidates: int) -> ReRanking:
        return ReRanking(
            **wishes.model_dump(),
            by="probability",
            strength=0.0,
            unit=self.scale.last_place,
            temperature=self.scale.temperature,
            candidates=candidates,
            edits=edits,
            powers=self.powers,
        )

    def _after_latents(self, name: str, far: float, step: ReRanking) -> SteeringMethod:
        turned = self._turned(far)

        def steps(strength: float) -> list[Step]:
            return [*turned, step.model_copy(update={"strength": strength})]

        own = self.powers is None
        return self.of_steps(name, steps, identity_at_zero=False, only_gain=True, by_own=own)

    def _turned(self, strength: float) -> list[Step]:
        name = f"{self.goal.name} ({len(self.path.latents)} latents)"
        return list(self.path.interventions(strength, name))

    def filter(self) -> SteeringMethod:
        """Leave the goal's items out, at any strength above 0."""
        step = Filter(never=self.goal.wishes.never)
        return self.of_steps(FILTER, lambda _: [step], 1.0)

    def of_steps(
        self,
        name: str,
        steps: Callable[[float], list[Step]],
        max_strength: float | None = None,
        *,
        identity_at_zero: bool = True,
        only_gain: bool = False,
        by_own: bool = True,
    ) -> SteeringMethod:
        """A method that can be kept, since it is steps at any strength; see
        :class:`SteeringMethod`."""

        def made(strength: float) -> list[Step]:
            return [] if identity_at_zero and not strength else steps(strength)

        at = partial(self._at, made)
        return SteeringMethod(name, at, max_strength, identity_at_zero, made, only_gain, by_own)

    def _at(self, steps: Callable[[float], list[Step]], strength: float) -> Applied:
        return applied(steps(strength), self.sae, self._goal_of)

    @property
    def better(self) -> CalibratedP | None:
        """What makes better probabilities; None: there are none."""
        if self.powers is None or self.popular is None:
            return None
        logs = torch.tensor(self.popular.log_popularity)
        return CalibratedP(self.powers.p, self.powers.place, self.powers.popularity * logs)

    def _goal_of(self, wishes: Wishes) -> Goal:
        if self.popular is not None and wishes == self.popular.wishes.wishes:
            return self.popular
        return self.goal

    def again(self, method: SteeringMethod) -> SteeringMethod:
        """A method that another maker made, by the popularity of items that this one knows."""
        if method.steps is None:
            return method
        return method._replace(at=partial(self._at, method.steps))

    def neurons(self, search: Cases, near: Nearby) -> SteeringMethod:
        """Steer along a path of single dimensions of the state, as many as there are latents.

        ``near`` is how the scores of the ``search`` cases follow their states.
        """
        states = torch.from_numpy(search.states)
        path = natural_path(
            self.goal.weights,
            search,
            states,
            torch.eye(states.shape[1]),
            near,
            n_latents=len(self.path.latents),
        )

        def edit(states: torch.Tensor, strength: float) -> torch.Tensor:
            scale, bias = path.at(strength)
            moved = states.clone()
            moved[:, path.latents] += moved[:, path.latents] * scale + bias
            return moved

        def at(strength: float) -> Applied:
            return Applied(edit=lambda states, _: edit(states, strength))

        return SteeringMethod(NEURONS, at, path.max_strength, identity_at_zero=True)

    def reconstruction(self) -> SteeringMethod:
        """Steer along the path, with what the SAE does not reconstruct thrown away."""
        path, directions = self.path, self.sae.directions()[self.path.latents]

        def edit(states: torch.Tensor, z: torch.Tensor, strength: float) -> torch.Tensor:
            scale, bias = path.at(strength)
            with torch.no_grad():
                rebuilt: torch.Tensor = self.sae(states)
            return rebuilt + (z * scale + bias) @ directions

        def at(strength: float) -> Applied:
            return Applied(path.latents, lambda states, z: edit(states, z, strength))

        return SteeringMethod(REBUILT, at, path.max_strength)


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
