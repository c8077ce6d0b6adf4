"""Places on the map: what does the same to the scores is close together, the same in every run."""

import numpy as np
import pandas as pd
import pytest

from helpers import runs
from recsae.core import columns as C
from recsae.pipeline import concept_map
from recsae.pipeline.concept_map import layout, places_of_concepts
from recsae.report.write import read_report

THREE_WAYS = np.repeat(np.eye(3), 8, axis=0) + np.random.default_rng(0).normal(0, 0.05, (24, 3))


def test_neighbours_are_those_with_the_same_effect():
    places = layout(THREE_WAYS)
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    assert (apart.argmin(1) // 8).tolist() == np.repeat([0, 1, 2], 8).tolist()
    assert np.abs(places).max() == 1


def test_size_of_an_effect_does_not_move_its_place():
    sizes = np.linspace(0.5, 20, 24)[:, None]
    np.testing.assert_allclose(layout(THREE_WAYS * sizes), layout(THREE_WAYS), atol=0.01)


def test_the_same_places_again():
    assert layout(THREE_WAYS).tobytes() == layout(THREE_WAYS).tobytes()


@pytest.mark.parametrize(
    "effects", [np.eye(3), np.ones((4, 2)), np.zeros((3, 2)), np.eye(5)[:, :1], np.ones((9, 1))]
)
def test_few_concepts_or_the_same_ones_have_places_too(effects):
    places = layout(effects)
    assert places.shape == (len(effects), 2)
    assert np.isfinite(places).all()
    assert np.abs(places).max() <= 1


def scores_of(statuses, explains):
    n = len(statuses)
    return pd.DataFrame(
        {C.LATENT: range(n), C.STATUS: statuses, C.EXPLAINS: explains, C.PRECISION: [0.5] * n}
    )


def test_verified_concepts_are_on_it_the_most_useful_ones(monkeypatch):
    monkeypatch.setattr(concept_map, "MAX_CONCEPTS", 3)
    scores = scores_of(["verified", "supported", *["verified"] * 4], [0.1, 0.9, 0.4, 0.3, 0.2, 0.0])
    assert list(places_of_concepts(runs.planted_open(), scores)) == [2, 3, 4]


def test_what_does_not_come_back_is_less_useful(monkeypatch):
    monkeypatch.setattr(concept_map, "MAX_CONCEPTS", 3)
    back = dict(enumerate([0.0, 1.0, 1.0, 1.0]))
    monkeypatch.setattr(
        concept_map, "with_back", lambda rows, _: rows.assign(back=rows[C.LATENT].map(back))
    )
    scores = scores_of(["verified"] * 4, [0.9, 0.1, 0.2, 0.3])
    assert list(places_of_concepts(runs.planted_open(), scores)) == [1, 2, 3]


def test_two_make_no_map():
    scores = scores_of(["verified", "verified", "supported"], [0.1, 0.2, 0.3])
    assert places_of_concepts(runs.planted_open(), scores) == {}


def test_the_report_has_the_places(planted_run):
    opened, concepts = runs.planted_open(), read_report(planted_run).concepts.list
    found = {c.latent: (c.x, c.y) for c in concepts if c.x is not None}
    assert found == places_of_concepts(opened, opened.label_scores)
    assert set(found) == {c.latent for c in concepts if c.status == "verified"}
    assert len(found) >= 3
