"""recsae's plug-in for PyTorch: any sequential recommender that is a ``torch.nn.Module``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsae.recommender import Recommender

    from .adapter import TorchRecommender


class TorchPlugin:
    """Entry point ``torch`` of the group ``recsae.plugins``."""

    name = "torch"

    def recognises(self, source: object) -> bool:
        """Whether it is a live :class:`TorchRecommender`; files say too little of the model."""
        from .adapter import TorchRecommender

        return isinstance(source, TorchRecommender)

    def open(self, source: object, **options: Any) -> Recommender:
        """Return it as it is: it was given its data and its items when it was made."""
        from recsae.errors import CannotOpenModel

        from .adapter import TorchRecommender

        if not isinstance(source, TorchRecommender):
            raise CannotOpenModel(
                f"The torch plug-in takes a TorchRecommender, not a {type(source).__name__}: wrap "
                "the module in recsae_torch.TorchRecommender first."
            )
        return source

    def versions(self) -> dict[str, str]:
        """PyTorch's version."""
        import torch

        return {"torch": str(torch.__version__)}


def __getattr__(name: str) -> Any:
    if name != "TorchRecommender":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .adapter import TorchRecommender

    return TorchRecommender


plugin = TorchPlugin()

__all__ = ["TorchPlugin", "TorchRecommender", "plugin"]
