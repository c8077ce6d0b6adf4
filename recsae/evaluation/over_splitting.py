"""Two ways in which a dictionary can fail an attribute: over-splitting and occlusion."""

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
"""Numbers of latents of which the joint AUC is given."""
SPLIT_AT = 8
"""Of so many latents the joint AUC is compared with that of the best one."""
SPLIT_GAIN = 0.05
"""An attribute is over-split only if their AUC is higher by more than that."""
OVERLAP = 0.2
"""It is not over-split if they share at least so much of their activity (mean Jaccard index)."""
OCCLUDED_BY = 0.05
"""A latent predicts another attribute better if its AUC for it is higher by more than that."""
SEPARABLE_AUC = 0.8
"""Two attributes are separable in the states if a probe's held-out AUC reaches it."""
MIN_SEPARATION_CASES = 20
"""Cases of either kind, on construction and on held-out users, that such a probe needs."""


class CodedCases(NamedTuple):
    """Activations, answers and hidden states of n cases."""

    code: scipy.sparse.csr_matrix
    """``(n, n_latents)``."""
    truth: Truth
    """``(n, n_tasks)``."""
    states: NDArray[np.float32]
    """``(n, d)``."""


class Splitting(NamedTuple):
    """How many latents each of n attributes needs."""

    aucs: dict[int, Floats]
    """``(n_tasks,)`` held-out AUC of the best 1 to 16 latents together, by their number."""
    overlap: Floats
    """``(n_tasks,)`` mean Jaccard index of the activity of pairs of the best 8."""
    over_split: NDArray[np.bool_]
    """``(n_tasks,)``."""

    def to_dict(self) -> dict[str, Any]:
        """Columns as files have them."""
        aucs = {f"auc_latents_{width}": auc for width, auc in self.aucs.items()}
        return {**aucs, "overlap": self.overlap, "over_split": self.over_split}


class Occlusion(NamedTuple):
    """Which attribute hides each of n others."""

    occluded_by: list[int | None]
    """The other's task, None where there is none."""
    separation_auc: Floats
    """``(n_tasks,)`` held-out AUC of the probe that separates the two, NaN where there is none."""


def splitting(construction: CodedCases, heldout: CodedCases) -> Splitting:
    """The joint AUC of the best j latents of each attribute, and which ones are over-split.

    The value of j latents is their weighted sum; the weight is what a latent's ROC-AUC has above
    .5, divided by the root mean square of its activation where it is active, so that none counts
    for being large. Latents and weights are chosen on construction cases, AUCs are held-out. An
    attribute is *over-split* if the AUC of 8 latents is higher than that of one by more than .05,
    while they share little: of the cases where either of two is active, on average less than a
    fifth has both active (mean Jaccard index of the pairs).
    """
    code, truth, _ = construction
    aucs = unit_aucs(code, truth)
    order = np.argsort(-aucs, axis=0, kind="stable")[: WIDTHS[-1]]
    squares = np.asarray(code.multiply(code).sum(0)).ravel()
    fired = np.asarray((code > 0).sum(0)).ravel()
    size = np.sqrt(squares / np.maximum(fired, 1))
    size[fired == 0] = np.inf
    weights = np.maximum(aucs - 0.5, 0) / size[:, None]
    joint_aucs = {}
    one_user = np.zeros(len(heldout.truth), dtype=np.int64)  # no standard errors are wanted
    for width in WIDTHS:
        chosen = np.zeros_like(weights)
        np.put_along_axis(chosen, order[:width], 1.0, axis=0)
        together = np.asarray(heldout.code @ (weights * chosen))
        joint_aucs[width] = clustered_aucs(together, heldout.truth, one_user).auc
    overlap = np.array([_overlap(code[:, best[:SPLIT_AT]]) for best in order.T])
    gain = joint_aucs[SPLIT_AT] - joint_aucs[1]
    return Splitting(joint_aucs, overlap, (gain > SPLIT_GAIN) & (overlap < OVERLAP))


def _overlap(code: scipy.sparse.csr_matrix) -> float:
    """Mean Jaccard index of the activity of pairs of latents; those never active do not count."""
    active = (code > 0).astype(np.float64)
    both = np.asarray((active.T @ active).todense())
    fired = both.diagonal()
    either = fired[:, None] + fired - both
    pairs = np.triu((fired[:, None] > 0) & (fired > 0), 1)
    return float((both[pairs] / either[pairs]).mean()) if pairs.any() else 0.0


def occlusion(
    construction: CodedCases,
    heldout: CodedCases,
    latents: NDArray[np.int64],
) -> Occlusion:
    """Attributes hidden behind a stronger one that comes with them.

    The idea of Makelov, Lange & Nanda 2024: where two attributes are correlated and one moves the
    states further, the dictionary spends its latents on the stronger, and no latent is left for the
    weaker one. Here attribute A is *occluded by* B if

    1. the latent that predicts A best (chosen on construction cases) predicts B better: its ROC-AUC
       for B is higher by more than .05, on construction and on held-out cases;
    2. B moves the states more: the length of its class-mean direction, times the standard
       deviation of its answers, is larger than A's (a rare attribute moves few states, however
       far);
    3. A is there nevertheless: on cases that have one of the two, a linear probe fitted on
       construction cases predicts which, with a held-out ROC-AUC of at least .8 (and at least 20
       cases of either kind among construction and among held-out cases).

    Among several such B the one that the latent predicts best is named.

    Parameters
    ----------
    latents
        ``(n_tasks,)`` the best latent of each attribute.
    """
    gaps = []
    for code, truth, _ in (construction, heldout):
        aucs = unit_aucs(code[:, latents], truth)  # row: latent of A, column: B
        gaps.append(aucs - aucs.diagonal()[:, None])
    means = class_means(construction.states, construction.truth)
    strength = np.linalg.norm(means, axis=1) * construction.truth.std(0)
    hides = (np.minimum(*gaps) > OCCLUDED_BY) & (strength > strength[:, None])
    occluded_by: list[int | None] = [None] * len(latents)
    separation = np.full(len(latents), np.nan)
    for weak in np.flatnonzero(hides.any(1)):
        rivals = np.flatnonzero(hides[weak])
        for strong in rivals[np.argsort(-gaps[0][weak, rivals], kind="stable")]:
            auc = _separation_auc(construction, heldout, int(weak), int(strong))
            if auc >= SEPARABLE_AUC:
                occluded_by[weak], separation[weak] = int(strong), auc
                break
    return Occlusion(occluded_by, separation)


def _separation_auc(construction: CodedCases, heldout: CodedCases, weak: int, strong: int) -> float:
    """Held-out AUC of a probe for the weak attribute on cases that have one of the two; or NaN."""
    parts = []
    for _, truth, states in (construction, heldout):
        one = truth[:, weak] != truth[:, strong]
        answer = truth[one, weak]
        if min(int(answer.sum()), int((~answer).sum())) < MIN_SEPARATION_CASES:
            return float("nan")
        parts.append((states[one], answer[:, None]))
    fitted, (states, answer) = parts
    values = states.astype(np.float64) @ discriminants(*fitted).T
    one_user = np.zeros(len(values), dtype=np.int64)
    return float(clustered_aucs(values, answer, one_user).auc[0])
