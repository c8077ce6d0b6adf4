"""What words alone explain: statements in the place of activations, true or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse

from recsae.concepts.gates.choose import few_of_each
from recsae.concepts.gates.fit import Side
from recsae.concepts.gates.statements import candidate_statements
from recsae.concepts.labeler import cells_of
from recsae.core import columns as C
from recsae.recommender.score_metric import root_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.concepts.labeler import AttributeLabeler, Labeler

MAX_STATEMENTS = 300
"""Statements at most among which is chosen: bounds the tables of pairs."""


def said_code(labels: pd.DataFrame, cases: Cases, labeler: Labeler) -> scipy.sparse.csr_matrix:
    """``(n, m)`` ones where a label says that its latent is active."""
    if not len(labels):
        return scipy.sparse.csr_matrix((len(cases), 0), dtype=np.int8)
    told = labeler.predict(labels, cases)
    pairs = list(zip(told.column.tolist(), told.threshold.tolist(), strict=True))
    true: dict[tuple[int, int], NDArray[np.int32]] = {}
    for column, threshold in dict.fromkeys(pairs):
        steps = told.steps[:, [column]]
        true[column, threshold] = steps.indices[steps.data >= threshold]
    rows = [true[pair] for pair in pairs]
    starts = np.cumsum([0, *map(len, rows)])
    ones = np.ones(int(starts[-1]), dtype=np.int8)
    code = scipy.sparse.csc_matrix((ones, np.concatenate(rows), starts), (len(cases), len(rows)))
    return code.tocsr()


def best_statements(
    labeler: AttributeLabeler, cases: Cases, metric: NDArray[np.float64]
) -> pd.DataFrame:
    """The statements of the vocabulary that explain most of the scores alone, as predicates.

    At most four of one value, :data:`MAX_STATEMENTS` in all. What a statement explains is the
    score variance between the cases where it is true and those where it is not.
    """
    rows, halves = labeler.halves_of(cases)
    sides = [
        Side(cases.states[own], half.predicates) for own, half in zip(rows, halves, strict=True)
    ]
    statements = candidate_statements([half.predicates for half in halves])
    statements = statements.take(np.flatnonzero(~statements.negated))
    columns = halves[0].predicates.columns
    first, end = statements.spans(columns)
    true = sum(side.sums[0][first] - side.sums[0][end] for side in sides)
    rate = sum(side.sums[1][first] - side.sums[1][end] for side in sides) / len(cases)
    cross = true / len(cases) - np.outer(rate, cases.states.mean(0, dtype=np.float64))
    gain = np.square(cross @ root_of(metric)).sum(1) / np.maximum(rate * (1 - rate), 1e-12)
    kept = few_of_each(columns.value[statements.column], gain, MAX_STATEMENTS)
    chosen = statements.take(kept)
    cells = [
        cells_of(labeler.predicate(columns, *row))
        for row in zip(*(part.tolist() for part in chosen[:3]), strict=True)
    ]
    nothing = dict.fromkeys((C.JOINT, *C.PARTS[1], *C.PARTS[2]))
    return pd.DataFrame(cells, columns=list(C.PREDICATE)).assign(**nothing)
