"""The RecSAE paper's own score (arXiv 2411.06112), for comparison with the literature only.

Each latent is tested on up to five of its ten highest sequences and five inactive ones: recall on
the former, "precision" (a specificity) on the latter, and confidence, the share of both that is
predicted right. Confidence has eleven possible values, and guessing by a coin passes on 5.5 % of
latents, hence it is not the default.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from recsae.concepts.dictionary import rank_within
from recsae.core import columns as C
from recsae.evaluation.counts import finite

if TYPE_CHECKING:
    import scipy.sparse
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.concepts.dictionary import ConceptDictionary
    from recsae.concepts.labeler import Labeler

HIGH = 5
"""Lowest level of a sequence that counts as high, as in the paper."""
PREDICTED_ACTIVE = 5.0
"""A predicted level above it says "active", as in the paper."""
N_HIGHEST = 10
"""Highest and inactive sequences of each latent that are drawn from, as in the paper."""
N_TESTED = 5
"""Of them so many of either kind are tested, as in the paper."""


class Levels(NamedTuple):
    """Activations of a code as the paper's levels: 1 to 10, inactive is 0."""

    by_latent: scipy.sparse.csc_matrix
    edges: NDArray[np.float64]
    """The nine deciles of all positive activations, pooled over latents; none without any."""

    def of(self, activations: NDArray[Any]) -> NDArray[np.int64]:
        """Levels of positive activations of the same latents."""
        return np.searchsorted(self.edges, activations, side="right") + 1


def activation_levels(code: scipy.sparse.csr_matrix) -> Levels:
    """Levels of a code ``(n, n_latents)``, by deciles of its positive activations."""
    by_latent = code.tocsc()
    edges = np.quantile(by_latent.data, np.arange(0.1, 1.0, 0.1)) if by_latent.nnz else np.empty(0)
    return Levels(by_latent, edges)


class Picked(NamedTuple):
    """Sequences picked for latents, those of a latent together, and the latent's levels there."""

    latent: NDArray[np.int64]
    row: NDArray[np.int64]
    level: NDArray[np.int64]

    def take(self, where: NDArray[Any]) -> Picked:
        """The sequences at an index."""
        return Picked(*(column[where] for column in self))

    def first(self, n: int) -> Picked:
        """The first n of each latent."""
        return self.take(rank_within(self.latent) < n)


class Drawn(NamedTuple):
    """The sequences of the protocol: a pair each, the high and the inactive ones."""

    construction: tuple[Picked, Picked]
    """Up to ten of either kind for each latent, from which levels are learned."""
    heldout: tuple[Picked, Picked]
    """Up to five of either kind for each latent, whose levels are to be predicted."""


@dataclass(frozen=True)
class ProtocolSummary:
    """The protocol's figures over all latents that have a high sequence."""

    n: int
    """Latents."""
    at_0_8: int
    """Of them with a confidence of at least .8, as in the paper."""
    at_0_9: int
    mean_recall: float | None
    mean_specificity: float | None
    mean_confidence: float | None

    def to_dict(self) -> dict[str, Any]:
        """The figures as files have them."""
        return asdict(self)


def draw_sequences(
    construction: scipy.sparse.csr_matrix, heldout: scipy.sparse.csr_matrix, seed: int
) -> Drawn:
    """Draw the sequences of each latent, the same whoever predicts their levels."""
    rng = np.random.default_rng(seed)
    learned_from = _pick(activation_levels(construction), rng)
    high, quiet = _pick(activation_levels(heldout), rng)
    shuffled = high.take(np.lexsort((rng.random(len(high.latent)), high.latent)))
    return Drawn(learned_from, (shuffled.first(N_TESTED), quiet.first(N_TESTED)))


def score_levels(
    drawn: Drawn, levels: tuple[NDArray[np.float64], NDArray[np.float64]], n_latents: int
) -> pd.DataFrame:
    """Recall, specificity and confidence per latent that has a high sequence with a level.

    Parameters
    ----------
    levels
        Predicted for the high and the inactive sequences of ``drawn.heldout``; above 5 means
        active. NaN where none was predicted: such sequences are not counted.
    """
    number, right = np.zeros((2, n_latents)), np.zeros((2, n_latents))
    for kind, (picked, level) in enumerate(zip(drawn.heldout, levels, strict=True)):
        answered = ~np.isnan(level)
        predicted = level > PREDICTED_ACTIVE if kind == 0 else level <= PREDICTED_ACTIVE
        number[kind] = np.bincount(picked.latent, answered, minlength=n_latents)
        right[kind] = np.bincount(picked.latent, predicted & answered, minlength=n_latents)
    with np.errstate(invalid="ignore"):
        recall, specificity = right / number
        confidence = right.sum(0) / number.sum(0)
    table = {C.LATENT: np.arange(n_latents), C.RECALL: recall, C.SPECIFICITY: specificity}
    return pd.DataFrame({**table, "confidence": confidence})[number[0] > 0]


def recsae_scores(
    construction: tuple[scipy.sparse.csr_matrix, Cases],
    heldout: tuple[scipy.sparse.csr_matrix, Cases],
    dictionary: ConceptDictionary,
    labeler: Labeler,
    seed: int,
) -> pd.DataFrame:
    """Recall, specificity and confidence per latent that has a high sequence among the held-out.

    A label is turned into a level by the mean level of the latent's ten highest and ten inactive
    construction sequences with the same truth value; above 5 means active.
    """
    table = dictionary.table
    drawn = draw_sequences(construction[0], heldout[0], seed)
    true = _predicted(drawn.construction, table, construction[1], labeler)
    expected = _expected_levels(drawn.construction, true, len(table))
    true = _predicted(drawn.heldout, table, heldout[1], labeler)
    high, quiet = (
        expected[picked.latent, is_true]
        for picked, is_true in zip(drawn.heldout, true, strict=True)
    )
    return score_levels(drawn, (high, quiet), len(table))


def summarise(scores: pd.DataFrame) -> ProtocolSummary:
    """Counts and means of :func:`recsae_scores`."""
    confidence = scores["confidence"]
    return ProtocolSummary(
        n=len(scores),
        at_0_8=int((confidence >= 0.8).sum()),
        at_0_9=int((confidence >= 0.9).sum()),
        mean_recall=finite(scores[C.RECALL].mean()),
        mean_specificity=finite(scores[C.SPECIFICITY].mean()),
        mean_confidence=finite(confidence.mean()),
    )


def _pick(levels: Levels, rng: np.random.Generator) -> tuple[Picked, Picked]:
    """The ten highest sequences of high level of each latent, and ten random inactive ones."""
    code = levels.by_latent
    n, m = code.shape
    highest = [_highest(code.data[a:b]) + a for a, b in pairwise(code.indptr.tolist())]
    latent = np.repeat(np.arange(m), [len(places) for places in highest])
    place = np.concatenate([np.zeros(0, dtype=np.int64), *highest])
    level = levels.of(code.data[place])
    high = Picked(latent, code.indices[place].astype(np.int64), level).take(level >= HIGH)
    drawn = np.repeat(np.arange(m), 4 * N_HIGHEST)
    row = rng.integers(0, n, len(drawn))
    inactive = _values(code, drawn, row) == 0
    quiet = Picked(drawn, row, np.zeros(len(drawn), dtype=np.int64)).take(inactive)
    return high, quiet.first(N_HIGHEST)


def _highest(values: NDArray[Any]) -> NDArray[np.int64]:
    """Places of the ten highest values, highest first, of equal ones the first first."""
    if len(values) > N_HIGHEST:
        least = np.partition(values, -N_HIGHEST)[-N_HIGHEST]
        places = np.flatnonzero(values >= least)
    else:
        places = np.arange(len(values))
    return places[np.argsort(-values[places], kind="stable")][:N_HIGHEST]


def _values(
    matrix: scipy.sparse.csc_matrix, column: NDArray[np.int64], row: NDArray[np.int64]
) -> NDArray[Any]:
    """Entries of a sparse matrix at many places, 0 where nothing is stored."""
    n, m = matrix.shape
    stored = np.repeat(np.arange(m), np.diff(matrix.indptr)) * n + matrix.indices
    wanted = column * n + row
    if not len(stored):
        return np.zeros(len(wanted))
    place = np.searchsorted(stored, wanted).clip(max=len(stored) - 1)
    return np.where(stored[place] == wanted, matrix.data[place], 0)


def _predicted(
    pair: tuple[Picked, Picked], labels: pd.DataFrame, cases: Cases, labeler: Labeler
) -> list[NDArray[np.int64]]:
    """Whether labels are true of their picked sequences, 0 or 1; only these are looked at."""
    rows = np.unique(np.concatenate([picked.row for picked in pair]))
    predictions = labeler.predict(labels, cases.take(rows))
    answers = []
    for picked in pair:
        place = np.searchsorted(rows, picked.row)
        step = _values(predictions.steps, predictions.column[picked.latent], place)
        answers.append(np.asarray(step >= predictions.threshold[picked.latent], dtype=np.int64))
    return answers


def _expected_levels(
    pair: tuple[Picked, Picked], true: list[NDArray[np.int64]], n_latents: int
) -> NDArray[np.float64]:
    """``(n_latents, 2)`` mean level of sequences where the label is false, and where it is true."""
    latent, _, level = (np.concatenate(columns) for columns in zip(*pair, strict=True))
    place = 2 * latent + np.concatenate(true)
    number = np.bincount(place, minlength=2 * n_latents)
    total = np.bincount(place, level, minlength=2 * n_latents)
    return np.asarray(total / np.maximum(number, 1)).reshape(-1, 2)
