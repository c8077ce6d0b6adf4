"""Two sides of a concept: by hand, and in the run on planted truth."""

import numpy as np
import pandas as pd

from helpers.labels import LABELER
from helpers.toy import cases, random_cases, sparse
from recsae.concepts.sides import BRINGS, FOLLOWS, other_sides, side_of
from recsae.core import columns as C
from recsae.core.files import read_json, read_parquet


def test_the_other_side_by_hand():
    """Latent 0 is active after 2 red items, where the first recommendation happens to be old."""
    last = [[3, 1], [1, 2, 7], [7, 1], [8], [2], [7, 7, 2, 1]]
    top = [[4, 7], [4, 7], [5, 1], [1, 2], [8, 7], [4, 8]]
    code = [[1, 0], [2, 0], [0, 0], [0, 0], [0, 0], [0.5, 0]]
    last, top, code = ([row for row in rows for _ in range(2)] for rows in (last, top, code))
    made, active = cases(list(range(12)), last, top), sparse(code)
    labels = LABELER.label(active, made)
    labels.loc[0, C.VIEW] = "last5"
    other = other_sides(labels, active, made, LABELER)
    assert other[C.LATENT].tolist() == [0, 1]
    assert other[C.LABEL][0] == "The top recommendation is old."
    assert pd.isna(other[C.ATTRIBUTE][1])  # it is never active
    labels.loc[0, C.VIEW] = "top1"
    assert other_sides(labels, active, made, LABELER)[C.VIEW][0] == "last5"


def test_each_latent_has_both_sides():
    rng = np.random.default_rng(3)
    made = random_cases(rng, n=200, n_users=20)
    active = sparse(np.where(rng.random((200, 6)) < 0.3, 1.0, 0))
    labels = LABELER.label(active, made)
    other = other_sides(labels, active, made, LABELER)
    for mine, theirs in zip(labels[C.VIEW], other[C.VIEW], strict=True):
        assert {side_of(mine), side_of(theirs)} == {FOLLOWS, BRINGS}


def test_a_run_says_both_sides_with_what_they_are_worth(planted_run):
    scores = read_parquet(planted_run / "scores.parquet").set_index(C.LATENT)
    told = read_json(planted_run / "report.json")["concepts"]["list"]
    assert {c["side"] for c in told} >= {FOLLOWS, BRINGS}
    for concept in told:
        other = concept["other_side"]
        for key in (C.LABEL, C.PRECISION, C.RECALL, C.F1):
            assert other[key] == scores[f"other_{key}"][concept["latent"]]
        assert 0 <= other[C.PRECISION_LOW] <= other[C.PRECISION] <= 1
        lists = "recommendation" in other[C.LABEL]
        assert lists == (concept["side"] != BRINGS)
    good = [c for c in told if c["status"] == "verified"]
    assert np.median([c["other_side"]["f1"] for c in good]) > 0.4
