"""Embedding score: how near the words of a label are to those of active cases.

The words of a label and those around a case become vectors; a good label is nearer to the cases on
which its latent is active (after delphi's embedding score).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from recsae.capture.cases import spread
from recsae.concepts.status import MIN_POSITIVES, MIN_USERS
from recsae.core import columns as C
from recsae.evaluation.language.prompts import ItemTexts

if TYPE_CHECKING:
    import scipy.sparse
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases

    Vectors = Callable[[Sequence[str]], NDArray[Any]]

COUNTED = "10"
"""A word that says nothing of items: "of the top 10 recommendations"."""
MAX_EMBEDDED_CASES = 20_000
"""Cases at most that labels are compared with, evenly spread: bounds the comparisons."""
N_DIMENSIONS = 200
"""Dimensions of the vectors."""
MAX_EMBEDDED_ITEMS = 50_000
"""Items at most whose words vectors are fitted on, evenly spread: bounds the time."""
SENTENCES_AT_ONCE = 64
"""Sentences compared in one go: bounds the table of similarities."""


def fit_vectors(cases: Cases, n_dimensions: int = N_DIMENSIONS, seed: int = 0) -> Vectors:
    """Vectors from words: TF-IDF over the items of (construction) cases, reduced by SVD.

    Returns a function from texts to ``(n, n_dimensions)``; a text without a known word is zero.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer

    texts = ItemTexts(cases.catalog)
    items = np.unique(np.concatenate([cases.last_items.ravel(), cases.top_items[:, 0]]))
    items = items[items > 0][spread(int((items > 0).sum()), MAX_EMBEDDED_ITEMS)]
    stop = [*ENGLISH_STOP_WORDS, COUNTED]
    words = TfidfVectorizer(stop_words=stop, sublinear_tf=True, dtype=np.float32)
    try:
        matrix = words.fit_transform([texts[int(i)] for i in items])
    except ValueError:  # no item has any word
        return lambda some: np.zeros((len(some), 1))
    if matrix.shape[1] <= n_dimensions:
        return lambda some: np.asarray(words.transform(some).toarray())
    reduced = TruncatedSVD(n_dimensions, random_state=seed).fit(matrix)
    return lambda some: np.asarray(reduced.transform(words.transform(some)))


def embedding_scores(
    code: scipy.sparse.csr_matrix,
    cases: Cases,
    labels: pd.DataFrame,
    vectors: Vectors,
    limit: int = MAX_EMBEDDED_CASES,
) -> pd.DataFrame:
    """ROC-AUC of the similarity of label and case, for active against inactive cases.

    Parameters
    ----------
    code, cases
        ``(n, n_latents)`` activations of held-out cases; evenly thinned to ``limit`` of them.
    labels
        Columns ``latent`` and ``label``, a sentence.
    vectors
        From texts to ``(n, d)`` vectors, see :func:`fit_vectors`; compared by cosine.

    Returns
    -------
    DataFrame
        One row per label: latent, embedding_auc, n_pos, n_neg. NaN where fewer than 20 cases or 10
        users are active, or where no word of the label is known.
    """
    rows = spread(len(cases), limit)
    cases, code = cases.take(rows), code[rows]
    latents = labels[C.LATENT].to_numpy(np.int64)
    active = code.tocsc()[:, latents]
    active = active > 0
    n_pos = np.diff(active.indptr)
    n_users = _users(active, cases)
    sentences, sentence = np.unique(labels[C.LABEL].to_numpy(dtype=str), return_inverse=True)
    of_labels = _unit(vectors(list(sentences)))
    of_cases = _unit(vectors(_texts(cases)))
    rank_sum = np.zeros(len(latents))
    for first in range(0, len(sentences), SENTENCES_AT_ONCE):
        similarity = of_labels[first : first + SENTENCES_AT_ONCE] @ of_cases.T
        ordered = np.sort(similarity, axis=1)
        for number in np.flatnonzero((sentence >= first) & (sentence < first + SENTENCES_AT_ONCE)):
            mine = active.indices[active.indptr[number] : active.indptr[number + 1]]
            row = sentence[number] - first
            near, all_near = similarity[row, mine], ordered[row]
            below, up_to = (np.searchsorted(all_near, near, side) for side in ("left", "right"))
            rank_sum[number] = ((below + up_to + 1) / 2).sum()
    n_neg = len(cases) - n_pos
    with np.errstate(invalid="ignore", divide="ignore"):
        auc = (rank_sum - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg)
    tested = (n_pos >= MIN_POSITIVES) & (n_users >= MIN_USERS) & (n_neg > 0)
    auc[~tested | ~of_labels[sentence].any(1)] = np.nan
    return pd.DataFrame({C.LATENT: latents, C.EMBEDDING_AUC: auc, C.N_POS: n_pos, C.N_NEG: n_neg})


def _users(active: scipy.sparse.csc_matrix, cases: Cases) -> NDArray[np.int64]:
    """How many users have an active case, per column."""
    column = np.repeat(np.arange(active.shape[1]), np.diff(active.indptr))
    pairs = np.unique(column * cases.n_users + cases.user[active.indices])
    return np.bincount(pairs // max(cases.n_users, 1), minlength=active.shape[1])


def _texts(cases: Cases) -> list[str]:
    """The last five items and the first recommendation of every case, in words."""
    texts = ItemTexts(cases.catalog)
    items = np.c_[cases.last_items, cases.top_items[:, :1]]
    return [" ".join(texts[i] for i in row if i) for row in items.tolist()]


def _unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    vectors = np.asarray(vectors, dtype=np.float32)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1))
