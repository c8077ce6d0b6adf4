"""The stages of a run in their order, each in the table of ``plan``, and the content of
``report.json``.

The only package that knows nearly all others.
"""

from typing import TYPE_CHECKING

from recsae.core.faces import lazy

if TYPE_CHECKING:
    from recsae.pipeline.plan import run_pipeline as run_pipeline
    from recsae.pipeline.sites import scan_sites as scan_sites

__all__ = ["run_pipeline", "scan_sites"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "run_pipeline": "plan",
        "scan_sites": "sites",
    },
)
