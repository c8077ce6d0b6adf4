"""Explanations of recommendations: why an item has its score after a history.

Terms of the score, and history items by leaving them out and by integrated gradients: functions of
a recommender and an SAE. It imports ``core``, ``recommender`` and ``sae``.
"""

from typing import TYPE_CHECKING

from recsae.core.faces import lazy

if TYPE_CHECKING:
    from recsae.attribution.explanation import Explanation as Explanation
    from recsae.attribution.explanation import explain as explain
    from recsae.attribution.score_terms import explain_score as explain_score

__all__ = ["Explanation", "explain", "explain_score"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Explanation": "explanation",
        "explain": "explanation",
        "explain_score": "score_terms",
    },
)
