"""The concept dictionary: labels, examples, looking up, and the items behind a direction."""

import numpy as np
import pandas as pd
import pytest
import torch

from helpers.labels import LABELER
from helpers.toy import cases, catalog, head, random_cases, sparse
from recsae.concepts.dictionary import (
    AT_QUANTILE,
    TOP,
    ConceptDictionary,
    build_concepts,
    item_effects,
)
from recsae.core import columns as C
from recsae.core.errors import ArtifactMismatch, InvalidInput, NotEnoughData


def examples_of(dictionary: ConceptDictionary, latent: int, kind: str) -> pd.DataFrame:
    rows = dictionary.examples
    return rows[(rows[C.LATENT] == latent) & (rows[C.KIND] == kind)]


def test_fire_rate_and_top_examples_by_hand():
    # cases 0-2 are of user 0, 3-4 of user 1, 5 of user 2
    made = cases([0, 0, 0, 1, 1, 2], [[i] for i in range(1, 7)], [[i, 8] for i in range(1, 7)])
    code = sparse([[1, 0], [5, 0], [4, 0], [2, 0], [0, 0], [3, 0]])
    dictionary = build_concepts(code, made, LABELER)
    assert dictionary.table[C.FIRE_RATE].tolist() == [pytest.approx(5 / 6), 0]
    top = examples_of(dictionary, 0, TOP)
    assert top[C.CASE].tolist() == [1, 5, 3]  # the best of each user, best first
    assert top[C.ACTIVATION].tolist() == [5, 3, 2]
    assert top[C.USER].tolist() == ["u0", "u2", "u1"]
    assert top[C.TOP_ITEM].tolist() == [2, 6, 4]
    assert top[C.QUANTILE].isna().all()
    # ranked 5 4 3 2 1: .9 and .75 and .5 ... of the way up are at (1 - q) * 4 = .4, 1, 2, 3, 3.8
    quantiles = examples_of(dictionary, 0, AT_QUANTILE)
    assert quantiles[C.QUANTILE].tolist() == [0.9, 0.75, 0.5, 0.25, 0.05]
    assert quantiles[C.ACTIVATION].tolist() == [5, 4, 3, 2, 1]
    assert len(dictionary.examples) == 8  # none for the latent that is never active


def test_examples_show_the_items_up_to_the_case():
    made = cases([0, 0], [[1], [1, 1]], [[2], [3]])
    dictionary = build_concepts(sparse([[0], [1]]), made, LABELER)
    assert examples_of(dictionary, 0, TOP)[C.ITEMS].tolist() == [[1, 1]]


def test_at_most_five_top_examples_of_different_users():
    rng = np.random.default_rng(0)
    made = random_cases(rng, 200, 20)
    dense = rng.random((200, 5)) * (rng.random((200, 5)) < 0.5)
    dictionary = build_concepts(sparse(dense), made, LABELER)
    for latent in range(5):
        top = examples_of(dictionary, latent, TOP)
        best = pd.Series(sparse(dense).toarray()[:, latent]).groupby(made.user).max()
        assert top[C.USER].is_unique
        assert top[C.ACTIVATION].tolist() == best.nlargest(5).tolist()
        assert len(examples_of(dictionary, latent, AT_QUANTILE)) == 5


def test_every_latent_has_a_row():
    made = random_cases(np.random.default_rng(0), 20, 4)
    dictionary = build_concepts(sparse(np.eye(20, 7)), made, LABELER)
    assert dictionary.table[C.LATENT].tolist() == list(range(7))


@pytest.mark.parametrize(
    ("code", "words"), [(np.zeros((3, 2)), "0 activations"), (np.eye(2), "3 cases")]
)
def test_nothing_to_build_from(code, words):
    with pytest.raises(NotEnoughData, match=words):
        build_concepts(sparse(code), cases([0, 1, 2], [[1]] * 3, [[1]] * 3), LABELER)


def test_save_and_load(tmp_path):
    made = random_cases(np.random.default_rng(0), 40, 5)
    dictionary = build_concepts(sparse(np.eye(40, 6)), made, LABELER)
    dictionary.save(tmp_path)
    again = ConceptDictionary.load(tmp_path)
    pd.testing.assert_frame_equal(again.table, dictionary.table)
    lists = [list(x) for x in again.examples[C.ITEMS]]
    assert lists == dictionary.examples[C.ITEMS].tolist()
    pd.testing.assert_frame_equal(
        again.examples.drop(columns=C.ITEMS),
        dictionary.examples.drop(columns=C.ITEMS).reset_index(drop=True),
    )
    (tmp_path / "examples.parquet").unlink()
    with pytest.raises(ArtifactMismatch):
        ConceptDictionary.load(tmp_path)


@pytest.fixture
def named() -> ConceptDictionary:
    names = ["Horror", "Sci-Fi", "Horror", "title: star", "1990s"]
    labels = [f"At least 2 of the last 5 items are {n}." for n in names]
    table = pd.DataFrame({C.LATENT: range(5), C.NAME: names, C.ABOUT: names, C.LABEL: labels})
    return ConceptDictionary(table, pd.DataFrame())


def test_find(named):
    assert named.find("Horror") == [0, 2]
    assert named.find(" horror ") == [0, 2]
    assert named.find("3") == [3]
    assert named.find("1990s") == [4]
    assert named.find("Horror", among=np.array([2, 4])) == [2]
    assert named.find("Horror", among=np.array([1])) == [0, 2]  # rather all than none


@pytest.mark.parametrize(
    ("concept", "words"),
    [
        ("Horor", r"'Horor'\. Did you mean 'Horror'\?"),
        ("5", "no latent 5: latents are numbered 0 to 4"),
        ("-1", "No concept is named '-1'"),
        ("²", "No concept is named '²'"),
        ("", "No concept is named ''"),
    ],
)
def test_unknown_concepts(named, concept, words):
    with pytest.raises(InvalidInput, match=words):
        named.find(concept)


def test_search(named):
    assert named.search("HORR")[C.LATENT].tolist() == [0, 2]
    assert named.search("last 5")[C.LATENT].tolist() == [0, 1, 2, 3, 4]
    assert named.search("(").empty  # text, not a pattern
    assert named.search("sci.fi").empty


def test_items_that_a_direction_promotes_and_demotes():
    table = np.zeros((9, 2))
    table[1:] = np.array([[i, -i * i] for i in range(1, 9)])
    table[0] = 1000  # padding is no item
    up, weight, down, loss = item_effects(torch.eye(2), head(table), catalog())
    assert up.tolist() == [[8, 7, 6, 5, 4], [1, 2, 3, 4, 5]]
    assert down.tolist() == [[1, 2, 3, 4, 5], [8, 7, 6, 5, 4]]
    np.testing.assert_allclose(weight[0], [3.5, 2.5, 1.5, 0.5, -0.5])  # the mean of 1 to 8 is 4.5
    np.testing.assert_allclose(loss[1], [25.5 - n * n for n in (8, 7, 6, 5, 4)])  # of squares 25.5


def test_adding_a_constant_to_every_item_changes_no_effect():
    rng = np.random.default_rng(0)
    table, directions = rng.normal(size=(9, 4)), torch.from_numpy(rng.normal(size=(3, 4))).float()
    one = item_effects(directions, head(table), catalog())
    other = item_effects(directions, head(table + 5.0), catalog())
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
