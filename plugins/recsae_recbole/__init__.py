"""recsae's plug-in for RecBole 1.2.1: opens its checkpoints as recommenders."""

from __future__ import annotations

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
            from recsae_recbole.open import live_parts

            return live_parts(source) is not None
        from recsae_recbole.checkpoint import is_recbole

        return is_recbole(source)

    def open(self, source: object, **options: Any) -> Recommender:
        """Open a checkpoint or a model in memory; see :func:`recsae.load_recommender`."""
        from recsae_recbole.open import live_parts, open_checkpoint, open_live

        parts = live_parts(source)
        if parts is not None:
            return open_live(*parts, **options)
        return open_checkpoint(Path(str(source)), **options)

    def versions(self) -> dict[str, str]:
        """RecBole's version; CannotOpenModel with the cure if it cannot be imported."""
        from recsae_recbole.boundary import recbole_boundary

        with recbole_boundary():
            import recbole

            return {"recbole": str(recbole.__version__)}

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


plugin = RecBolePlugin()
