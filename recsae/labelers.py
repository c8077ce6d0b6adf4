"""Labels without a language model: what about the items best tells when a latent is active."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd
import scipy.sparse

from recsae import columns as C
from recsae.attributes import ITEM_ITSELF, SITES, ItemAttributes, concept_name, phrase
from recsae.cases import spread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.cases import Cases

MAX_CASES = 200_000
CHUNK = 1024


@dataclass(frozen=True)
class Predictions:
    """What labels say of n cases, before and after their thresholds.

    ``levels (n, G)`` counts per different statement (0 is not stored); label j reads column
    ``column[j]`` and says "active" where the level is at least ``threshold[j]``.
    """

    levels: scipy.sparse.csc_matrix
    column: NDArray[np.int64]
    threshold: NDArray[np.int64]


class Labeler(Protocol):
    """Turns a sparse code into labels on construction cases, and labels into predictions."""

    name: str
    sees_examples: bool
    """Whether labels are written after looking at single example sequences."""

    def label(self, code: scipy.sparse.csr_matrix, cases: Cases) -> pd.DataFrame:
        """One row per latent: name, label, attribute, value, predicate_site, threshold."""

    def predict(self, labels: pd.DataFrame, cases: Cases) -> Predictions:
        """What the labels say of other cases."""


class AttributeLabeler:
    """Labels from the attributes of items.

    For each latent: of all statements "at least t of (the last item | the last 5 items | the top
    recommendation | the top 10 recommendations) are V", the one with the best balanced accuracy
    against the latent's activity.
    """

    name = "attributes"
    sees_examples = False

    def __init__(self, attributes: ItemAttributes) -> None:
        self.attributes = attributes

    def label(self, code: scipy.sparse.csr_matrix, cases: Cases) -> pd.DataFrame:
        """Choose and word a statement per latent; see the class."""
        if len(cases) > MAX_CASES:
            rows = spread(len(cases), MAX_CASES)
            cases, code = cases.take(rows), code[rows]
        active = _activity(code)
        best = np.full(code.shape[1], -1.0)
        choice = np.zeros((code.shape[1], 3), dtype=np.int64)  # site, value, threshold
        positives = np.asarray(active.sum(0)).ravel().astype(float)
        for number, (site, n_levels) in enumerate(SITES.items()):
            stacked = _stack_levels(self.attributes.counts(cases, site), n_levels)
            for first in range(0, code.shape[1], CHUNK):
                part = slice(first, first + CHUNK)
                accuracy = _balanced_accuracy(stacked, active[:, part], positives[part], n_levels)
                flat = accuracy.reshape(len(accuracy), -1)
                where = flat.argmax(1)
                value = flat[np.arange(len(flat)), where]
                better = np.flatnonzero(value > best[part] + 1e-9)
                best[first + better] = value[better]
                choice[first + better, 0] = number
                choice[first + better, 1] = where[better] // n_levels
                choice[first + better, 2] = where[better] % n_levels + 1
        return self._table(choice, cases)

    def _table(self, choice: NDArray[np.int64], cases: Cases) -> pd.DataFrame:
        sites = list(SITES)
        titles = dict(zip(cases.catalog.external_ids, cases.catalog.titles, strict=True))
        records = []
        for latent, (site, value, threshold) in enumerate(choice.tolist()):
            attribute, name = self.attributes.names[value]
            words = phrase(attribute, name, titles)
            known = str(titles.get(name, name)) if attribute == ITEM_ITSELF else name
            records.append(
                {
                    C.LATENT: latent,
                    C.NAME: concept_name(attribute, known),
                    C.LABEL: sentence(sites[site], threshold, words),
                    C.LABELER: self.name,
                    C.ATTRIBUTE: attribute,
                    C.VALUE: name,
                    C.PREDICATE_SITE: sites[site],
                    C.THRESHOLD: threshold,
                }
            )
        return pd.DataFrame(records)

    def predict(self, labels: pd.DataFrame, cases: Cases) -> Predictions:
        """Levels of the statements that the labels make."""
        index = {name: i for i, name in enumerate(self.attributes.names)}
        keys = list(
            zip(labels[C.PREDICATE_SITE], labels[C.ATTRIBUTE], labels[C.VALUE], strict=True)
        )
        different = sorted(set(keys))
        blocks = []
        for site in sorted({k[0] for k in different}):
            values = [index[k[1:]] for k in different if k[0] == site]
            blocks.append(self.attributes.counts(cases, site).tocsc()[:, values])
        where = {key: i for i, key in enumerate(different)}
        return Predictions(
            scipy.sparse.hstack(blocks, format="csc"),
            np.array([where[k] for k in keys], dtype=np.int64),
            labels[C.THRESHOLD].to_numpy(np.int64),
        )


def sentence(site: str, threshold: int, words: str) -> str:
    """A statement as a sentence.

    >>> sentence("last5", 3, "Horror")
    'At least 3 of the last 5 items are Horror.'
    """
    if site == "last":
        return f"The last item is {words}."
    if site == "top1":
        return f"The top recommendation is {words}."
    n = SITES[site]
    what = "last 5 items" if site == "last5" else "top 10 recommendations"
    if threshold == n:
        return f"All of the {what} are {words}."
    return f"At least {threshold} of the {what} {'is' if threshold == 1 else 'are'} {words}."


def _activity(code: scipy.sparse.csr_matrix) -> scipy.sparse.csr_matrix:
    active = code.copy()
    active.data = (active.data > 0).astype(np.float32)
    active.eliminate_zeros()
    return active


def _stack_levels(counts: scipy.sparse.csr_matrix, n_levels: int) -> scipy.sparse.csr_matrix:
    """``(n, V * n_levels)`` with a one at column ``v * n_levels + count - 1``."""
    level = np.minimum(counts.data, n_levels) - 1
    index = counts.indices.astype(np.int64) * n_levels + level
    ones = np.ones(len(index), dtype=np.float32)
    shape = (counts.shape[0], counts.shape[1] * n_levels)
    return scipy.sparse.csr_matrix((ones, index, counts.indptr), shape=shape)


def _balanced_accuracy(
    stacked: scipy.sparse.csr_matrix,
    active: scipy.sparse.csr_matrix,
    positives: NDArray[np.float64],
    n_levels: int,
) -> NDArray[np.float64]:
    """``(m, V, n_levels)`` balanced accuracy of "level >= t" for every latent, value and t."""
    n = stacked.shape[0]
    both = np.asarray((active.T @ stacked).todense()).reshape(active.shape[1], -1, n_levels)
    total = np.asarray(stacked.sum(0)).reshape(1, -1, n_levels)
    true_positive = both[:, :, ::-1].cumsum(2, dtype=np.float64)[:, :, ::-1]
    predicted = total[:, :, ::-1].cumsum(2, dtype=np.float64)[:, :, ::-1]
    p = positives[:, None, None]
    sensitivity = true_positive / np.maximum(p, 1)
    specificity = 1 - (predicted - true_positive) / np.maximum(n - p, 1)
    return 0.5 * (sensitivity + specificity)  # type: ignore[no-any-return]
