"""Input that no run can be made of: a sentence, and nothing left that looks like a result."""

import pytest

from helpers.runs import CONFIG, planted
from recsae.core.errors import InvalidInput, NotEnoughData, RecSAEError
from recsae.core.files import read_json
from recsae.pipeline.plan import run_pipeline
from recsae.testing.planted import PlantedRecommender

pytestmark = pytest.mark.end_to_end


def refused(error, match, recommender=None, folder=None, **change):
    with pytest.raises(error, match=match) as caught:
        run_pipeline(recommender or planted(), folder, CONFIG.model_copy(update=change))
    assert "\n" not in str(caught.value)
    return caught.value


def test_more_active_latents_than_there_are(tmp_path):
    error = refused(
        InvalidInput, "k=17 is larger than the number of latents", folder=tmp_path / "run", k=17
    )
    assert error.exit_code == 2
    refused(
        InvalidInput, r"k=193 is larger .* \(192\)", folder=tmp_path / "run", k=193, latents=None
    )
    assert not (tmp_path / "run").exists()


def test_an_unknown_site(tmp_path):
    refused(
        RecSAEError,
        r"no site 'sequense'\. Did you mean 'sequence'",
        folder=tmp_path / "run",
        site="sequense",
    )
    assert not (tmp_path / "run").exists()


def test_three_users(tmp_path):
    few = PlantedRecommender(n_users=3, n_items=40, n_concepts=4, width=8)
    error = refused(NotEnoughData, "users", few, tmp_path / "run")
    assert error.exit_code == 3
    assert not (tmp_path / "run").exists()


def test_nan_in_hidden_states(tmp_path):
    recommender = PlantedRecommender(n_users=60, n_items=40, n_concepts=4, width=8)
    recommender.model.directions[0, 0] = float("nan")
    refused(RecSAEError, "Planted gives NaN or infinite states", recommender, tmp_path / "run")
    left = [p for p in (tmp_path / "run").rglob("*") if p.is_file()]
    assert [p.name for p in left] == ["run.json"]
    assert read_json(left[0])["stages"] == {}
