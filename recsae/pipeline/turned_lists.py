"""Lists of the model, and those that the page makes of what it holds, for the same settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from recsae.recommender.lists import top_of_scores
from recsae.report.schema.rounded import Agreement, Kind, Rounded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.recommender.protocol import LinearHead
    from recsae.run.open import ListRequest
    from recsae.run.workspace import Workspace

LIST_LENGTH = 10
SAME = 0.99
"""Items' vectors have the fewest bits with which this share of the lists stays as it is without
rounding."""
KINDS: tuple[Kind, ...] = ("int8", "int16", "int24")
Exact = list[tuple[list[int], "NDArray[np.float64]"]]
"""Of every setting the list of the model, and its scores of the items that are kept."""


class Sampled(NamedTuple):
    """Samples: users, requests, states ``(n, d)``, activations ``(n, n_latents)``."""

    users: list[str]
    requests: list[ListRequest]
    states: torch.Tensor
    active: torch.Tensor

    @classmethod
    def of(cls, work: Workspace, users: list[str], requests: list[ListRequest]) -> Sampled:
        """The states that the model has of the requests, and what is active on them."""
        with torch.no_grad():
            states = [work.recommender.represent(one.batch, work.site).cpu() for one in requests]
            together = torch.cat(states).float()
            active = work.sae.encode(together.to(work.sae.W_dec.device)).cpu()
        return cls(users, requests, together, active)


class Tried(NamedTuple):
    """States ``(m, d)`` of samples with some latents set, and which sample each is of."""

    sample: NDArray[np.int64]
    latents: list[list[int]]
    values: list[list[float]]


def tried_settings(sampled: Sampled, latents: list[int], most: list[float], n_each: int) -> Tried:
    """Of each sample so many settings: nothing, and one to three latents set to anything that a
    slider can be set to."""
    drawn = np.random.default_rng(0)
    sample = np.repeat(np.arange(len(sampled.users)), n_each)
    chosen: list[list[int]] = []
    values: list[list[float]] = []
    for n in range(len(sample)):
        size = min(len(latents), 0 if n % n_each == 0 else int(drawn.integers(1, 4)))
        places = drawn.choice(len(latents), size, replace=False).tolist()
        chosen.append([latents[i] for i in places])
        values.append([float(drawn.uniform(-1.5, 1.5)) * most[i] for i in places])
    return Tried(sample, chosen, values)


def edited(sampled: Sampled, tried: Tried, directions: dict[int, torch.Tensor]) -> torch.Tensor:
    """States ``(m, d)`` with latents set, of the type of the directions."""
    states = []
    for n, latents, values in zip(tried.sample.tolist(), tried.latents, tried.values, strict=True):
        state = sampled.states[n]
        for latent, value in zip(latents, values, strict=True):
            state = state + (value - sampled.active[n, latent]) * directions[latent]
        states.append(state)
    return torch.stack(states)


class Lists:
    """Lists of the model, and those of the page, for the same settings."""

    def __init__(
        self,
        work: Workspace,
        head: LinearHead,
        items: NDArray[np.int64],
        directions: Rounded,
        latents: list[int],
    ) -> None:
        self.work, self.head, self.items = work, head, items
        self.own = dict(zip(latents, torch.from_numpy(directions.matrix()), strict=True))
        self.table = head.items[torch.from_numpy(items)].double().cpu().numpy()
        bias = None if head.bias is None else head.bias[torch.from_numpy(items)]
        self.bias = 0.0 if bias is None else bias.double().cpu().numpy()

    def rounded(self, sampled: Sampled, tried: Tried) -> tuple[Rounded, Agreement]:
        """Items' vectors as short as they can be, and how far lists made of them agree."""
        exact = self.of_model(sampled, tried)
        unrounded = self.agreement(sampled, tried, exact, self.table)
        for kind in KINDS:
            vectors = Rounded.of(self.table, kind)
            agreement = self.agreement(sampled, tried, exact, vectors.matrix())
            if agreement.n_same >= SAME * unrounded.n_same:
                break
        return vectors, agreement

    def of_model(self, sampled: Sampled, tried: Tried) -> Exact:
        """The list, and the scores of the items that are kept, of every setting."""
        work, catalog = self.work, self.work.recommender.catalog
        sae = work.sae.directions().cpu()
        states = edited(sampled, tried, {j: sae[j] for some in tried.latents for j in some})
        found = []
        for n, state in zip(tried.sample.tolist(), states, strict=True):
            scores = self.head.score(state[None])
            top = top_of_scores(scores, catalog, LIST_LENGTH, sampled.requests[n].seen)
            found.append((top, scores[0, torch.from_numpy(self.items)].double().cpu().numpy()))
        return found

    def agreement(
        self, sampled: Sampled, tried: Tried, exact: Exact, table: NDArray[np.float64]
    ) -> Agreement:
        """How many lists made of states and of items' vectors are those of the model."""
        states = edited(sampled, tried, self.own).double().numpy()
        scores = states @ table.T + self.bias
        same = same_items = 0
        errors = []
        for n, (row, (top, own)) in enumerate(zip(scores, exact, strict=True)):
            errors.append(float(np.abs(row - own).max() / max(own.std(), 1e-12)))
            seen = sampled.requests[tried.sample[n]].seen
            open_to = np.where(np.isin(self.items, seen), -np.inf, row)
            mine = self.items[np.argsort(-open_to, kind="stable")[: len(top)]].tolist()
            same += mine == top
            same_items += set(mine) == set(top)
        return Agreement(
            n_lists=len(scores),
            n_same=same,
            n_same_items=same_items,
            largest_error=max(errors),
        )
