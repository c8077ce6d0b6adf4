"""Evidence for and against each concept: when its latent is active and where its label is wrong.

Tables of a run are read with it, so that what makes them is imported where it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import pandas as pd

from recsae.concepts.dictionary import rank_within
from recsae.core import columns as C
from recsae.core import layout
from recsae.core.files import read_parquet, write_parquet

if TYPE_CHECKING:
    import scipy.sparse
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.concepts.label_steps import Predictions

TABLES = (
    *(layout.FIRING, layout.TOGETHER, layout.COUNTEREXAMPLES),
    *(layout.ACTIVE_ITEMS, layout.ACTIVE_CASES),
)
MISSED: Final = "missed"
UNEXPECTED: Final = "unexpected"
WITH: Final = "with"
INSTEAD: Final = "instead"
ACTIVE_ON: Final = "active_on"
DRAWN: Final = "drawn"
N_COUNTEREXAMPLES = 3
"""Counterexamples of either kind that are kept of each latent."""
N_RECOMMENDED = 3
"""Recommendations that are kept of a case drawn from the active ones."""
N_TOGETHER = 5
"""Latents at most that are named as active together with one."""
MIN_TOGETHER = 20
"""So many cases must two latents share, or be expected to share, to be named together."""
LATENTS_AT_ONCE = 256
"""Latents compared with all others in one go: bounds the table of pairs."""
_Row: TypeAlias = tuple[int, str, int, float, int]
"""A case of a latent: latent, kind, case, activation, level."""


@dataclass(frozen=True)
class Evidence:
    """Evidence on held-out cases for every latent.

    ``firing``: one row per latent (latent, n_active cases, fire_rate, n_users with any,
    user_share, mean_activation where active).
    ``together``: up to five latents that are active ``with`` it and one ``instead`` of it (latent,
    other, kind, n_together, lift, phi), strongest first. ``lift`` is how many times as often as if
    they were independent, ``phi`` the correlation of the two activities over cases.
    ``counterexamples``: up to three cases of different users of each kind (latent, kind, case,
    user, items, top_item, activation, level, threshold). ``missed``: the label says active and the
    latent is not; ``unexpected``: the latent is active and the label says no. ``level`` is what
    the label counts there; items are external ids, oldest first, so that showing them needs no
    model.
    ``active_items``: the items that tell best where it is active, see
    :func:`recsae.evaluation.active_on.active_items`.
    ``active_cases``: up to five cases of different users drawn from all where it is active, as
    counterexamples are kept, with ``titles`` of the items and ``recommended``, the titles of the
    first three recommendations.
    """

    firing: pd.DataFrame
    together: pd.DataFrame
    counterexamples: pd.DataFrame
    active_items: pd.DataFrame
    active_cases: pd.DataFrame

    def save(self, folder: Path) -> None:
        """Write :data:`TABLES`."""
        for name, table in zip(TABLES, self._tables, strict=True):
            write_parquet(folder / name, table)

    @property
    def _tables(self) -> tuple[pd.DataFrame, ...]:
        against = (self.firing, self.together, self.counterexamples)
        return *against, self.active_items, self.active_cases

    @classmethod
    def load(cls, folder: Path) -> Evidence:
        """Read what ``save`` wrote; ArtifactMismatch where it is missing or damaged."""
        return cls(*(read_parquet(folder / name) for name in TABLES))

    def by_latent(self) -> dict[int, dict[str, Any]]:
        """For every latent ``firing`` (one row) and lists of rows: ``with``, ``instead``,
        ``missed``, ``unexpected``, ``active_on`` (items) and ``drawn`` (cases)."""
        kinds = (WITH, INSTEAD, MISSED, UNEXPECTED, ACTIVE_ON, DRAWN)
        evidence: dict[int, dict[str, Any]] = {
            row.pop(C.LATENT): {"firing": row, **{kind: [] for kind in kinds}}
            for row in self.firing.to_dict("records")
        }
        for table in (self.together, self.counterexamples):
            for row in table.to_dict("records"):
                evidence[row.pop(C.LATENT)][row.pop(C.KIND)].append(row)
        for kind, table in ((ACTIVE_ON, self.active_items), (DRAWN, self.active_cases)):
            for row in table.to_dict("records"):
                evidence[row.pop(C.LATENT)][kind].append(row)
        return evidence


def build_evidence(
    code: scipy.sparse.csr_matrix, predictions: Predictions, cases: Cases
) -> Evidence:
    """Evidence on held-out cases.

    Parameters
    ----------
    code
        ``(n, n_latents)`` activations of the cases.
    predictions
        What the labels of the latents say of the same cases.
    """
    from recsae.evaluation.active_on import active_items

    code = code.copy()
    code.eliminate_zeros()
    return Evidence(
        firing(code, cases),
        fire_together(code),
        counterexamples(code, predictions, cases),
        active_items(code, cases),
        active_cases(code, predictions, cases),
    )


def firing(code: scipy.sparse.csr_matrix, cases: Cases) -> pd.DataFrame:
    """How often each latent is active, among how many users, and how strongly."""
    n, m = code.shape
    n_active = np.bincount(code.indices, minlength=m)
    user = np.repeat(cases.user, np.diff(code.indptr))
    pairs = np.unique(code.indices.astype(np.int64) * cases.n_users + user)
    n_users = np.bincount(pairs // cases.n_users, minlength=m)
    total = np.bincount(code.indices, weights=code.data, minlength=m)
    mean = np.divide(total, n_active, out=np.full(m, np.nan), where=n_active > 0)
    return pd.DataFrame(
        {
            C.LATENT: np.arange(m),
            "n_active": n_active,
            C.FIRE_RATE: n_active / n,
            "n_users": n_users,
            "user_share": n_users / cases.n_users,
            "mean_activation": mean,
        }
    )


def fire_together(code: scipy.sparse.csr_matrix) -> pd.DataFrame:
    """The latents most correlated with each, and the one most against it.

    Ranked by correlation (phi), so that latents that are active everywhere do not always win.
    """
    import scipy.sparse

    n, m = code.shape
    ones = scipy.sparse.csr_matrix(
        (np.ones(code.nnz, dtype=np.float32), code.indices, code.indptr), (n, m)
    )
    by_latent, count = ones.tocsc(), np.bincount(code.indices, minlength=m).astype(float)
    spread = np.sqrt(count * (n - count))
    rows = []
    for first in range(0, m, LATENTS_AT_ONCE):
        part = np.arange(first, min(first + LATENTS_AT_ONCE, m))
        both = (by_latent[:, part].T @ ones).toarray().astype(np.float64)
        expected = count[part, None] * count / n
        scale = spread[part, None] * spread
        phi = np.divide(n * (both - expected), scale, out=np.zeros_like(both), where=scale > 0)
        phi[np.arange(len(part)), part] = 0  # a latent is always active with itself
        for kind, value in (
            (WITH, np.where(both >= MIN_TOGETHER, phi, 0)),
            (INSTEAD, np.where(expected >= MIN_TOGETHER, -phi, 0)),
        ):
            limit = N_TOGETHER if kind == WITH else 1
            here, other = _largest(value, limit)
            rows.append(
                pd.DataFrame(
                    {
                        C.LATENT: part[here],
                        "other": other,
                        C.KIND: kind,
                        "n_together": both[here, other].astype(np.int64),
                        "lift": both[here, other] / expected[here, other],
                        "phi": phi[here, other],
                    }
                )
            )
    table = pd.concat(rows, ignore_index=True)
    return table.sort_values(C.LATENT, kind="stable", ignore_index=True)


def _largest(value: NDArray[np.float64], limit: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of the largest values above 0 of each row, largest first."""
    row, column = np.nonzero(value > 0)
    order = np.lexsort((column, -value[row, column], row))
    row, column = row[order], column[order]
    first = rank_within(row) < limit
    return row[first], column[first]


def counterexamples(
    code: scipy.sparse.csr_matrix, predictions: Predictions, cases: Cases
) -> pd.DataFrame:
    """Cases where a label is wrong: furthest above its threshold, or with the highest activation.

    Cases that are equally far are shuffled once for all, so that they are not always those of the
    first users.
    """
    n = code.shape[0]
    shuffled = np.random.default_rng(0).permutation(n)
    steps, by_latent = predictions.steps.tocsc(), code.tocsc()
    by_latent.sort_indices()
    step, fires, before = np.zeros(n, dtype=np.int16), np.zeros(n, dtype=bool), -1
    cases_against: list[_Row] = []
    for latent in np.argsort(predictions.column, kind="stable").tolist():
        column, threshold = int(predictions.column[latent]), int(predictions.threshold[latent])
        if column != before:
            span = slice(steps.indptr[column], steps.indptr[column + 1])
            step[:] = 0
            step[steps.indices[span]] = steps.data[span]
            ranked = shuffled[np.argsort(-step[shuffled], kind="stable")]
            below = -step[ranked]
            before = column
        span = slice(by_latent.indptr[latent], by_latent.indptr[latent + 1])
        active, value = by_latent.indices[span], by_latent.data[span]
        if not len(active):
            continue  # never active: no evidence either way
        n_said = np.searchsorted(below, -threshold, side="right")
        fires[active] = True
        for case in _of_different_users(ranked[:n_said], cases.user, fires):
            cases_against.append((latent, MISSED, case, 0.0, int(step[case])))
        fires[active] = False
        wrong = np.flatnonzero(step[active] < threshold)
        wrong = active[wrong[np.argsort(-value[wrong], kind="stable")]]
        for case in _of_different_users(wrong, cases.user, fires):
            strength = float(value[np.searchsorted(active, case)])
            cases_against.append((latent, UNEXPECTED, case, strength, int(step[case])))
    return _described(cases_against, predictions, cases)


def _of_different_users(
    ranked: NDArray[np.int64], user: NDArray[np.int64], leave_out: NDArray[np.bool_]
) -> list[int]:
    """The first three of ranked cases that are of different users and not left out."""
    size = 64
    while True:  # the first few nearly always do
        block = ranked[:size]
        block = block[~leave_out[block]]
        first = np.sort(np.unique(user[block], return_index=True)[1])
        if len(first) >= N_COUNTEREXAMPLES or size >= len(ranked):
            return [int(case) for case in block[first[:N_COUNTEREXAMPLES]]]
        size *= 8


def active_cases(
    code: scipy.sparse.csr_matrix, predictions: Predictions, cases: Cases
) -> pd.DataFrame:
    """Cases drawn from all where each latent is active, and what its label counts there."""
    from recsae.evaluation.active_on import drawn_cases

    drawn, titles = drawn_cases(code, cases), cases.catalog.titles
    level = np.zeros(0, dtype=np.int8)  # SciPy takes no places as all of them
    if len(drawn.case):
        level = np.asarray(predictions.steps[drawn.case, predictions.column[drawn.latent]]).ravel()
    columns = (drawn.latent, drawn.case, drawn.activation, level)
    rows = [(j, DRAWN, c, a, s) for j, c, a, s in zip(*(x.tolist() for x in columns), strict=True)]
    top = cases.top_items[drawn.case, :N_RECOMMENDED]
    table = _described(rows, predictions, cases).drop(columns=C.KIND)
    return table.assign(
        titles=[[titles[i] for i in cases.history(row)] for row in drawn.case],
        recommended=[[titles[i] for i in row if i] for row in top],
    )


def _described(rows: list[_Row], predictions: Predictions, cases: Cases) -> pd.DataFrame:
    keys = [C.LATENT, C.KIND, C.CASE, C.ACTIVATION, "level"]
    table = pd.DataFrame(rows, columns=keys).sort_values(C.LATENT, kind="stable")
    case = table[C.CASE].to_numpy(np.int64)
    external = cases.catalog.external_ids
    return table.assign(
        **{
            C.USER: cases.sequences.users[cases.sequence[case]],
            C.ITEMS: [[external[i] for i in cases.history(row)] for row in case],
            C.TOP_ITEM: [external[i] for i in cases.top_items[case, 0]],
            C.THRESHOLD: predictions.threshold[table[C.LATENT].to_numpy(np.int64)],
        }
    ).reset_index(drop=True)
