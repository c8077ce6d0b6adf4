"""recsae's plug-in for RecBole 1.2.1: opens its checkpoints as recommenders."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsae.recommender.protocol import Recommender


class RecBolePlugin:
    """Entry point ``recbole`` of the group ``recsae.plugins``."""

    name = "recbole"

    def recognises(self, source: object) -> bool:
        """Whether the source is a checkpoint of RecBole's, or a live model.

        A checkpoint is a torch archive with RecBole's Config in it; a live model comes as a trainer
        of RecBole's or as a pair ``(config, model)``.
        """
        if not isinstance(source, Path):
            return live_parts(source) is not None
        from recsae_recbole.checkpoint import is_recbole

        return is_recbole(source)

    def open(self, source: object, **options: Any) -> Recommender:
        """Open a checkpoint or a model in memory; see :func:`recsae.load_recommender`."""
        from recsae_recbole.open import open_checkpoint, open_live

        parts = live_parts(source)
        if parts is not None:
            return open_live(*parts, **options)
        return open_checkpoint(Path(str(source)), **options)

    def versions(self) -> dict[str, str]:
        """RecBole's version; CannotOpenModel with the cure if it is not installed."""
        from recsae_recbole.installation import version_of_recbole

        return {"recbole": version_of_recbole()}

    def check(self) -> None:
        """Import RecBole; CannotOpenModel with the cure if that fails."""
        from recsae_recbole.boundary import recbole_boundary

        with recbole_boundary():
            pass

    def demo_checkpoint(self, path: Path, *, seed: int, progress: Any = None) -> Path:
        """Train a small SASRec on the ml-100k that RecBole ships and save it at ``path``.

        On one thread: the matrices are small, two threads gain nothing on an idle machine and lose
        much on a busy one.
        """
        import torch

        from recsae_recbole.demo.train import train_sasrec

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            train_sasrec(path, seed=seed, progress=progress)
        finally:
            torch.set_num_threads(threads)
        return path


def live_parts(source: object) -> tuple[Any, Any] | None:
    """Config and model of a RecBole ``Trainer``, or of a pair ``(config, model)``; else None."""
    torch = sys.modules.get("torch")
    if torch is None:  # then there is no live model
        return None
    if isinstance(source, tuple) and len(source) == 2:
        config, model = source
    else:
        config, model = getattr(source, "config", None), getattr(source, "model", None)
    known = hasattr(config, "final_config_dict") and isinstance(model, torch.nn.Module)
    return (config, model) if known else None


plugin = RecBolePlugin()
