"""For tests: the kit that every adapter passes, and a recommender whose concepts are known.

It imports ``core``, ``recommender`` and ``capture``.
"""

from typing import TYPE_CHECKING

from recsae.core.faces import lazy

if TYPE_CHECKING:
    from recsae.testing.kit import check_recommender as check_recommender
    from recsae.testing.planted import PlantedRecommender as PlantedRecommender

__all__ = ["PlantedRecommender", "check_recommender"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "PlantedRecommender": "planted",
        "check_recommender": "kit",
    },
)
