"""Hidden states of many positions: what is read, the forward passes, the store, and the cases.

A store is a folder of shards; its positions become cases to describe and to test. It imports
``core`` and ``recommender``.
"""

from typing import TYPE_CHECKING

from recsae.core.faces import lazy

if TYPE_CHECKING:
    from recsae.capture.cases import Cases as Cases
    from recsae.capture.cases import read_cases as read_cases
    from recsae.capture.fill import capture as capture
    from recsae.capture.fill import capture_sites as capture_sites
    from recsae.capture.store import ActivationStore as ActivationStore

__all__ = ["ActivationStore", "Cases", "capture", "capture_sites", "read_cases"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "ActivationStore": "store",
        "Cases": "cases",
        "capture": "fill",
        "capture_sites": "fill",
        "read_cases": "cases",
    },
)
