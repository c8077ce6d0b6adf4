"""For tests: a recommender whose concepts are known, and the kit that adapters pass."""

from recsae.testing.kit import check_recommender
from recsae.testing.planted import PlantedRecommender

__all__ = ["PlantedRecommender", "check_recommender"]
