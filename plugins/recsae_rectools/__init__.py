"""recsae's plug-in for RecTools 0.19: opens its transformers as recommenders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsae.recommender.protocol import Recommender


class RecToolsPlugin:
    """Entry point ``rectools`` of the group ``recsae.plugins``."""

    name = "rectools"

    def recognises(self, source: object) -> bool:
        """Whether the source is an object of RecTools', or a file that RecTools has saved.

        Such a file is what ``model.save`` writes, of any model, or a checkpoint of the trainer. A
        saved data set is one too, which :meth:`open` refuses with the reason.
        """
        if isinstance(source, Path):
            from recsae_rectools.checkpoint import is_rectools

            return is_rectools(source)
        return any(base.__module__.startswith("rectools.") for base in type(source).__mro__)

    def open(self, source: object, **options: Any) -> Recommender:
        """Open a file or a model in memory; see :func:`recsae.load_recommender`."""
        from recsae_rectools.open import open_model

        return open_model(source, **options)

    def versions(self) -> dict[str, str]:
        """RecTools' version; CannotOpenModel with the cure if it cannot be used."""
        from recsae_rectools.installation import version_of_rectools

        return {"rectools": version_of_rectools()}

    def check(self) -> None:
        """Import RecTools; CannotOpenModel with the cure if that fails."""
        from recsae_rectools.boundary import rectools_boundary

        with rectools_boundary():
            pass


plugin = RecToolsPlugin()
