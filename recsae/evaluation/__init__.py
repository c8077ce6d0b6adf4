"""Evaluation of labels and dictionaries.

Scores, named share, attribute AUC, evidence, reconstruction, stability, the RecSAE paper's protocol
and a language model as judge: functions of codes, cases and labels that know no run and no folder.
It imports ``core``, ``recommender``, ``capture``, ``sae`` and ``concepts``.
"""

from typing import TYPE_CHECKING

from recsae.core.faces import lazy

if TYPE_CHECKING:
    from recsae.evaluation.evidence import build_evidence as build_evidence
    from recsae.evaluation.reconstruction import compare_lists as compare_lists
    from recsae.evaluation.scoring import score_concepts as score_concepts
    from recsae.evaluation.share import named_share as named_share

__all__ = ["build_evidence", "compare_lists", "named_share", "score_concepts"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "build_evidence": "evidence",
        "compare_lists": "reconstruction",
        "named_share": "share",
        "score_concepts": "scoring",
    },
)
