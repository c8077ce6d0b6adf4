"""Linear probes of hidden states, and ROC-AUCs with standard errors over users."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsae.capture.cases import spread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Truth = NDArray[np.bool_]

MAX_PROBE_CASES = 12_000
"""Cases at most that a logistic regression is fitted on, evenly spread: bounds the time."""


class Aucs(NamedTuple):
    """ROC-AUC of m columns and their standard errors, users being the unit: ``(m,)`` each."""

    auc: Floats
    error: Floats

    def low(self, confidence: float = 0.95) -> Floats:
        """One-sided lower bound."""
        from scipy.stats import norm

        return self.auc - float(norm.ppf(confidence)) * self.error


def class_means(states: NDArray[np.float32], truth: Truth) -> Floats:
    """Mean state of the positives minus that of the rest, for every task: ``(n_tasks, d)``.

    >>> class_means(np.array([[2.0, 0.0], [0.0, 0.0]]), np.array([[True], [False]])).tolist()
    [[2.0, 0.0]]
    """
    yes, states = truth.astype(np.float64), states.astype(np.float64)
    positives = yes.sum(0)[:, None]
    among, total = yes.T @ states, states.sum(0)
    rest = len(states) - positives
    with np.errstate(invalid="ignore", divide="ignore"):
        return among / positives - (total - among) / rest  # type: ignore[no-any-return]


def discriminants(states: NDArray[np.float32], truth: Truth) -> Floats:
    """Fisher's linear discriminant for all tasks at once, ``(n_tasks, d)``: a probe in one step."""
    centred = states - states.mean(0, dtype=np.float64)
    covariance = centred.T @ centred / len(states)
    covariance += 1e-3 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    y = truth - truth.mean(0)
    return np.linalg.solve(covariance, centred.T @ y / len(states)).T


def logistic_probes(states: NDArray[np.float32], truth: Truth) -> Floats:
    """Weights of a logistic regression per task, for raw states: ``(n_tasks, d)``.

    Fitted on standardised states, at most 12,000 of them, evenly spread; a task that has only one
    answer there gets zeros.
    """
    from sklearn.linear_model import LogisticRegression

    scale = states.std(0, dtype=np.float64)
    scale[scale < 1e-12] = 1.0  # a dimension that never moves
    rows = spread(len(states), MAX_PROBE_CASES)
    x = (states[rows] - states.mean(0, dtype=np.float64)) / scale
    weights = np.zeros((truth.shape[1], states.shape[1]))
    for task, y in enumerate(truth[rows].T):
        if y.any() and not y.all():
            fitted = LogisticRegression(solver="newton-cholesky", max_iter=50).fit(x, y)
            weights[task] = fitted.coef_[0] / scale
    return weights


def clustered_aucs(values: Floats, truth: Truth, user: NDArray[np.int64]) -> Aucs:
    """ROC-AUC of each column of values for the same column of truth, with standard errors.

    A case's share in the error is how far the part of the other class that it beats is from the
    mean (DeLong, DeLong & Clarke-Pearson 1988); shares are added up per user (Obuchowski 1997),
    since cases of one user are alike. Ties count one half; NaN where a class is empty.

    Parameters
    ----------
    values, truth
        ``(n, m)``.
    user
        ``(n,)`` numbers from 0 on.
    """
    auc, error = np.full(truth.shape[1], np.nan), np.full(truth.shape[1], np.nan)
    n_users = int(user.max()) + 1 if len(user) else 0
    for task, yes in enumerate(truth.T):
        n_pos = int(yes.sum())
        n_neg = len(yes) - n_pos
        if not n_pos or not n_neg:
            continue
        order = np.argsort(values[:, task])
        column, positive = values[order, task], yes[order]
        starts = np.flatnonzero(np.r_[True, column[1:] != column[:-1]])  # of equal values
        sizes = np.diff(np.r_[starts, len(column)])
        pos = np.add.reduceat(positive, starts, dtype=np.int64)
        neg = sizes - pos
        beaten = np.repeat((np.cumsum(neg) - neg / 2) / n_neg, sizes)  # share of the other class
        beating = np.repeat(1 - (np.cumsum(pos) - pos / 2) / n_pos, sizes)
        auc[task] = beaten[positive].mean()
        share = np.empty(len(yes))
        share[order] = (np.where(positive, beaten, beating) - auc[task]) / np.where(
            positive, n_pos, n_neg
        )
        per_user = np.bincount(user, share, minlength=n_users)
        error[task] = np.sqrt(n_users / max(n_users - 1, 1) * np.square(per_user).sum())
    return Aucs(auc, error)


def probe_aucs(states: NDArray[np.float32], truth: Truth, user: NDArray[np.int64]) -> Aucs:
    """ROC-AUC of a linear probe of states for each task, fitted on one half of the users.

    Parameters
    ----------
    states, truth
        ``(n, d)`` and ``(n, n_tasks)``.
    user
        ``(n,)`` numbers from 0 on, ascending; the probe is fitted on the first half of them and
        measured on the second.
    """
    search = user < (int(user.max()) + 1) // 2
    confirm = ~search
    directions = discriminants(states[search], truth[search])
    values = states[confirm].astype(np.float64) @ directions.T
    return clustered_aucs(values, truth[confirm], user[confirm] - user[confirm].min())


def best_thresholds(values: Floats, truth: Truth) -> Floats:
    """``(m,)`` threshold t of each column at which "value >= t" has the best balanced accuracy.

    >>> best_thresholds(np.array([[1.0], [2], [3]]), np.array([[False], [True], [True]])).tolist()
    [2.0]
    """
    thresholds = np.empty(truth.shape[1])
    for task, yes in enumerate(truth.T):
        order = np.argsort(-values[:, task], kind="stable")
        value, hit = values[order, task], yes[order]
        recall = np.cumsum(hit) / max(hit.sum(), 1)
        false = np.cumsum(~hit) / max((~hit).sum(), 1)
        whole = np.r_[value[1:] != value[:-1], True]  # ties are on one side together
        thresholds[task] = value[np.where(whole, recall - false, -1.0).argmax()]
    return thresholds


def balanced_accuracies(values: Floats, truth: Truth, thresholds: Floats) -> Floats:
    """``(m,)`` balanced accuracy of "value >= threshold" per column."""
    says = values >= thresholds
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = (says & truth).sum(0) / truth.sum(0)
        specificity = (~says & ~truth).sum(0) / (~truth).sum(0)
    return (recall + specificity) / 2  # type: ignore[no-any-return]
