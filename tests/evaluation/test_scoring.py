"""Counts and figures of the scorer against scikit-learn, one latent at a time."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from helpers.scoring_kit import BLIND, LABELERS, WITNESS, Witness, kept_cases, scored, step_of
from helpers.toy import cases, sparse
from recsae.concepts.attributes.table import ItemAttributes
from recsae.concepts.dictionary import ConceptDictionary
from recsae.concepts.labeler import AttributeLabeler
from recsae.concepts.status import MEANING, distinct
from recsae.core import columns as C
from recsae.core.errors import NotEnoughData
from recsae.core.intervals import rate_bound
from recsae.evaluation import hard_negatives, scoring
from recsae.evaluation.scoring import measure_concepts, score_concepts
from recsae.recommender.catalog import build_catalog

LOW = (C.PRECISION_LOW, C.RECALL_LOW)
EVERY_LABELER = pytest.mark.parametrize("labeler", LABELERS, ids=["blind", "sees examples"])


def bound_of(hits, n) -> float:
    """The interval's bound from these counts per user."""
    columns = (np.array(c, dtype=float)[:, None] for c in (hits, n))
    return float(rate_bound(*columns)[1][0])


def lower_bounds(said, active, user, rows) -> list[float]:
    """The bounds of precision and recall over some of the cases."""
    both, *counts = (
        np.bincount(user[rows], c[rows], minlength=25) for c in (active & said, said, active)
    )
    return [bound_of(both, of) for of in counts]


@EVERY_LABELER
@settings(max_examples=12)
@given(seed=st.integers(0, 10_000))
def test_figures_equal_scikit_learns(labeler, seed):
    dictionary, made, dense, table = scored(seed, labeler, hard_negatives=False)
    assert table[C.LATENT].tolist() == list(range(9))
    for latent, row in table.iterrows():
        label = dictionary.table.loc[latent]
        active, (step, least) = dense[:, latent] > 0, step_of(label, made)
        said, user = step >= least, made.user
        assert (row[C.N_POS], row[C.N_NEG]) == (active.sum(), (~active).sum())
        assert row[C.N_USERS_POS] == len(set(user[active]))
        if not active.any():
            assert row[C.STATUS] == "dead"
            assert np.isnan([row[C.RECALL], row[C.BALANCED_ACCURACY], row[C.AUC]]).all()
            continue
        expected = {
            C.RECALL: metrics.recall_score(active, said),
            C.PRECISION: metrics.precision_score(active, said, zero_division=np.nan),
            C.SPECIFICITY: metrics.recall_score(~active, ~said),
            C.F1: metrics.f1_score(active, said),
            C.BALANCED_ACCURACY: metrics.balanced_accuracy_score(active, said),
            C.AUC: metrics.roc_auc_score(active, step),
            C.AVERAGE_PRECISION: metrics.average_precision_score(active, step),
        }
        for name, value in expected.items():
            assert row[name] == pytest.approx(value, nan_ok=True), name

        low = lower_bounds(said, active, user, slice(None))
        if labeler is WITNESS:
            others = lower_bounds(said, active, user, kept_cases(dictionary, latent, made))
            low = np.minimum(low, others).tolist()
        assert row[[*LOW]].tolist() == pytest.approx(low, nan_ok=True)


def test_cases_like_the_examples_count_only_against_labelers_that_saw_them():
    """So that the test above sees removal at work, and not only on one side."""
    dictionary, made, dense, blind = scored(0, BLIND)
    table = scored(0, WITNESS)[-1]
    removed = [
        np.setdiff1d(np.arange(len(made)), kept_cases(dictionary, latent, made))
        for latent in range(8)
    ]
    assert min(len(r) for r in removed) > 10
    assert any((dense[r, j] > 0).any() for j, r in enumerate(removed))
    assert any((dense[r, j] == 0).any() for j, r in enumerate(removed))
    differ = [*LOW, C.STATUS, C.HARD_SPECIFICITY]
    pd.testing.assert_frame_equal(table.drop(columns=differ), blind.drop(columns=differ))
    for bound in LOW:
        lower = (table[bound] < blind[bound])[:8]
        assert lower.any()
        assert not lower.all()  # where removal would have raised the bound
        assert (table[bound][:8][~lower] == blind[bound][:8][~lower]).all()


@pytest.mark.parametrize("shown_right", [True, False])
def test_by_hand(shown_right):
    # One latent, "the last item is 1". Cases of users a a b b b; recommendations of item 9 were
    # shown. Right: 0, 3. Active but item 2: 1. Said but not active: 2. Case 4 was shown; its
    # latent is active, and the label right or wrong about it.
    has = np.zeros((11, 1), dtype=np.int32)
    has[1] = 1
    attributes = ItemAttributes(scipy.sparse.csr_matrix(has), (("kind", "one"),))
    last = [[1], [2], [1], [2], [1 if shown_right else 2]]
    made = cases([0, 0, 1, 1, 1], last, [[5], [5], [5], [5], [9]], items=TEN)
    table = pd.DataFrame(
        {
            C.LATENT: [0],
            C.ATTRIBUTE: ["kind"],
            C.VALUE: ["one"],
            C.VIEW: ["last"],
            C.THRESHOLD: [1],
            C.NEGATED: [False],
            **{c: [None] for c in (C.JOINT, *C.PARTS[1], *C.PARTS[2])},
        }
    )
    shown = pd.DataFrame({C.LATENT: [0], C.TOP_ITEM: [9]})
    code = sparse([[2], [1], [0], [0], [3]])
    blind, witness = (
        score_concepts(code, ConceptDictionary(table, shown), made, labeler(attributes)).iloc[0]
        for labeler in (AttributeLabeler, Witness)
    )
    right = int(shown_right)
    for row in (blind, witness):
        assert (row[C.N_POS], row[C.N_NEG], row[C.N_USERS_POS]) == (3, 2, 2)
        assert row[C.RECALL] == pytest.approx((1 + right) / 3)
        assert row[C.PRECISION] == pytest.approx((1 + right) / (2 + right))
        assert row[C.SPECIFICITY] == 0.5
        assert row[C.STATUS] == "untested"
    # right and all positives, of users a and b
    with_case_4, without_it = bound_of([1, right], [2, 1]), bound_of([1, 0], [2, 0])
    assert with_case_4 != without_it
    assert blind[C.RECALL_LOW] == pytest.approx(with_case_4)
    assert witness[C.RECALL_LOW] == pytest.approx(min(with_case_4, without_it))
    # right and all that the label says, of users a and b
    said = bound_of([1, right], [1, 1 + right]), bound_of([1, 0], [1, 1])
    assert blind[C.PRECISION_LOW] == pytest.approx(said[0])
    assert witness[C.PRECISION_LOW] == pytest.approx(min(said))


TEN = build_catalog([str(i) for i in range(11)], None)


@EVERY_LABELER
@pytest.mark.parametrize("chunk", [1, 2, 512])
def test_chunks_of_labels_do_not_matter(monkeypatch, labeler, chunk):
    whole = scored(3, labeler)[-1]
    monkeypatch.setattr(scoring, "LABELS_AT_ONCE", chunk)
    monkeypatch.setattr(hard_negatives, "LABELS_AT_ONCE", 3)
    pd.testing.assert_frame_equal(scored(3, labeler)[-1], whole)


@EVERY_LABELER
def test_zeros_that_are_stored_are_not_active(labeler):
    dictionary, made, dense, table = scored(4, labeler)
    stored = sparse(dense + 1)
    stored.data -= 1
    assert stored.nnz == dense.size
    again = score_concepts(stored, dictionary, made, labeler, hard_negatives=False)
    expected = table.assign(**{C.HARD_SPECIFICITY: np.nan})
    pd.testing.assert_frame_equal(again, expected, check_exact=False)


@pytest.mark.parametrize(
    ("pos", "users", "rates", "bounds", "status"),
    [
        (20, 10, (0.95, 0.7), (0.9, 0.5), "verified"),
        (20, 10, (0.7, 0.95), (0.5, 0.9), "verified"),
        (20, 10, (0.95, 0.7), (0.9, 0.49), "supported"),
        (20, 10, (0.95, 0.7), (0.49, 0.6), "supported"),
        (20, 10, (0.5, 0.9), (0.3, 0.8), "supported"),
        (20, 10, (0.49, 1.0), (0.4, 0.9), "unsupported"),
        (20, 10, (1.0, 0.49), (0.9, 0.4), "unsupported"),
        (20, 10, (np.nan, 0.0), (np.nan, 0.0), "unsupported"),
        (19, 10, (1.0, 1.0), (0.9, 0.9), "untested"),
        (20, 9, (1.0, 1.0), (0.9, 0.9), "untested"),
        (80, 10, (0.9, 1.0), (0.85, 0.9), "verified"),  # active on four fifths of 100 cases
        (80, 10, (0.9, 1.0), (0.8, 0.9), "supported"),
        (80, 10, (0.8, 1.0), (0.78, 0.99), "unsupported"),  # as a label that is always true
        (1, 1, (0.2, 0.1), (0.1, 0.1), "untested"),
        (0, 0, (np.nan, np.nan), (np.nan, np.nan), "dead"),
    ],
)
def test_status(pos, users, rates, bounds, status):
    n = np.array([float(pos)]), np.array([100.0 - pos]), np.array([users])
    columns = (tuple(np.array([v]) for v in values) for values in (rates, bounds))
    assert scoring.statuses(*n, *columns).tolist() == [status]


def test_label_quality_by_hand():
    """Latent 0: said twice, right once, active twice, F1 .5; latent 1: always right, F1 1.
    Activations 1 + 3 of the first, 4 of the second: (4 x .5 + 4 x 1) / 8."""
    has = np.zeros((11, 2), dtype=np.int32)
    has[1, 0] = has[2, 1] = 1
    labeler = AttributeLabeler(
        ItemAttributes(scipy.sparse.csr_matrix(has), (("kind", "one"), ("kind", "two")))
    )
    made = cases([0, 0, 1, 1], [[1], [1], [3], [2]], [[5]] * 4, items=TEN)
    table = pd.DataFrame(
        {
            C.LATENT: [0, 1],
            C.ATTRIBUTE: ["kind", "kind"],
            C.VALUE: ["one", "two"],
            C.VIEW: ["last", "last"],
            C.THRESHOLD: [1, 1],
            C.NEGATED: [False, False],
            **{c: [None, None] for c in (C.JOINT, *C.PARTS[1], *C.PARTS[2])},
        }
    )
    examples = pd.DataFrame({C.LATENT: [0], C.TOP_ITEM: [9]})
    code = sparse([[1, 0], [0, 0], [3, 0], [0, 4]])
    tested = measure_concepts(code, ConceptDictionary(table, examples), made, labeler)
    assert tested.scores[C.F1].tolist() == [0.5, 1.0]
    assert tested.label_quality.value == pytest.approx(0.75)


def test_the_interval_of_label_quality_is_that_of_a_bootstrap_over_users():
    dictionary, made, dense, _ = scored(5, n=1500, n_users=60, noise=0.1)
    code = sparse(dense)
    quality = measure_concepts(code, dictionary, made, BLIND, hard_negatives=False).label_quality
    rng, values = np.random.default_rng(0), []
    rows_of = [np.flatnonzero(made.user == user) for user in range(made.n_users)]
    predictions = BLIND.predict(dictionary.table, made)
    steps = predictions.steps.toarray()[:, predictions.column]
    said, active = steps >= predictions.threshold, dense > 0
    for _ in range(300):
        rows = np.concatenate([rows_of[u] for u in rng.integers(0, len(rows_of), len(rows_of))])
        both, of = (said & active)[rows].sum(0), said[rows].sum(0) + active[rows].sum(0)
        weight = dense[rows].sum(0)
        values.append((2 * both / np.maximum(of, 1)) @ weight / weight.sum())
    value, low, high = quality.interval()
    assert value == pytest.approx(np.mean(values), abs=0.01)
    assert (high - low) / (2 * 1.96) == pytest.approx(np.std(values), rel=0.2)


def test_true_labels_are_verified_and_shuffled_activations_are_not():
    dictionary, made, dense, table = scored(7, n=1500, n_users=60, noise=0.02)
    assert (table[C.STATUS][:5] == "verified").all()
    assert (table[C.STATUS][5:8] == "unsupported").all()
    shuffled = sparse(dense[np.random.default_rng(0).permutation(len(dense))])
    again = score_concepts(shuffled, dictionary, made, BLIND)
    assert not again[C.STATUS].isin(["verified", "supported"]).any()
    assert again[C.AUC][:8].to_numpy() == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("n", [0, 3])
def test_code_of_other_cases_is_refused(n):
    dictionary, made, dense, _ = scored(8)
    with pytest.raises(NotEnoughData, match=f"{len(made)} held-out cases for a code of {n} rows"):
        score_concepts(sparse(dense[:n]), dictionary, made, BLIND)


def test_distinct_counts_what_the_verified_concepts_speak_of():
    labels = pd.DataFrame(
        {C.ATTRIBUTE: ["g", "g", "g", "d", "g"], C.VALUE: ["war", "war", "art", "war", "pop"]}
    ).assign(**dict.fromkeys(MEANING[3:]), **{C.NEGATED: False})
    status = ["verified", "verified", "supported", "verified", "untested"]
    scores = pd.DataFrame({C.STATUS: status})
    assert distinct(scores, labels) == 2
    labels.loc[1, C.NEGATED] = True
    assert distinct(scores, labels) == 3
    labels.loc[1, [C.NEGATED, C.JOINT, C.SECOND_ATTRIBUTE, C.SECOND_VALUE]] = (
        False,
        "or",
        "g",
        "pop",
    )
    assert distinct(scores, labels) == 3
