"""Finished runs explored: all that the command line does with one, as methods that return results.

``load_run`` reads a run without its model, ``open_run`` with it. It imports everything below the
pipeline.
"""

from typing import TYPE_CHECKING

from recsae.core.faces import lazy

if TYPE_CHECKING:
    from recsae.explore.audit import AuditSheet as AuditSheet
    from recsae.explore.compare import Comparison as Comparison
    from recsae.explore.concept_facts import ItemLatents as ItemLatents
    from recsae.explore.concept_facts import LatentFacts as LatentFacts
    from recsae.explore.explained import ExplainedItem as ExplainedItem
    from recsae.explore.loaded import LoadedRun as LoadedRun
    from recsae.explore.loaded import load_run as load_run
    from recsae.explore.opened import OpenRun as OpenRun
    from recsae.explore.opened import open_run as open_run
    from recsae.explore.profiles import Profile as Profile
    from recsae.explore.steered import MigratedSteering as MigratedSteering
    from recsae.explore.steered import Steered as Steered
    from recsae.explore.steered import TunedSteering as TunedSteering

__all__ = [
    "AuditSheet",
    "Comparison",
    "ExplainedItem",
    "ItemLatents",
    "LatentFacts",
    "LoadedRun",
    "MigratedSteering",
    "OpenRun",
    "Profile",
    "Steered",
    "TunedSteering",
    "load_run",
    "open_run",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "AuditSheet": "audit",
        "Comparison": "compare",
        "ExplainedItem": "explained",
        "ItemLatents": "concept_facts",
        "LatentFacts": "concept_facts",
        "LoadedRun": "loaded",
        "MigratedSteering": "steered",
        "OpenRun": "opened",
        "Profile": "profiles",
        "Steered": "steered",
        "TunedSteering": "steered",
        "load_run": "loaded",
        "open_run": "opened",
    },
)
