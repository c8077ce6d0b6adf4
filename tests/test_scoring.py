"""Counts and figures of the scorer against scikit-learn, one latent at a time."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from toy import cases, random_cases, sparse

from recsae import columns as C
from recsae import scoring
from recsae.attributes import ItemAttributes
from recsae.cases import Cases
from recsae.catalog import build_catalog
from recsae.concepts import ConceptDictionary, build_concepts
from recsae.errors import NotEnoughData
from recsae.intervals import balanced_accuracy_bound
from recsae.labelers import AttributeLabeler
from recsae.scoring import distinct, score_concepts

N_ITEMS = 80
ITEMS = build_catalog([str(i) for i in range(N_ITEMS + 1)], None)
HAS = np.random.default_rng(0).random((N_ITEMS + 1, 5)) < 0.3
HAS[0] = False
NAMES = tuple(("kind", str(v)) for v in range(5))
LABELER = AttributeLabeler(ItemAttributes(scipy.sparse.csr_matrix(HAS.astype(np.int32)), NAMES))


def random_code(rng: np.random.Generator, made: Cases, noise: float = 0.1) -> np.ndarray:
    """Latents 0 to 4 follow the last items' kinds, 5 to 7 nothing; 8 is never active."""
    dense = np.zeros((len(made), 9))
    dense[:, :5] = HAS[made.last_items].sum(1) >= 2
    dense[:, 5:8] = rng.random((len(made), 3)) < 0.3
    flipped = rng.random((len(made), 8)) < noise
    dense[:, :8] = np.where(flipped, 1 - dense[:, :8], dense[:, :8])
    return dense * rng.uniform(0.1, 3, dense.shape)


def scored(seed: int, n: int = 250, n_users: int = 25, noise: float = 0.1, **options):
    """A dictionary of some cases, and its scores on others."""
    rng = np.random.default_rng(seed)
    construction = random_cases(rng, 200, 20, items=ITEMS)
    heldout = random_cases(rng, n, n_users, items=ITEMS)
    dictionary = build_concepts(sparse(random_code(rng, construction)), construction, LABELER)
    dense = random_code(rng, heldout, noise)
    return (
        dictionary,
        heldout,
        dense,
        score_concepts(sparse(dense), dictionary, heldout, LABELER, **options),
    )


def level_of(row: pd.Series, made: Cases) -> np.ndarray:
    items = {
        "last": made.last_items[:, :1],
        "last5": made.last_items,
        "top1": made.top_items[:, :1],
        "top10": made.top_items,
    }[row[C.PREDICATE_SITE]]
    return HAS[items, int(row[C.VALUE])].sum(1)


def kept_cases(dictionary: ConceptDictionary, latent: int, made: Cases) -> np.ndarray:
    shown = dictionary.examples.loc[dictionary.examples[C.LATENT] == latent, C.TOP_ITEM]
    return np.flatnonzero(~np.isin(made.top_items[:, 0], shown.to_numpy()))


@settings(max_examples=12)
@given(seed=st.integers(0, 10_000))
def test_figures_equal_scikit_learns(seed):
    dictionary, made, dense, table = scored(seed, hard_negatives=False)
    assert table[C.LATENT].tolist() == list(range(9))
    for latent, row in table.iterrows():
        label = dictionary.table.loc[latent]
        rows = kept_cases(dictionary, latent, made)
        active, level = dense[rows, latent] > 0, level_of(label, made)[rows]
        said, user = level >= label[C.THRESHOLD], made.user[rows]
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
            C.AUC: metrics.roc_auc_score(active, level),
            C.AVERAGE_PRECISION: metrics.average_precision_score(active, level),
        }
        for name, value in expected.items():
            assert row[name] == pytest.approx(value, nan_ok=True), name

        def per_user(what, user=user):
            return np.bincount(user, what, minlength=25)[:, None]

        counts = (active & said, active, ~active & ~said, ~active)
        low = balanced_accuracy_bound(*(per_user(c) for c in counts))[1]
        assert row[C.CI_LOW] == pytest.approx(float(low[0]))


def test_shown_examples_do_remove_cases():
    """So that the test above sees removal at work, and not only on one side."""
    dictionary, made, dense, _ = scored(0)
    removed = [
        np.setdiff1d(np.arange(len(made)), kept_cases(dictionary, latent, made))
        for latent in range(8)
    ]
    assert min(len(r) for r in removed) > 10
    assert any((dense[r, j] > 0).any() for j, r in enumerate(removed))
    assert any((dense[r, j] == 0).any() for j, r in enumerate(removed))


def test_by_hand():
    # One latent, "the last item is 1". Cases of users a a b b b; recommendations of item 9 were
    # shown. Right: 0, 3. Active but item 2: 1. Said but not active: 2. Case 4 was shown.
    has = np.zeros((11, 1), dtype=np.int32)
    has[1] = 1
    labeler = AttributeLabeler(ItemAttributes(scipy.sparse.csr_matrix(has), (("kind", "one"),)))
    made = cases([0, 0, 1, 1, 1], [[1], [2], [1], [2], [1]], [[5], [5], [5], [5], [9]], items=TEN)
    table = pd.DataFrame(
        {
            C.LATENT: [0],
            C.ATTRIBUTE: ["kind"],
            C.VALUE: ["one"],
            C.PREDICATE_SITE: ["last"],
            C.THRESHOLD: [1],
        }
    )
    shown = pd.DataFrame({C.LATENT: [0], C.TOP_ITEM: [9]})
    code = sparse([[2], [1], [0], [0], [3]])
    row = score_concepts(code, ConceptDictionary(table, shown), made, labeler).iloc[0]
    assert (row[C.N_POS], row[C.N_NEG], row[C.N_USERS_POS]) == (2, 2, 1)
    assert (row[C.RECALL], row[C.PRECISION], row[C.SPECIFICITY]) == (0.5, 0.5, 0.5)
    assert row[C.STATUS] == "untested"


TEN = build_catalog([str(i) for i in range(11)], None)


@pytest.mark.parametrize("chunk", [1, 2, 512])
def test_chunks_of_labels_do_not_matter(monkeypatch, chunk):
    whole = scored(3)[-1]
    monkeypatch.setattr(scoring, "CHUNK", chunk)
    monkeypatch.setattr(scoring, "BLOCK", 3)
    pd.testing.assert_frame_equal(scored(3)[-1], whole)


def test_zeros_that_are_stored_are_not_active():
    dictionary, made, dense, table = scored(4)
    stored = sparse(dense + 1)
    stored.data -= 1
    assert stored.nnz == dense.size
    again = score_concepts(stored, dictionary, made, LABELER, hard_negatives=False)
    expected = table.assign(**{C.HARD_SPECIFICITY: np.nan})
    pd.testing.assert_frame_equal(again, expected, check_exact=False)


def hard_specificity(dictionary, made, dense, latent, n_pool, n_probes, n_hard) -> float:
    """As the design says it: one latent, one case after another."""
    unit = made.states / np.linalg.norm(made.states, axis=1, keepdims=True)
    label = dictionary.table.loc[latent]
    said = level_of(label, made) >= label[C.THRESHOLD]
    positives = np.flatnonzero(dense[:, latent] > 0)
    probes = positives[np.linspace(0, len(positives) - 1, n_probes).astype(int)]
    pool = np.unique(np.linspace(0, len(made) - 1, n_pool).astype(int))
    allowed = set(kept_cases(dictionary, latent, made)) - set(positives)
    quiet = [row for row in pool if row in allowed]
    nearest = sorted(quiet, key=lambda row: -max(float(unit[row] @ unit[p]) for p in probes))
    return float(np.mean([not said[row] for row in nearest[:n_hard]]))


@pytest.mark.parametrize(("pool", "probes", "hard"), [(10_000, 32, 100), (120, 4, 10), (40, 2, 60)])
def test_hard_negatives_are_the_nearest_inactive_cases(monkeypatch, pool, probes, hard):
    monkeypatch.setattr(scoring, "N_POOL", pool)
    monkeypatch.setattr(scoring, "N_PROBES", probes)
    monkeypatch.setattr(scoring, "N_HARD", hard)
    dictionary, made, dense, table = scored(5)
    tested = table.index[table[C.N_POS] >= 20]
    assert len(tested) >= 7
    for latent in tested:
        expected = hard_specificity(dictionary, made, dense, latent, pool, probes, hard)
        assert table[C.HARD_SPECIFICITY][latent] == pytest.approx(expected)
    assert table[C.HARD_SPECIFICITY].drop(tested).isna().all()


def test_hard_negatives_are_harder_where_neighbours_differ():
    """States in which the label's own attribute is visible: errors are near the positives."""
    rng = np.random.default_rng(0)
    dictionary, made, dense, _ = scored(6, n=1500, n_users=60)
    states = HAS[made.last_items].sum(1) + 0.1 * rng.normal(size=(1500, 5))
    near = Cases(**{**vars_of(made), "states": states.astype(np.float32)})
    table = score_concepts(sparse(dense), dictionary, near, LABELER)
    assert (table[C.HARD_SPECIFICITY][:5] < table[C.SPECIFICITY][:5]).all()


def vars_of(made: Cases) -> dict:
    return {name: getattr(made, name) for name in Cases.__dataclass_fields__}


@pytest.mark.parametrize(
    ("pos", "users", "accuracy", "low", "status"),
    [
        (20, 10, 0.95, 0.80, "verified"),
        (20, 10, 0.95, 0.79, "supported"),
        (20, 10, 0.80, 0.60, "supported"),
        (20, 10, 0.79, 0.60, "unsupported"),
        (20, 10, np.nan, np.nan, "unsupported"),
        (19, 10, 1.0, 0.9, "untested"),
        (20, 9, 1.0, 0.9, "untested"),
        (1, 1, 0.2, 0.1, "untested"),
        (0, 0, np.nan, np.nan, "dead"),
    ],
)
def test_status(pos, users, accuracy, low, status):
    values = (np.array([float(v)]) for v in (pos, users, accuracy, low))
    assert scoring._status(*values).tolist() == [status]


def test_true_labels_are_verified_and_shuffled_activations_are_not():
    dictionary, made, dense, table = scored(7, n=1500, n_users=60, noise=0.02)
    assert (table[C.STATUS][:5] == "verified").all()
    assert (table[C.STATUS][5:8] == "unsupported").all()
    shuffled = sparse(dense[np.random.default_rng(0).permutation(len(dense))])
    again = score_concepts(shuffled, dictionary, made, LABELER)
    assert not again[C.STATUS].isin(["verified", "supported"]).any()
    assert again[C.AUC][:8].to_numpy() == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("n", [0, 3])
def test_code_of_other_cases_is_refused(n):
    dictionary, made, dense, _ = scored(8)
    with pytest.raises(NotEnoughData, match=f"{len(made)} held-out cases for a code of {n} rows"):
        score_concepts(sparse(dense[:n]), dictionary, made, LABELER)


def test_distinct_counts_what_the_verified_concepts_speak_of():
    labels = pd.DataFrame(
        {C.ATTRIBUTE: ["g", "g", "g", "d", "g"], C.VALUE: ["war", "war", "art", "war", "pop"]}
    )
    status = ["verified", "verified", "supported", "verified", "untested"]
    assert distinct(pd.DataFrame({C.STATUS: status}), labels) == 2
