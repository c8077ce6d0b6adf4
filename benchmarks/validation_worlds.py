"""Recommenders with planted concepts, for the validation of the score."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse
from numpy.typing import NDArray

from recsae.capture.cases import Cases, read_cases
from recsae.capture.fill import capture
from recsae.capture.store import ActivationStore
from recsae.concepts.attributes.names import VIEWS
from recsae.concepts.attributes.values import item_attributes
from recsae.concepts.dictionary import build_concepts
from recsae.concepts.labeler import AttributeLabeler
from recsae.concepts.status import UNTESTED, VERIFIED
from recsae.core import columns as C
from recsae.evaluation.scoring import score_concepts
from recsae.recommender.sequences import split_users
from recsae.sae.baselines import LinearCode
from recsae.sae.codes import sparse_code
from recsae.testing import PlantedRecommender

Truths = tuple[list[NDArray[np.bool_]], NDArray[np.float64]]
Pair = tuple[scipy.sparse.csr_matrix, scipy.sparse.csr_matrix]
NOISE = 0.05
"""Share of the active cases of a planted concept that are moved to others."""
N_PERMUTATIONS = 17


class World(NamedTuple):
    """A planted recommender with its construction and held-out cases."""

    planted: PlantedRecommender
    stores: tuple[ActivationStore, ActivationStore]
    sides: tuple[Cases, Cases]
    labeler: AttributeLabeler

    def true_code(self) -> Pair:
        """True activations on both sides."""
        return self.planted.true_code(self.sides[0]), self.planted.true_code(self.sides[1])

    def encode(self, unit: LinearCode) -> Pair:
        """Activations of a code on both sides."""
        first, second = (
            sparse_code(unit.encode_sparse, c.states, unit.n_latents) for c in self.sides
        )
        return first, second

    def scores(self, code: Pair) -> pd.DataFrame:
        """Label on construction users, test on held-out users, as the pipeline does."""
        dictionary = build_concepts(code[0], self.sides[0], self.labeler)
        test, labeler = self.sides[1], self.labeler
        return score_concepts(code[1], dictionary, test, labeler, hard_negatives=False)


def make_world(folder: Path, seed: int, n_users: int = 1500) -> World:
    """Plant, split users, capture states: as a run does."""
    planted = PlantedRecommender(n_users=n_users, seed=seed)
    sequences = planted.sequences()
    held = split_users(sequences)
    known = capture(planted, np.flatnonzero(~held), folder / "construction")
    test = capture(planted, np.flatnonzero(held), folder / "heldout")
    construction = read_cases(known, sequences, planted.catalog)
    heldout = read_cases(test, sequences, planted.catalog)
    labeler = AttributeLabeler(item_attributes(planted.catalog, construction))
    return World(planted, (known, test), (construction, heldout), labeler)


def permuted(code: Pair, world: World, rng: np.random.Generator, *, within: bool) -> Pair:
    """Copies of a code whose cases are shuffled, all of them or those of each user."""
    first, second = (
        scipy.sparse.hstack(
            [side[_permutation(cases, rng, within)] for _ in range(N_PERMUTATIONS)], format="csr"
        )
        for side, cases in zip(code, world.sides, strict=True)
    )
    return first, second


def share_verified(scores: pd.DataFrame) -> float:
    """Of the tested concepts."""
    tested = scores[scores[C.STATUS] != UNTESTED]
    return float((tested[C.STATUS] == VERIFIED).mean())


def predicate_truths(world: World) -> Truths:
    """Truth of all predicates on both sides, and their prevalence over all users."""
    found: list[list[NDArray[np.bool_]]] = [[], []]
    for view, thresholds in VIEWS.items():
        counts = [world.labeler.attributes.counts(c, view).toarray() for c in world.sides]
        for threshold in thresholds:
            for side, count in enumerate(counts):
                found[side].append(count >= threshold)
    truth = [np.concatenate(blocks, axis=1) for blocks in found]
    return truth, np.concatenate(truth).mean(0)


def moved(true: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """With one active case in twenty made inactive, and as many others active."""
    odds = true.mean() / (1 - true.mean())
    return true ^ (rng.random(len(true)) < NOISE * np.where(true, 1, odds))


def code_of(sides: tuple[list[NDArray[np.bool_]], ...]) -> Pair:
    """The code whose latents are active on these cases of both sides."""
    first, second = (scipy.sparse.csr_matrix(np.array(s, dtype=np.float32).T) for s in sides)
    return first, second


def _permutation(cases: Cases, rng: np.random.Generator, within: bool) -> NDArray[np.int64]:
    """A shuffle of all cases, or of the cases of each user."""
    noise = rng.random(len(cases))
    return np.lexsort((noise, cases.user)) if within else np.argsort(noise)
