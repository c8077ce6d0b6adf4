"""What inspect says that a run would do is what a run with the defaults does."""

from recsae.run.config import RunConfig
from recsae.run.preview import inspection
from recsae.run.record import Run
from recsae.run.workspace import Workspace
from recsae.testing import PlantedRecommender


def test_the_sae_that_would_be_trained_is_the_one_that_a_run_trains(tmp_path):
    recommender = PlantedRecommender(n_users=30, n_items=40, n_concepts=4, width=8)
    work = Workspace(Run(tmp_path / "run", RunConfig(core="none", samples=2_000)), recommender)
    made = work._sae_config(4)
    assert work.sae.config.n_latents >= made.n_latents
    assert made.activation == RunConfig().activation
    words = f"{made.activation} SAE, {made.n_latents:,} latents, k = {made.k} or more"
    assert inspection(recommender)["would train"] == words
