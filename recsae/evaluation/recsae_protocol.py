"""The RecSAE paper's own score (arXiv 2411.06112), for comparison with the literature only.

Per latent up to five of its ten highest sequences and five inactive ones; recall on the former,
"precision" (a specificity) on the latter, confidence the share of both that is predicted right.
It has eleven possible values and is passed by a coin on 5.5 % of latents, hence not the default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from recsae.concepts.dictionary import rank_within
from recsae.core import columns as C

if TYPE_CHECKING:
    import scipy.sparse
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.concepts.dictionary import ConceptDictionary
    from recsae.concepts.labeler import Labeler

HIGH = 5
PREDICTED_ACTIVE = 5.0
N_HIGHEST = 10
N_VERIFY = 5


class Levels(NamedTuple):
    """A code by latent, with activations as levels 1 to 10; inactive is 0."""

    by_latent: scipy.sparse.csc_matrix
    level: NDArray[np.int64]
    edges: NDArray[np.float64]
    """The nine deciles of all positive activations, pooled over latents; none without any."""

    def of(self, activations: NDArray[Any]) -> NDArray[np.int64]:
        """Levels of other positive activations of the same code."""
        return np.searchsorted(self.edges, activations, side="right") + 1


def activation_levels(code: scipy.sparse.csr_matrix) -> Levels:
    """Deciles of all positive activations, pooled over latents."""
    by_latent = code.tocsc()
    edges = np.quantile(by_latent.data, np.arange(0.1, 1.0, 0.1)) if by_latent.nnz else np.empty(0)
    return Levels(by_latent, np.searchsorted(edges, by_latent.data, side="right") + 1, edges)


class Picked(NamedTuple):
    """Sequences of latents, those of a latent together, and the latent's level on them."""

    latent: NDArray[np.int64]
    row: NDArray[np.int64]
    level: NDArray[np.int64]

    def take(self, where: NDArray[Any]) -> Picked:
        """Some of them, or in another order."""
        return Picked(*(column[where] for column in self))

    def first(self, n: int) -> Picked:
        """The first n of each latent."""
        return self.take(rank_within(self.latent) < n)


class Drawn(NamedTuple):
    """The sequences of the protocol, each pair of high and of inactive ones."""

    known: tuple[Picked, Picked]
    """Up to ten of both per latent, among construction sequences."""
    asked: tuple[Picked, Picked]
    """Up to five of both per latent, held out, whose level is to be predicted."""


def draw_sequences(
    construction: scipy.sparse.csr_matrix, heldout: scipy.sparse.csr_matrix, seed: int
) -> Drawn:
    """The sequences of each latent, the same whoever predicts their levels."""
    rng = np.random.default_rng(seed)
    known = _pick(activation_levels(construction), rng)
    high, quiet = _pick(activation_levels(heldout), rng)
    shuffled = high.take(np.lexsort((rng.random(len(high.latent)), high.latent)))
    return Drawn(known, (shuffled.first(N_VERIFY), quiet.first(N_VERIFY)))


def score_levels(
    drawn: Drawn, levels: tuple[NDArray[np.float64], NDArray[np.float64]], n_latents: int
) -> pd.DataFrame:
    """Recall, specificity and confidence per latent that has a high sequence with a level.

    Parameters
    ----------
    levels
        Predicted for the two sides of ``drawn.asked``; above 5 means active. NaN where none was
        predicted: such sequences count on no side.
    """
    asked, right = np.zeros((2, n_latents)), np.zeros((2, n_latents))
    for side, (picked, level) in enumerate(zip(drawn.asked, levels, strict=True)):
        answered = ~np.isnan(level)
        predicted = level > PREDICTED_ACTIVE if side == 0 else level <= PREDICTED_ACTIVE
        asked[side] = np.bincount(picked.latent, answered, minlength=n_latents)
        right[side] = np.bincount(picked.latent, predicted & answered, minlength=n_latents)
    with np.errstate(invalid="ignore"):
        recall, specificity = right / asked
        confidence = right.sum(0) / asked.sum(0)
    table = {C.LATENT: np.arange(n_latents), C.RECALL: recall, C.SPECIFICITY: specificity}
    return pd.DataFrame({**table, "confidence": confidence})[asked[0] > 0]


def recsae_scores(
    construction: tuple[scipy.sparse.csr_matrix, Cases],
    heldout: tuple[scipy.sparse.csr_matrix, Cases],
    dictionary: ConceptDictionary,
    labeler: Labeler,
    seed: int,
) -> pd.DataFrame:
    """Recall, specificity and confidence per latent that has a high sequence among the held-out.

    The labeler's statement is turned into a level by the mean level of the latent's ten highest
    and ten inactive construction sequences with the same truth value; above 5 means active.
    """
    table = dictionary.table
    drawn = draw_sequences(construction[0], heldout[0], seed)
    known, asked = drawn.known, drawn.asked
    expected = _expected_levels(known, _says(known, table, construction[1], labeler), len(table))
    said = _says(asked, table, heldout[1], labeler)
    high, quiet = (
        expected[picked.latent, is_true] for picked, is_true in zip(asked, said, strict=True)
    )
    return score_levels(drawn, (high, quiet), len(table))


def _pick(levels: Levels, rng: np.random.Generator) -> tuple[Picked, Picked]:
    """Of each latent the ten highest sequences of high level, and ten random inactive ones."""
    code = levels.by_latent
    n, m = code.shape
    latent = np.repeat(np.arange(m), np.diff(code.indptr))
    order = np.lexsort((-code.data, latent))
    order = order[levels.level[order] >= HIGH]
    high = Picked(latent[order], code.indices[order].astype(np.int64), levels.level[order])
    drawn = np.repeat(np.arange(m), 4 * N_HIGHEST)
    row = rng.integers(0, n, len(drawn))
    inactive = _values(code, drawn, row) == 0
    quiet = Picked(drawn, row, np.zeros(len(drawn), dtype=np.int64)).take(inactive)
    return high.first(N_HIGHEST), quiet.first(N_HIGHEST)


def _values(
    matrix: scipy.sparse.csc_matrix, column: NDArray[np.int64], row: NDArray[np.int64]
) -> NDArray[Any]:
    """Entries of a sparse matrix at many places, 0 where nothing is stored."""
    n, m = matrix.shape
    stored = np.repeat(np.arange(m), np.diff(matrix.indptr)) * n + matrix.indices
    asked = column * n + row
    if not len(stored):
        return np.zeros(len(asked))
    place = np.searchsorted(stored, asked).clip(max=len(stored) - 1)
    return np.where(stored[place] == asked, matrix.data[place], 0)


def _says(
    pair: tuple[Picked, Picked], labels: pd.DataFrame, cases: Cases, labeler: Labeler
) -> list[NDArray[np.int64]]:
    """Whether the labels are true of their picked sequences, 0 or 1; only these are looked at."""
    rows = np.unique(np.concatenate([picked.row for picked in pair]))
    said = labeler.predict(labels, cases.take(rows))
    found = []
    for picked in pair:
        place = np.searchsorted(rows, picked.row)
        step = _values(said.steps, said.column[picked.latent], place)
        found.append(np.asarray(step >= said.threshold[picked.latent], dtype=np.int64))
    return found


def _expected_levels(
    pair: tuple[Picked, Picked], said: list[NDArray[np.int64]], n_latents: int
) -> NDArray[np.float64]:
    """``(n_latents, 2)`` mean level of sequences where the label is false, and where it is true."""
    latent, _, level = (np.concatenate(columns) for columns in zip(*pair, strict=True))
    place = 2 * latent + np.concatenate(said)
    number = np.bincount(place, minlength=2 * n_latents)
    total = np.bincount(place, level, minlength=2 * n_latents)
    return np.asarray(total / np.maximum(number, 1)).reshape(-1, 2)
