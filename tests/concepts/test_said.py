"""What words alone explain: truth of labels by hand, and the statement that says most."""

import numpy as np
import pandas as pd

from helpers.labels import LABELER, OLD, RED
from helpers.toy import random_cases
from recsae.concepts import said
from recsae.concepts.said import best_statements, said_code
from recsae.core import columns as C


def test_what_labels_say_case_by_case():
    made = random_cases(np.random.default_rng(0), n=60, n_users=9)
    labels = pd.DataFrame(
        {
            C.ATTRIBUTE: ["colour", "age", None, "colour"],
            C.VALUE: ["red", "old", None, "red"],
            C.VIEW: ["last", "last5", None, "top1"],
            C.THRESHOLD: [1, 3, 0, 1],
            C.NEGATED: [True, False, False, False],
            C.JOINT: [None] * 4,
            **{column: [None] * 4 for column in C.PARTS[1] + C.PARTS[2]},
        }
    )
    code = said_code(labels, made, LABELER).toarray()
    last, five, top = made.last_items[:, 0], made.last_items, made.top_items[:, 0]
    by_hand = [
        ~np.isin(last, RED),
        np.isin(five, OLD).sum(1) >= 3,
        np.ones(60),
        np.isin(top, RED),
    ]
    np.testing.assert_array_equal(code, np.column_stack(by_hand))
    assert said_code(labels[:0], made, LABELER).shape == (60, 0)


def test_the_statement_that_explains_most_is_the_last_to_go(monkeypatch):
    made = random_cases(np.random.default_rng(1), n=400, n_users=40)
    made.states[:, 0] += 5 * (np.isin(made.last_items, RED).sum(1) >= 3)
    metric = np.diag([1.0, 0, 0, 0])
    found = best_statements(LABELER, made, metric)
    assert len(found.drop_duplicates()) == len(found) <= 4 * 2
    assert set(C.LABEL_COLUMNS) > set(found.columns)
    monkeypatch.setattr(said, "MAX_STATEMENTS", 1)
    (row,) = best_statements(LABELER, made, metric).to_dict("records")
    assert (row[C.VIEW], row[C.VALUE], row[C.THRESHOLD]) == ("last5", "red", 3)
