"""Codes of which some latents follow what items are, their labels, and their scores."""

import numpy as np
import pandas as pd
import scipy.sparse

from helpers.toy import random_cases, sparse
from recsae.capture.cases import Cases
from recsae.concepts.attributes.names import ITEM_ITSELF, SEPARATOR, SHARE, VIEW_SIZES, VIEWS
from recsae.concepts.attributes.table import ItemAttributes
from recsae.concepts.dictionary import ConceptDictionary, build_concepts
from recsae.concepts.labeler import AttributeLabeler
from recsae.core import columns as C
from recsae.evaluation.scoring import score_concepts
from recsae.recommender.catalog import build_catalog


class Witness(AttributeLabeler):
    """The same labels, as if written after looking at the examples."""

    sees_examples = True


N_TOY = 80
ITEMS = build_catalog([str(i) for i in range(N_TOY + 1)], None)
HAS = np.random.default_rng(0).random((N_TOY + 1, 5)) < 0.3
HAS[0] = False
NAMES = tuple(("kind", str(v)) for v in range(5))
ATTRIBUTES = ItemAttributes(scipy.sparse.csr_matrix(HAS.astype(np.int32)), NAMES)
LABELERS = (BLIND, WITNESS) = (AttributeLabeler(ATTRIBUTES), Witness(ATTRIBUTES))


def random_code(rng: np.random.Generator, made: Cases, noise: float = 0.1) -> np.ndarray:
    """Latents 0 to 4 follow the last items' kinds, 5 to 7 nothing; 8 is never active."""
    dense = np.zeros((len(made), 9))
    dense[:, :5] = HAS[made.last_items].sum(1) >= 3
    dense[:, 5:8] = rng.random((len(made), 3)) < 0.3
    flipped = rng.random((len(made), 8)) < noise
    dense[:, :8] = np.where(flipped, 1 - dense[:, :8], dense[:, :8])
    return dense * rng.uniform(0.1, 3, dense.shape)


def scored(
    seed: int,
    labeler: AttributeLabeler = BLIND,
    n: int = 250,
    n_users: int = 25,
    noise: float = 0.1,
    **options: bool,
) -> tuple[ConceptDictionary, Cases, np.ndarray, pd.DataFrame]:
    """A dictionary of some cases, and its scores on others."""
    rng = np.random.default_rng(seed)
    construction = random_cases(rng, 600, 40, items=ITEMS)
    heldout = random_cases(rng, n, n_users, items=ITEMS)
    dictionary = build_concepts(sparse(random_code(rng, construction)), construction, labeler)
    dense = random_code(rng, heldout, noise)
    return (
        dictionary,
        heldout,
        dense,
        score_concepts(sparse(dense), dictionary, heldout, labeler, **options),
    )


def step_of(row: pd.Series, made: Cases) -> tuple[np.ndarray, int]:
    """How far a label is true of each case, and from which step on it says "active"."""
    first = (C.ATTRIBUTE, C.VALUE, C.VIEW, C.THRESHOLD, C.NEGATED)
    second = (
        C.SECOND_ATTRIBUTE,
        C.SECOND_VALUE,
        C.SECOND_VIEW,
        C.SECOND_THRESHOLD,
        C.SECOND_NEGATED,
    )
    if not isinstance(row[C.ATTRIBUTE], str):
        return np.ones(len(made), dtype=int), 1
    step, least = _step(*row[list(first)], made=made)
    if not isinstance(row[C.SECOND_ATTRIBUTE], str):
        return step, least
    other, other_least = _step(*row[list(second)], made=made)
    one, two = step >= least, other >= other_least
    either = row[C.JOINT] == "or"
    return one.astype(int) + (two if either else one & two), 1 if either else 2


def _step(
    attribute: str, value: str, view: str, threshold: int, negated: bool, *, made: Cases
) -> tuple[np.ndarray, int]:
    k = 50 if view == SHARE else VIEW_SIZES[view]
    items = made.top_items[:, :k] if view.startswith("top") else made.recent(k)
    has = np.isin(np.arange(N_TOY + 1), [int(x) for x in value.split(SEPARATOR)])
    count = (has if attribute == ITEM_ITSELF else HAS[:, int(value)])[items].sum(1)
    if view == SHARE:
        count = 100 * count // (items > 0).sum(1)
    step = (count[:, None] >= np.array(VIEWS[view])).sum(1)
    least = sum(threshold >= t for t in VIEWS[view])
    return (len(VIEWS[view]) - step, len(VIEWS[view]) - least + 1) if negated else (step, least)


def kept_cases(dictionary: ConceptDictionary, latent: int, made: Cases) -> np.ndarray:
    """Cases that are not like the examples of a latent."""
    shown = dictionary.examples.loc[dictionary.examples[C.LATENT] == latent, C.TOP_ITEM]
    return np.flatnonzero(~np.isin(made.top_items[:, 0], shown.to_numpy()))
