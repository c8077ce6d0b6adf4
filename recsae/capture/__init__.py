"""Hidden states of many positions: what is read, the forward passes, the store, and the cases.

A store is a folder of shards, which several machines can make; its positions become cases to
describe and to test. It imports ``core`` and ``recommender``.
"""

from typing import TYPE_CHECKING

from recsae.core.faces import lazy

if TYPE_CHECKING:
    from recsae.capture.cases import Cases as Cases
    from recsae.capture.cases import read_cases as read_cases
    from recsae.capture.fill import capture as capture
    from recsae.capture.fill import capture_sites as capture_sites
    from recsae.capture.moments import Moments as Moments
    from recsae.capture.shards import CapturePlan as CapturePlan
    from recsae.capture.shards import capture_shard as capture_shard
    from recsae.capture.shards import merge_shards as merge_shards
    from recsae.capture.shards import plan_capture as plan_capture
    from recsae.capture.store import ActivationStore as ActivationStore

__all__ = [
    "ActivationStore",
    "CapturePlan",
    "Cases",
    "Moments",
    "capture",
    "capture_shard",
    "capture_sites",
    "merge_shards",
    "plan_capture",
    "read_cases",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "ActivationStore": "store",
        "CapturePlan": "shards",
        "Cases": "cases",
        "Moments": "moments",
        "capture": "fill",
        "capture_shard": "shards",
        "capture_sites": "fill",
        "merge_shards": "shards",
        "plan_capture": "shards",
        "read_cases": "cases",
    },
)
