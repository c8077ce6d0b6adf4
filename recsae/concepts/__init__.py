"""What latents mean: what can be said of items and histories, and which predicate fits a latent.

Wording, the dictionary, what people correct in it and what "verified" means are here too. It takes
any sparse code, knows no SAE, and imports ``core``, ``recommender`` and ``capture``.
"""

from typing import TYPE_CHECKING

from recsae.core.faces import lazy

if TYPE_CHECKING:
    from recsae.concepts.attributes.table import ItemAttributes as ItemAttributes
    from recsae.concepts.dictionary import ConceptDictionary as ConceptDictionary
    from recsae.concepts.dictionary import build_concepts as build_concepts
    from recsae.concepts.label_steps import Predictions as Predictions
    from recsae.concepts.labeler import AttributeLabeler as AttributeLabeler
    from recsae.concepts.labeler import Labeler as Labeler

__all__ = [
    "AttributeLabeler",
    "ConceptDictionary",
    "ItemAttributes",
    "Labeler",
    "Predictions",
    "build_concepts",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "AttributeLabeler": "labeler",
        "ConceptDictionary": "dictionary",
        "ItemAttributes": "attributes.table",
        "Labeler": "labeler",
        "Predictions": "label_steps",
        "build_concepts": "dictionary",
    },
)
