"""For tests of recsae and of adapters: a recommender whose concepts are known, and the kit to pass."""

from recsae.testing.kit import check_recommender
from recsae.testing.planted import PlantedRecommender

__all__ = ["PlantedRecommender", "check_recommender"]
