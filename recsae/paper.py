"""The RecSAE paper's own score (arXiv 2411.06112), for comparison with the literature only.

Per latent up to five of its ten highest sequences and five inactive ones; recall on the former,
"precision" (a specificity) on the latter, confidence the share of both that is predicted right.
It has eleven possible values and is passed by a coin on 5.5 % of latents, hence not the default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from recsae import columns as C

if TYPE_CHECKING:
    import scipy.sparse
    from numpy.typing import NDArray

    from recsae.cases import Cases
    from recsae.concepts import ConceptDictionary
    from recsae.labelers import Labeler, Predictions

HIGH, PREDICTED_ACTIVE = 5, 5.0
N_HIGHEST, N_VERIFY = 10, 5


class Levels(NamedTuple):
    """A code by latent, with activations as levels 1 to 10; inactive is 0."""

    by_latent: scipy.sparse.csc_matrix
    level: NDArray[np.int64]


def activation_levels(code: scipy.sparse.csr_matrix) -> Levels:
    """Deciles of all positive activations, pooled over latents."""
    by_latent = code.tocsc()
    edges = np.quantile(by_latent.data, np.arange(0.1, 1.0, 0.1)) if by_latent.nnz else []
    return Levels(by_latent, np.searchsorted(edges, by_latent.data, side="right") + 1)


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
    rng = np.random.default_rng(seed)
    known, known_says = _prepared(construction, dictionary, labeler)
    test, test_says = _prepared(heldout, dictionary, labeler)
    records = []
    for latent in range(len(dictionary.table)):
        high, quiet = _pick(test, latent, rng)
        if not len(high):
            continue
        positives = rng.permutation(high)[: max(1, min(N_VERIFY, len(high)))]
        negatives = quiet[:N_VERIFY]
        expected = _expected_levels(known, known_says, latent, rng)
        hit = expected[_says(test_says, latent, positives)] > PREDICTED_ACTIVE
        clear = expected[_says(test_says, latent, negatives)] <= PREDICTED_ACTIVE
        right = int(hit.sum() + clear.sum())
        records.append(
            {
                C.LATENT: latent,
                C.RECALL: float(hit.mean()),
                C.SPECIFICITY: float(clear.mean()) if len(clear) else float("nan"),
                "confidence": right / (len(hit) + len(clear)),
            }
        )
    return pd.DataFrame(records, columns=[C.LATENT, C.RECALL, C.SPECIFICITY, "confidence"])


def _prepared(
    side: tuple[scipy.sparse.csr_matrix, Cases], dictionary: ConceptDictionary, labeler: Labeler
) -> tuple[Levels, Predictions]:
    code, cases = side
    said = labeler.predict(dictionary.table, cases)
    return activation_levels(code), said


def _says(said: Predictions, latent: int, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Whether the label is true, for a few rows."""
    part = slice(*said.levels.indptr[said.column[latent] : said.column[latent] + 2])
    known, level = said.levels.indices[part], said.levels.data[part]
    place = np.searchsorted(known, rows).clip(max=max(len(known) - 1, 0))
    found = known[place] == rows if len(known) else np.zeros(len(rows), dtype=bool)
    level = np.where(found, level[place], 0) if len(known) else np.zeros(len(rows), dtype=int)
    return np.asarray(level >= said.threshold[latent], dtype=np.int64)


def _pick(
    levels: Levels, latent: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The ten highest sequences of high level, and ten random inactive ones."""
    part = slice(*levels.by_latent.indptr[latent : latent + 2])
    rows, value, level = (
        levels.by_latent.indices[part],
        levels.by_latent.data[part],
        levels.level[part],
    )
    order = np.argsort(-value, kind="stable")
    high = rows[order][level[order] >= HIGH][:N_HIGHEST]
    drawn = rng.integers(0, levels.by_latent.shape[0], 4 * N_HIGHEST)
    quiet = drawn[~np.isin(drawn, rows)][:N_HIGHEST]
    return high.astype(np.int64), quiet


def _expected_levels(
    levels: Levels, said: Predictions, latent: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Mean level of construction sequences where the label is false, and where it is true."""
    high, quiet = _pick(levels, latent, rng)
    part = slice(*levels.by_latent.indptr[latent : latent + 2])
    known = levels.by_latent.indices[part]
    rows = np.concatenate([high, quiet])
    level = np.zeros(len(rows))
    level[: len(high)] = levels.level[part][np.searchsorted(known, high)]
    truth = _says(said, latent, rows)
    means = [level[truth == t].mean() if (truth == t).any() else 0.0 for t in (0, 1)]
    return np.array(means)
