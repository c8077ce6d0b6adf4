"""recsae's plug-in for RecBole 1.2.1: opens its checkpoints as recommenders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsae.recommender import Recommender


class RecBolePlugin:
    """Entry point ``recbole`` of the group ``recsae.plugins``."""

    name = "recbole"

    def recognises(self, source: object) -> bool:
        """Whether a path is a torch archive with RecBole's Config in it."""
        from .checkpoint import is_recbole

        return isinstance(source, Path) and is_recbole(source)

    def open(self, source: object, **options: Any) -> Recommender:
        """Open a checkpoint; see :func:`recsae.load_recommender`."""
        from .opening import open_checkpoint

        return open_checkpoint(Path(str(source)), **options)

    def versions(self) -> dict[str, str]:
        """RecBole's version; CannotOpenModel with the cure if it cannot be imported."""
        from .boundary import recbole_boundary

        with recbole_boundary():
            import recbole

            return {"recbole": str(recbole.__version__)}

    def demo_checkpoint(self, path: Path, *, seed: int, progress: Any = None) -> Path:
        """Train a small SASRec on the ml-100k that RecBole ships and save it at ``path``.

        On one thread: the matrices are small, two threads gain nothing on an idle machine and lose
        much on a busy one.
        """
        import torch

        from .pretrain import train_sasrec

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            train_sasrec(path, seed=seed, progress=progress)
        finally:
            torch.set_num_threads(threads)
        return path


plugin = RecBolePlugin()
