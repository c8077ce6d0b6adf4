"""Two users whose lists are worked out by hand."""

from __future__ import annotations

import numpy as np
import torch

from helpers import toy
from recsae.recommender.catalog import build_catalog
from recsae.steering.frontier import Counted, Steered
from recsae.steering.steered_scores import mask_unavailable
from recsae.steering.steps.ranking import best_of

N = 12  # items 1 to 12, the lower the better; ten are recommended


CATALOG = build_catalog(["[PAD]", *(f"i{i}" for i in range(1, N + 1))], None)


# user 0: targets at ranks 1 and 2; user 1: at rank 12, not recommended
CASES = toy.cases([0, 0, 1], [[1]] * 3, [[1]] * 3, targets=[1, 2, 12], items=CATALOG)


BASE = torch.tensor([[99.0, *range(N, 0, -1)]] * 3)


LAST = Counted((np.arange(N + 1) == 12).astype(float))


RANK_2 = 1 / np.log2(3)


def scored(name, scores, cases=CASES, max_strength=None):
    """A method by the scores ``(n, n_items)`` that it gives some cases at a strength."""

    def lists(strength, k):
        part = slice(0, len(cases))
        masked = mask_unavailable(scores(part, strength).clone(), cases, part)
        return best_of(masked, k).numpy()

    return Steered(name, lists, max_strength)


class Scores:
    """Scores of the cases; states are not edited."""

    at_once = False

    def __init__(self, cases=CASES):
        self.cases = cases

    def scores(self, part, edit=None, latents=None):
        return BASE[: len(self.cases)][part].clone()


class Made:
    """A method whose lists are worked out by hand, whatever scores it is applied to."""

    by_own = True

    def __init__(self, steered):
        self.steered, self.name = steered, steered.name
        self.max_strength = steered.max_strength
        self.identity_at_zero = steered.identity_at_zero

    def on(self, scorer, first=None):
        return self.steered


def raised(strength_of_one=1.0, max_strength=None, cases=CASES):
    """A strength of 1 adds 1.5 to the score of item 12, which starts 2.0 below the tenth place."""
    shift = torch.tensor(LAST.values, dtype=torch.float32) * 1.5 * strength_of_one
    return scored(
        "raised", lambda part, strength: BASE[part] + strength * shift, cases, max_strength
    )
