"""Finished runs explored: one latent, one item, a cohort, another run, a file carried over.

It changes no run, and imports everything below the pipeline but attribution. People ask a run by
the methods of :func:`recsae.open_run`; these are what they get.
"""

from typing import TYPE_CHECKING

from recsae.core.faces import lazy

if TYPE_CHECKING:
    from recsae.explore.audit import AuditSheet as AuditSheet
    from recsae.explore.compare import Comparison as Comparison
    from recsae.explore.compare_page import write_comparison as write_comparison
    from recsae.explore.concept_facts import ItemLatents as ItemLatents
    from recsae.explore.concept_facts import LatentFacts as LatentFacts
    from recsae.explore.migration import Migration as Migration

__all__ = [
    "AuditSheet",
    "Comparison",
    "ItemLatents",
    "LatentFacts",
    "Migration",
    "write_comparison",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "AuditSheet": "audit",
        "Comparison": "compare",
        "ItemLatents": "concept_facts",
        "LatentFacts": "concept_facts",
        "Migration": "migration",
        "write_comparison": "compare_page",
    },
)
