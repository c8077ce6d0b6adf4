"""Two ways in which a dictionary can fail an attribute: splitting it up, and hiding it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsae.concepts.attributes.probes import class_means, clustered_aucs, discriminants
from recsae.evaluation.attribute_auc import unit_aucs

if TYPE_CHECKING:
    import scipy.sparse
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Truth = NDArray[np.bool_]

WIDTHS = (1, 2, 4, 8, 16)
SPLIT_AT = 8
SPLIT_GAIN = 0.05
OVERLAP = 0.2
OCCLUDED_BY = 0.05
TOLD_APART = 0.8
MIN_APART = 20


class Coded(NamedTuple):
    """n cases: activations, what is true of each, and hidden states."""

    code: scipy.sparse.csr_matrix  # (n, n_latents)
    truth: Truth  # (n, n_tasks)
    states: NDArray[np.float32]  # (n, d)


def splitting(known: Coded, test: Coded) -> dict[str, Any]:
    """How well the best j latents of each attribute tell it together, and which are over-split.

    The value of j latents is their weighted sum; the weight is what a latent's ROC-AUC has above
    .5, divided by the root mean square of its activation where it is active, so that none counts
    for being large. Latents and weights are chosen on construction cases, AUCs are held-out. An
    attribute is *over-split* if 8 latents tell it better than one by more than .05 of AUC, while
    they share little: of the cases where either of two is active, on average less than a fifth has
    both active (mean Jaccard index of the pairs).

    Parameters
    ----------
    known, test
        Construction and held-out cases.

    Returns
    -------
    dict
        ``auc_latents_1`` to ``auc_latents_16``, ``overlap`` and ``over_split``, ``(n_tasks,)``.
    """
    code, truth, _ = known
    aucs = unit_aucs(code, truth)
    order = np.argsort(-aucs, axis=0, kind="stable")[: WIDTHS[-1]]
    squares = np.asarray(code.multiply(code).sum(0)).ravel()
    fired = np.asarray((code > 0).sum(0)).ravel()
    size = np.sqrt(squares / np.maximum(fired, 1))
    size[fired == 0] = np.inf
    weights = np.maximum(aucs - 0.5, 0) / size[:, None]
    found: dict[str, Any] = {}
    everyone = np.zeros(len(test.truth), dtype=np.int64)
    for width in WIDTHS:
        chosen = np.zeros_like(weights)
        np.put_along_axis(chosen, order[:width], 1.0, axis=0)
        together = np.asarray(test.code @ (weights * chosen))
        found[f"auc_latents_{width}"] = clustered_aucs(together, test.truth, everyone).auc
    found["overlap"] = np.array([_overlap(code[:, best[:SPLIT_AT]]) for best in order.T])
    gain = found[f"auc_latents_{SPLIT_AT}"] - found["auc_latents_1"]
    found["over_split"] = (gain > SPLIT_GAIN) & (found["overlap"] < OVERLAP)
    return found


def _overlap(code: scipy.sparse.csr_matrix) -> float:
    """Mean Jaccard index of the activity of pairs of latents; those never active do not count."""
    active = (code > 0).astype(np.float64)
    both = np.asarray((active.T @ active).todense())
    fired = both.diagonal()
    either = fired[:, None] + fired - both
    pairs = np.triu((fired[:, None] > 0) & (fired > 0), 1)
    return float((both[pairs] / either[pairs]).mean()) if pairs.any() else 0.0


def occlusion(
    known: Coded,
    test: Coded,
    latents: NDArray[np.int64],
) -> dict[str, Any]:
    """Attributes hidden behind a stronger one that comes with them.

    The paper's idea: where two attributes are correlated and one moves the states further, the
    dictionary spends its latents on the stronger, and no latent is left for the weaker one. Here
    attribute A is *occluded by* B if

    1. the latent that tells A best (chosen on construction cases) tells B better: its ROC-AUC for
       B is higher by more than .05, on construction and on held-out cases;
    2. B moves the states more: the length of its class-mean direction, times the standard
       deviation of its answers, is larger than A's (a rare attribute moves few states, however
       far);
    3. A is there nevertheless: on cases that have one of the two, a linear probe fitted on
       construction cases tells which, with a held-out ROC-AUC of at least .8 (and at least 20
       cases of either kind on both sides).

    Among several such B the one that the latent tells best is named.

    Parameters
    ----------
    known, test
        Construction and held-out cases.
    latents
        ``(n_tasks,)`` the best latent of each attribute.

    Returns
    -------
    dict
        ``occluded_by``, the task or None, and ``told_apart_auc``, NaN where it was not asked.
    """
    gaps = []
    for code, truth, _ in (known, test):
        aucs = unit_aucs(code[:, latents], truth)  # row: latent of A, column: B
        gaps.append(aucs - aucs.diagonal()[:, None])
    strength = np.linalg.norm(class_means(known.states, known.truth), axis=1) * known.truth.std(0)
    hides = (np.minimum(*gaps) > OCCLUDED_BY) & (strength > strength[:, None])
    found: list[int | None] = [None] * len(latents)
    apart = np.full(len(latents), np.nan)
    for weak in np.flatnonzero(hides.any(1)):
        rivals = np.flatnonzero(hides[weak])
        for strong in rivals[np.argsort(-gaps[0][weak, rivals], kind="stable")]:
            auc = _told_apart(known, test, int(weak), int(strong))
            if auc >= TOLD_APART:
                found[weak], apart[weak] = int(strong), auc
                break
    return {"occluded_by": found, "told_apart_auc": apart}


def _told_apart(
    known: Coded,
    test: Coded,
    weak: int,
    strong: int,
) -> float:
    """Held-out AUC of a probe for the weak attribute on cases that have one of the two; or NaN."""
    sides = []
    for _, truth, states in (known, test):
        one = truth[:, weak] != truth[:, strong]
        answer = truth[one, weak]
        if min(int(answer.sum()), int((~answer).sum())) < MIN_APART:
            return float("nan")
        sides.append((states[one], answer[:, None]))
    (states, answer), (test_states, test_answer) = sides
    values = test_states.astype(np.float64) @ discriminants(states, answer).T
    everyone = np.zeros(len(values), dtype=np.int64)
    return float(clustered_aucs(values, test_answer, everyone).auc[0])
