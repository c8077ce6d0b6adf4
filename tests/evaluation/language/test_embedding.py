"""The score of a label's words, on texts and codes worked out by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from helpers import toy
from recsae.core import columns as C
from recsae.evaluation.language.embedding import embedding_scores, fit_vectors
from recsae.evaluation.language.prompts import ItemTexts
from recsae.recommender.catalog import build_catalog

GENRES = ("Horror", "Western", "Musical", "Drama")
N_ITEMS = 60


def catalog():
    """Item i has genre i mod 4 and a title that says nothing."""
    ids = ["[PAD]", *(f"i{i}" for i in range(1, N_ITEMS + 1))]
    rows = {"item_id": ids, "title": [f"name{i}" for i in range(N_ITEMS + 1)]}
    rows["genre"] = [GENRES[i % 4] for i in range(N_ITEMS + 1)]
    return build_catalog(ids, pd.DataFrame(rows).iloc[1:])


ITEMS = catalog()


def made(n=400, seed=0):
    return toy.random_cases(np.random.default_rng(seed), n, 40, items=ITEMS)


def shares(cases):
    """How many of the last five items and the recommendation have each genre."""
    items = np.c_[cases.last_items, cases.top_items[:, :1]]
    return np.stack([(items % 4 == g).sum(1) for g in range(4)], axis=1)


def labels(*sentences):
    return pd.DataFrame({C.LATENT: range(len(sentences)), C.LABEL: sentences})


def scores(code, cases, table, **options):
    found = embedding_scores(toy.sparse(code), cases, table, fit_vectors(cases), **options)
    return found[C.EMBEDDING_AUC].to_numpy()


def test_true_labels_score_high_and_swapped_ones_low():
    cases = made()
    code = (shares(cases) >= 3).astype(float)
    true = labels(*(f"At least 3 of the last 5 items are {g}." for g in GENRES))
    assert (scores(code, cases, true) > 0.95).all()
    swapped = true.assign(**{C.LABEL: true[C.LABEL].to_numpy()[[1, 0, 3, 2]]})
    assert (scores(code, cases, swapped) < 0.5).all()


def test_equals_sklearn_with_ties():
    """Vectors given by hand: the share of Horror, on one axis, against the rest on another."""
    cases = made()

    def vectors(texts):
        counts = np.array([[t.count("Horror"), len(t.split()) / 4] for t in texts], dtype=float)
        return np.where(counts[:, :1] + counts[:, 1:] > 0, counts, 0)

    rng = np.random.default_rng(1)
    code = rng.random((400, 3)) * (rng.random((400, 3)) < 0.3)
    said = labels("Horror", "Horror Horror Horror Horror", "one two three four")
    found = embedding_scores(toy.sparse(code), cases, said, vectors)
    texts = ItemTexts(ITEMS)
    shown = [
        " ".join(texts[i] for i in [*last, top])
        for last, top in zip(cases.last_items.tolist(), cases.top_items[:, 0].tolist(), strict=True)
    ]
    near = [v / np.linalg.norm(v) for v in vectors(shown).astype(np.float32)]
    for j, sentence in enumerate(said[C.LABEL]):
        label = vectors([sentence])[0].astype(np.float32)
        similarity = np.round([v @ (label / np.linalg.norm(label)) for v in near], 6)
        expected = roc_auc_score(code[:, j] > 0, similarity)
        assert found[C.EMBEDDING_AUC][j] == pytest.approx(expected, abs=2e-3)
    assert found[C.N_POS].tolist() == (code > 0).sum(0).tolist()
    assert (found[C.N_POS] + found[C.N_NEG] == 400).all()


def test_nothing_is_said_where_nothing_is_known():
    """No known word; 19 active cases; nine users; always active: untested, not 0.5."""
    cases = made()
    code = np.zeros((400, 5))
    code[::10, 0] = 1
    code[np.arange(19) * 20, 1] = 1
    code[np.flatnonzero(cases.user < 9), 2] = 1
    code[:, 3] = 1
    code[::20, 4] = 1
    found = scores(code, cases, labels("zzz of the", *["Horror"] * 4))
    assert np.isnan(found[:4]).all()
    assert np.isfinite(found[4])


def test_counts_in_a_label_are_no_words():
    """A title may be "10"; "At least 6 of the top 10 recommendations are popular" is untested."""
    frame = ITEMS.frame.assign(**{C.TITLE: ["10"] * (N_ITEMS + 1)})
    cases = toy.random_cases(np.random.default_rng(0), 400, 40, items=replace(ITEMS, frame=frame))
    said = labels("At least 6 of the top 10 recommendations are popular.", "10 Horror")
    found = scores(np.tile(shares(cases)[:, :1] >= 3, 2), cases, said)
    assert np.isnan(found[0])
    assert found[1] > 0.95


def test_cases_are_thinned_to_a_limit():
    cases = made()
    code = toy.sparse((shares(cases) >= 2).astype(float))
    found = embedding_scores(code, cases, labels(*GENRES), fit_vectors(cases), limit=100)
    assert (found[C.N_POS] + found[C.N_NEG] == 100).all()


def test_any_subset_of_latents_may_be_asked_about():
    cases = made()
    code = (shares(cases) >= 3).astype(float)
    some = pd.DataFrame({C.LATENT: [3, 1], C.LABEL: ["Drama", "Western"]})
    whole = scores(code, cases, labels(*GENRES))
    assert scores(code, cases, some).tolist() == whole[[3, 1]].tolist()


def test_items_without_words_test_nothing():
    ids = ["[PAD]", *"abcdefgh"]
    cases = toy.random_cases(np.random.default_rng(0), 100, 20, items=build_catalog(ids, None))
    code = (np.arange(100)[:, None] % 2).astype(float)
    assert np.isnan(scores(code, cases, labels("Horror"))).all()


def test_many_words_are_reduced():
    vectors = fit_vectors(made(), n_dimensions=10)
    near, far = vectors(["Horror", "Horror Western", "Drama"])[1:] @ vectors(["Horror"])[0]
    assert vectors(["Horror"]).shape == (1, 10)
    assert near > far


@pytest.mark.end_to_end
def test_many_latents_are_scored_as_each_alone():
    cases = made(2_000)
    code = np.random.default_rng(0).random((2_000, 300)) < 0.03
    names = [f"At least {j} are {GENRES[j % 4]} name{j % 50}" for j in range(300)]
    together = scores(code, cases, labels(*names))
    for j in (0, 131, 299):
        alone = scores(code[:, [j]], cases, labels(names[j]))
        assert together[j] == pytest.approx(alone[0], abs=1e-4)
