"""The statement chosen for a latent is the best of all statements there are."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from recsae import columns as C
from recsae import labelers
from recsae.attributes import SITES, ItemAttributes, item_attributes
from recsae.catalog import build_catalog
from recsae.labelers import AttributeLabeler, sentence
from toy import cases, catalog, random_cases, sparse

# items 1-3 are red, 3-6 are old, 7 and 8 neither
RED, OLD = [1, 2, 3], [3, 4, 5, 6]
NAMES = (("colour", "red"), ("age", "old"))


def two_attributes() -> ItemAttributes:
    matrix = np.zeros((9, 2), dtype=np.int32)
    matrix[RED, 0] = 1
    matrix[OLD, 1] = 1
    return ItemAttributes(scipy.sparse.csr_matrix(matrix), NAMES)


LABELER = AttributeLabeler(two_attributes())
HAS = {"red": RED, "old": OLD}


def count(made, row: int, site: str, value: str) -> int:
    """How many items at the site have the value, one by one."""
    items = {
        "last": made.last_items[row, :1],
        "last5": made.last_items[row],
        "top1": made.top_items[row, :1],
        "top10": made.top_items[row],
    }[site]
    return sum(int(i) in HAS[value] for i in items)


def says(made, site: str, value: str, threshold: int) -> np.ndarray:
    return np.array([count(made, row, site, value) >= threshold for row in range(len(made))])


def balanced_accuracy(said: np.ndarray, active: np.ndarray) -> float:
    sensitivity = said[active].mean() if active.any() else 0.0
    specificity = (~said[~active]).mean() if (~active).any() else 1.0
    return (sensitivity + specificity) / 2


def statements() -> list[tuple[str, str, str, int]]:
    return [
        (site, attribute, value, t)
        for site, n in SITES.items()
        for attribute, value in NAMES
        for t in range(1, n + 1)
    ]


def test_by_hand():
    # Latent 0 is active where 2 of the last 5 items and more are red, latent 1 where the top
    # recommendation is old, latent 2 on the first case alone, whose last item is red and old.
    last = [[3, 1], [1, 2, 7], [7, 1], [8], [2], [7, 7, 2, 1]]
    top = [[4, 7], [7, 4], [5, 1], [1, 2], [8, 4], [3, 8]]
    code = sparse([[1, 2, 3], [2, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0], [0.5, 3, 0]])
    labels = LABELER.label(code, cases(list(range(6)), last, top))
    assert labels[C.LATENT].tolist() == [0, 1, 2]
    assert labels[C.LABEL].tolist() == [
        "At least 2 of the last 5 items are red.",
        "The top recommendation is old.",
        "The last item is old.",
    ]
    assert labels[C.NAME].tolist() == ["red", "old", "old"]
    assert labels[C.PREDICATE_SITE].tolist() == ["last5", "top1", "last"]
    assert labels[C.THRESHOLD].tolist() == [2, 1, 1]
    assert set(labels[C.LABELER]) == {"attributes"}


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), n=st.integers(4, 60), density=st.floats(0.02, 0.9))
def test_the_chosen_statement_is_the_best_of_all(seed, n, density):
    rng = np.random.default_rng(seed)
    made = random_cases(rng, n, n_users=3)
    dense = rng.random((n, 4)) * (rng.random((n, 4)) < density)
    labels = LABELER.label(sparse(dense), made)
    for latent, row in labels.iterrows():
        active = dense[:, latent] > 0
        accuracy = {s: balanced_accuracy(says(made, s[0], *s[2:]), active) for s in statements()}
        chosen = tuple(row[[C.PREDICATE_SITE, C.ATTRIBUTE, C.VALUE, C.THRESHOLD]])
        best = max(accuracy.values())
        assert accuracy[chosen] == pytest.approx(best, abs=1e-6)
        if active.any():  # of equally good ones, the simplest site
            first = next(s for s in statements() if accuracy[s] > best - 1e-6)
            assert chosen[0] == first[0]


def test_size_of_the_activation_does_not_matter():
    rng = np.random.default_rng(0)
    made = random_cases(rng, 50, 5)
    dense = rng.random((50, 3)) * (rng.random((50, 3)) < 0.4)
    one, other = (LABELER.label(sparse(x), made) for x in (dense, 100 * dense**3))
    pd.testing.assert_frame_equal(one, other)


def test_zeros_that_are_stored_are_not_active():
    rng = np.random.default_rng(0)
    made = random_cases(rng, 30, 5)
    dense = rng.random((30, 2)) * (rng.random((30, 2)) < 0.4)
    stored = sparse(dense + 1)
    stored.data -= 1
    assert stored.nnz == 60
    pd.testing.assert_frame_equal(LABELER.label(stored, made), LABELER.label(sparse(dense), made))


@pytest.mark.parametrize("chunk", [1, 3, 1024])
def test_chunks_of_latents_do_not_matter(monkeypatch, chunk):
    rng = np.random.default_rng(1)
    made, dense = random_cases(rng, 40, 5), rng.random((40, 7)) * (rng.random((40, 7)) < 0.3)
    whole = LABELER.label(sparse(dense), made)
    monkeypatch.setattr(labelers, "CHUNK", chunk)
    pd.testing.assert_frame_equal(LABELER.label(sparse(dense), made), whole)


def test_many_cases_are_thinned_evenly(monkeypatch):
    rng = np.random.default_rng(2)
    made, dense = random_cases(rng, 41, 5), rng.random((41, 3)) * (rng.random((41, 3)) < 0.3)
    monkeypatch.setattr(labelers, "MAX_CASES", 21)
    every_other = np.arange(0, 41, 2)
    pd.testing.assert_frame_equal(
        LABELER.label(sparse(dense), made),
        LABELER.label(sparse(dense[every_other]), made.take(every_other)),
    )


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_predictions_are_what_the_statements_say(seed):
    rng = np.random.default_rng(seed)
    construction, others = random_cases(rng, 30, 4), random_cases(rng, 20, 4)
    dense = rng.random((30, 6)) * (rng.random((30, 6)) < 0.3)
    labels = LABELER.label(sparse(dense), construction)
    found = LABELER.predict(labels, others)
    assert found.levels.shape[1] == len({*zip(labels[C.PREDICATE_SITE], labels[C.VALUE])})  # noqa: B905
    for j, row in labels.iterrows():
        level = found.levels[:, [found.column[j]]].toarray().ravel()
        where = row[C.PREDICATE_SITE], row[C.VALUE]
        assert level.tolist() == [count(others, i, *where) for i in range(20)]
        assert found.threshold[j] == row[C.THRESHOLD]


def test_labels_of_items_without_titles_and_attributes():
    items = build_catalog(["[PAD]", *catalog().external_ids[1:]], None)
    made = cases(list(range(8)), [[i] for i in range(1, 9)], [[5, 6]] * 8, items=items)
    labeler = AttributeLabeler(item_attributes(items, made))
    # items 1 and 2 are the first quarter of the interactions: the band says both, the item one
    labels = labeler.label(sparse(np.array([[1, 0, 0, 0, 0, 0, 0, 0], [1] * 2 + [0] * 6]).T), made)
    assert labels[C.LABEL].tolist() == [
        "The last item is “m1”.",
        "The last item is among the most popular.",
    ]
    assert labels[C.NAME].tolist() == ["item: m1", "most popular items"]
    assert labeler.predict(labels, made).levels.toarray().sum(0).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("site", "threshold", "text"),
    [
        ("last", 1, "The last item is X."),
        ("top1", 1, "The top recommendation is X."),
        ("last5", 1, "At least 1 of the last 5 items is X."),
        ("last5", 5, "All of the last 5 items are X."),
        ("top10", 7, "At least 7 of the top 10 recommendations are X."),
    ],
)
def test_sentences(site, threshold, text):
    assert sentence(site, threshold, "X") == text
