"""Finished runs explored: one latent, one item, a cohort, another run, a file carried over.

It changes no run, and imports everything below the pipeline but attribution.
"""

from typing import TYPE_CHECKING

from recsae.core.faces import lazy

if TYPE_CHECKING:
    from recsae.explore.audit import audit_sheet as audit_sheet
    from recsae.explore.cohorts import Profiler as Profiler
    from recsae.explore.compare import compare_runs as compare_runs
    from recsae.explore.compare_page import write_comparison as write_comparison
    from recsae.explore.concept_facts import concept_rows as concept_rows
    from recsae.explore.concept_facts import latent_facts as latent_facts
    from recsae.explore.migration import migrate as migrate

__all__ = [
    *("Profiler", "audit_sheet", "compare_runs", "concept_rows", "latent_facts", "migrate"),
    "write_comparison",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Profiler": "cohorts",
        "audit_sheet": "audit",
        "compare_runs": "compare",
        "concept_rows": "concept_facts",
        "latent_facts": "concept_facts",
        "migrate": "migration",
        "write_comparison": "compare_page",
    },
)
