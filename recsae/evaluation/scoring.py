"""Scores of labels: how well each predicts, on held-out users, when its latent is active.

Every held-out position is a case. Cases are counted per user and per label through sparse matrices,
for hundreds of labels at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse

from recsae.concepts.status import (
    CONFIDENCE,
    DEAD,
    MIN_POSITIVES,
    MIN_USERS,
    SUPPORTED,
    THRESHOLD,
    UNSUPPORTED,
    UNTESTED,
    VERIFIED,
    verified_latents,
)
from recsae.core import columns as C
from recsae.core.errors import NotEnoughData
from recsae.core.intervals import UserEstimate, rate_bound
from recsae.evaluation.hard_negatives import hard_specificity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.concepts.dictionary import ConceptDictionary
    from recsae.concepts.labeler import Labeler

LABELS_AT_ONCE = 256
"""Labels counted in one go: bounds the dense tables of steps and users."""
MAX_STEP = 10
"""The highest step of any view."""


class TestedConcepts(NamedTuple):
    """What a test of labels says of each, and of all of them."""

    scores: pd.DataFrame
    """One row per latent, see :func:`score_concepts`."""
    verified_of: tuple[NDArray[np.int64], ...]
    """Latents that are verified on each of some parts of the users alone."""
    label_quality: UserEstimate
    """The F1 of the labels weighted by the activations of their latents: pick any activation, how
    right is what it is called?"""
    quality_of: dict[str, UserEstimate]
    """The same of groups of latents."""


class Counts(NamedTuple):
    """Numbers of cases: the first four per user and label ``(n_users, m)``, the last two per step
    and label ``(MAX_STEP + 1, m)``."""

    n: NDArray[np.float64]
    active: NDArray[np.float64]
    predicted: NDArray[np.float64]
    both: NDArray[np.float64]
    step_all: NDArray[np.float64]
    step_active: NDArray[np.float64]

    def of_users(self, users: NDArray[np.int64]) -> Counts:
        """Those of some users; what is counted per step stays that of all."""
        n, active, predicted, both = (part[users] for part in self[:4])
        return self._replace(n=n, active=active, predicted=predicted, both=both)


def score_concepts(
    code: scipy.sparse.csr_matrix,
    dictionary: ConceptDictionary,
    cases: Cases,
    labeler: Labeler,
    *,
    hard_negatives: bool = True,
) -> pd.DataFrame:
    """The scores of :func:`measure_concepts`."""
    return measure_concepts(code, dictionary, cases, labeler, hard_negatives=hard_negatives).scores


def measure_concepts(
    code: scipy.sparse.csr_matrix,
    dictionary: ConceptDictionary,
    cases: Cases,
    labeler: Labeler,
    *,
    hard_negatives: bool = True,
    parts: Sequence[NDArray[np.int64]] = (),
    groups: Mapping[str, slice] | None = None,
) -> TestedConcepts:
    """Test every label of a dictionary on cases of held-out users.

    Parameters
    ----------
    code
        ``(n, n_latents)`` activations of the cases; any sparse code.
    cases
        Of users that neither the SAE nor the labels have seen.
    hard_negatives
        Also measure specificity on the inactive cases nearest to the positives.
    parts
        Users, as the cases number them, on whom alone concepts are verified as well.
    groups
        Latents whose label quality is wanted by itself.

    Returns
    -------
    TestedConcepts
        Scores, one row per latent: status, precision and recall with their lower bounds (``_low``,
        one-sided 95 %, users as the unit), specificity, hard_specificity, f1, balanced_accuracy,
        auc, average_precision, n_pos, n_neg, n_users_pos.

    Notes
    -----
    A labeler that was shown examples may have learned their items by heart. For such a labeler
    (``sees_examples``) each bound is the lower of two: over all cases, and without those whose
    first recommendation is that of an example. The bound without those cases is not enough alone:
    more positives than negatives are removed, so that broad labels right at the threshold would
    pass.
    """
    if not len(cases) or code.shape[0] != len(cases):
        raise NotEnoughData(f"{len(cases)} held-out cases for a code of {code.shape[0]} rows.")
    labels = dictionary.table
    m = len(labels)
    predictions = labeler.predict(labels, cases)
    nothing = scipy.sparse.csr_matrix((m, cases.catalog.n_items), dtype=np.float32)
    shown = _shown(dictionary, m, cases.catalog.n_items) if labeler.sees_examples else nothing
    order = np.argsort(predictions.column, kind="stable")
    by_latent = code.tocsc()
    groups = {"all": slice(None), **(groups or {})}
    chunks, quality = [], {name: _QualitySums(cases.n_users) for name in groups}
    verified: list[list[NDArray[np.int64]]] = [[] for _ in parts]
    for chunk in _chunks(predictions.column[order]):
        latents = order[chunk]
        columns, column = np.unique(predictions.column[latents], return_inverse=True)
        steps = predictions.steps[:, columns].T.toarray()
        threshold = predictions.threshold[latents]
        active = by_latent[:, latents]
        counts = _count(active, steps, column, threshold, nothing[latents], cases)
        for name, group in groups.items():
            inside = np.isin(latents, np.arange(m)[group])
            quality[name].add(counts, active, cases.user, inside)
        without = None
        if labeler.sees_examples:
            without = _count(active, steps, column, threshold, shown[latents], cases)
        chunks.append(_figures(counts, latents, without))
        for users, found in zip(parts, verified, strict=True):
            kept = None if without is None else without.of_users(users)
            found.append(verified_latents(_figures(counts.of_users(users), latents, kept)))
        if hard_negatives:
            tested = np.flatnonzero(counts.active.sum(0) >= MIN_POSITIVES)
            hard = np.full(len(latents), np.nan)
            hard[tested] = hard_specificity(
                by_latent[:, latents[tested]],
                steps,
                column[tested],
                threshold[tested],
                shown[latents[tested]],
                cases,
            )
            chunks[-1][C.HARD_SPECIFICITY] = hard
    scores = pd.concat(chunks).sort_values(C.LATENT, ignore_index=True)
    estimates = {name: sums.estimate() for name, sums in quality.items()}
    return TestedConcepts(
        scores,
        tuple(np.sort(np.concatenate(found)) for found in verified),
        estimates.pop("all"),
        estimates,
    )


class _QualitySums:
    """Sums over labels from which the F1 weighted by activations follows, per user."""

    def __init__(self, n_users: int) -> None:
        self.weight = np.zeros(n_users)  # sum of activations
        self.value = np.zeros(n_users)  # the same, each times the F1 of its label
        self.change = np.zeros(n_users)  # what the user adds to each F1, times its activations

    def add(
        self,
        counts: Counts,
        active: scipy.sparse.csc_matrix,
        user: NDArray[np.int64],
        inside: NDArray[np.bool_],
    ) -> None:
        """Count some more labels, those marked."""
        active, both = active[:, inside], counts.both[:, inside]
        of = counts.predicted[:, inside] + counts.active[:, inside]
        total = np.maximum(of.sum(0), 1)
        f1 = 2 * both.sum(0) / total
        label = np.repeat(np.arange(active.shape[1]), np.diff(active.indptr))
        by_label = np.bincount(label, active.data, minlength=active.shape[1])
        of_user, n = user[active.indices], len(self.weight)
        self.weight += np.bincount(of_user, active.data, minlength=n)
        self.value += np.bincount(of_user, active.data * f1[label], minlength=n)
        self.change += ((2 * both - f1 * of) / total) @ by_label

    def estimate(self) -> UserEstimate:
        """The mean, with both ways in which a user moves it: the F1s, and their weights."""
        total = self.weight.sum()
        if total <= 0:
            return UserEstimate(float("nan"), np.zeros(len(self.weight)))
        mean = float(self.value.sum() / total)
        influence = (self.change + self.value - mean * self.weight) / total
        return UserEstimate(mean, influence)


def _chunks(columns: NDArray[np.int64]) -> list[slice]:
    """Slices of at most ``LABELS_AT_ONCE`` labels, so that the dense work per slice stays small."""
    return [slice(i, i + LABELS_AT_ONCE) for i in range(0, len(columns), LABELS_AT_ONCE)]


def _shown(dictionary: ConceptDictionary, m: int, n_items: int) -> scipy.sparse.csr_matrix:
    """``(m, n_items)`` ones at the first recommendations of the examples shown for a latent."""
    pairs = dictionary.examples[[C.LATENT, C.TOP_ITEM]].drop_duplicates().to_numpy()
    ones = np.ones(len(pairs), dtype=np.float32)
    return scipy.sparse.csr_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(m, n_items))


def _count(
    active: scipy.sparse.csc_matrix,
    steps: NDArray[np.int8],
    column: NDArray[np.int64],
    threshold: NDArray[np.int64],
    shown: scipy.sparse.csr_matrix,
    cases: Cases,
) -> Counts:
    m, n_users = len(column), cases.n_users
    top = cases.top_items[:, 0].astype(np.int64)
    starts = np.flatnonzero(np.r_[True, np.diff(cases.user) > 0])
    size = np.diff(np.r_[starts, len(cases)])[:, None].astype(float)

    predicates, predicate = np.unique(np.stack([column, threshold]), axis=1, return_inverse=True)
    per_user = [np.add.reduceat(steps[c] >= t, starts, dtype=np.int32) for c, t in predicates.T]
    predicted = np.stack(per_user, axis=1)[:, predicate.ravel()]
    step_all = np.stack([np.bincount(row, minlength=MAX_STEP + 1) for row in steps], axis=1)

    out_row, out_label = _rows_with(shown, top)
    removed = _tally(cases.user[out_row], out_label, n_users, m)
    out_step = steps[column[out_label], out_row]
    says_out = out_step >= threshold[out_label]
    removed_says = _tally(cases.user[out_row[says_out]], out_label[says_out], n_users, m)
    removed_step = _tally(out_step, out_label, MAX_STEP + 1, m)

    row, label = active.indices, np.repeat(np.arange(m, dtype=np.int32), np.diff(active.indptr))
    kept = active.data > 0
    if shown.nnz:
        items = shown.indices + np.repeat(np.arange(m), np.diff(shown.indptr)) * shown.shape[1]
        kept &= ~np.isin(label.astype(np.int64) * shown.shape[1] + top[row], items)
    row, label = row[kept], label[kept]
    step = steps[column[label], row]
    right = step >= threshold[label]
    return Counts(
        n=size - removed,
        active=_tally(cases.user[row], label, n_users, m),
        predicted=predicted - removed_says,
        both=_tally(cases.user[row[right]], label[right], n_users, m),
        step_all=step_all[:, column] - removed_step,
        step_active=_tally(step, label, MAX_STEP + 1, m),
    )


def _rows_with(
    shown: scipy.sparse.csr_matrix, top: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All (case, label) pairs whose case is removed for the label."""
    by_item = np.argsort(top, kind="stable")
    n_with = np.bincount(top, minlength=shown.shape[1])
    first = np.cumsum(n_with) - n_with
    repeats = n_with[shown.indices]
    label = np.repeat(np.repeat(np.arange(shown.shape[0]), np.diff(shown.indptr)), repeats)
    step = np.arange(int(repeats.sum())) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    return by_item[np.repeat(first[shown.indices], repeats) + step], label


def _tally(
    row: NDArray[np.int64], column: NDArray[np.int64], n_rows: int, n_columns: int
) -> NDArray[np.float64]:
    flat = np.bincount(row.astype(np.int64) * n_columns + column, minlength=n_rows * n_columns)
    return flat.reshape(n_rows, n_columns).astype(np.float64)


def _figures(
    counts: Counts, latents: NDArray[np.int64], without_shown: Counts | None
) -> pd.DataFrame:
    precision, precision_low = rate_bound(counts.both, counts.predicted, CONFIDENCE)
    recall, recall_low = rate_bound(counts.both, counts.active, CONFIDENCE)
    if without_shown is not None:
        both = without_shown.both
        other = rate_bound(both, without_shown.predicted, CONFIDENCE)[1]
        precision_low = np.minimum(precision_low, other)
        recall_low = np.minimum(recall_low, rate_bound(both, without_shown.active, CONFIDENCE)[1])
    n_neg = counts.n - counts.active
    true_neg = n_neg - (counts.predicted - counts.both)
    pos, neg = counts.active.sum(0), n_neg.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = 2 * counts.both.sum(0) / (counts.predicted.sum(0) + pos)
        specificity = true_neg.sum(0) / neg
    n_users = (counts.active > 0).sum(0)
    auc, average_precision = _ranking(counts)
    return pd.DataFrame(
        {
            C.LATENT: latents,
            C.STATUS: statuses(pos, neg, n_users, (precision, recall), (precision_low, recall_low)),
            C.PRECISION: precision,
            C.PRECISION_LOW: precision_low,
            C.RECALL: recall,
            C.RECALL_LOW: recall_low,
            C.SPECIFICITY: specificity,
            C.HARD_SPECIFICITY: np.nan,
            C.F1: f1,
            C.BALANCED_ACCURACY: (recall + specificity) / 2,
            C.AUC: auc,
            C.AVERAGE_PRECISION: average_precision,
            C.N_POS: pos.astype(np.int64),
            C.N_NEG: neg.astype(np.int64),
            C.N_USERS_POS: n_users.astype(np.int64),
        }
    )


def statuses(
    pos: NDArray[np.float64],
    neg: NDArray[np.float64],
    n_users: NDArray[np.int64],
    rates: tuple[NDArray[np.float64], NDArray[np.float64]],
    bounds: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> NDArray[np.object_]:
    """Verified if the bounds of precision and recall reach 0.5, supported if the values do,
    untested if cases are few; both only if more precise than a label that is always true."""
    enough = (pos >= MIN_POSITIVES) & (n_users >= MIN_USERS)
    always = pos / np.maximum(pos + neg, 1)
    status = np.full(len(pos), UNSUPPORTED, dtype=object)
    for name, (precision, recall) in ((SUPPORTED, rates), (VERIFIED, bounds)):
        status[(np.minimum(precision, recall) >= THRESHOLD) & (precision > always)] = name
    status[~enough] = UNTESTED
    status[pos == 0] = DEAD
    return status


def _ranking(counts: Counts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """ROC-AUC and average precision of the labels' steps, from counts per step.

    scikit-learn's definitions (ties count one half; precision at each threshold weighted by the
    recall it adds), evaluated for all labels at once; a test holds the two against each other.
    """
    active = counts.step_active[::-1]
    inactive = (counts.step_all - counts.step_active)[::-1]
    pos, neg = active.sum(0), inactive.sum(0)
    above = np.cumsum(inactive, axis=0) - inactive
    with np.errstate(invalid="ignore", divide="ignore"):
        auc = 1 - (active * (above + inactive / 2)).sum(0) / (pos * neg)
        hits = np.cumsum(active, axis=0)
        predicted = hits + np.cumsum(inactive, axis=0)
        precision = np.where(predicted > 0, hits / np.maximum(predicted, 1), 0)
        return auc, (active * precision).sum(0) / pos
