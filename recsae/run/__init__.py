"""One folder: its configuration, its record, and everything made in it so far.

A finished run is opened by ``open_run``, read as tables by ``load_run``. It imports ``core``,
``recommender``, ``capture``, ``sae`` and ``concepts``.
"""

from typing import TYPE_CHECKING

from recsae.core.faces import lazy

if TYPE_CHECKING:
    from recsae.run.config import RunConfig as RunConfig
    from recsae.run.open import open_run as open_run
    from recsae.run.record import Run as Run
    from recsae.run.tables import load_run as load_run
    from recsae.run.workspace import Workspace as Workspace

__all__ = ["Run", "RunConfig", "Workspace", "load_run", "open_run"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Run": "record",
        "RunConfig": "config",
        "Workspace": "workspace",
        "load_run": "tables",
        "open_run": "open",
    },
)
