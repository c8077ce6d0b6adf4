"""One folder: its configuration, its record, and everything made in it so far.

Stages work with a ``Workspace``; a finished run is opened by :func:`recsae.open_run`. It imports
``core``, ``recommender``, ``capture``, ``sae`` and ``concepts``.
"""

from typing import TYPE_CHECKING

from recsae.core.faces import lazy

if TYPE_CHECKING:
    from recsae.run.config import RunConfig as RunConfig
    from recsae.run.record import Run as Run
    from recsae.run.workspace import Workspace as Workspace

__all__ = ["Run", "RunConfig", "Workspace"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Run": "record",
        "RunConfig": "config",
        "Workspace": "workspace",
    },
)
