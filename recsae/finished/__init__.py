"""A finished run in Python: what the command line does with one, as methods that return results.

``load_run`` reads a run without its model, ``open_run`` with it. It imports every package but
``cli`` and ``testing``.
"""

from typing import TYPE_CHECKING

from recsae.core.faces import lazy

if TYPE_CHECKING:
    from recsae.finished.calibrated import CalibratedSteering as CalibratedSteering
    from recsae.finished.explained import ExplainedItem as ExplainedItem
    from recsae.finished.loaded import LoadedRun as LoadedRun
    from recsae.finished.loaded import load_run as load_run
    from recsae.finished.opened import OpenRun as OpenRun
    from recsae.finished.opened import open_run as open_run
    from recsae.finished.profiles import Profile as Profile
    from recsae.finished.steered import MigratedSteering as MigratedSteering
    from recsae.finished.steered import Steered as Steered
    from recsae.finished.steered import TunedSteering as TunedSteering

__all__ = [
    "CalibratedSteering",
    "ExplainedItem",
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
        "CalibratedSteering": "calibrated",
        "ExplainedItem": "explained",
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
