"""recsae's plug-in for PyTorch: any sequential recommender that is a ``torch.nn.Module``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsae.recommender.protocol import Recommender
    from recsae_torch.open import attach


class TorchPlugin:
    """Entry point ``torch`` of the group ``recsae.plugins``."""

    name = "torch"

    def recognises(self, source: object) -> bool:
        """Whether it is a live module; a file says too little of the model."""
        import torch

        return isinstance(source, torch.nn.Module)

    def open(self, source: object, **options: Any) -> Recommender:
        """Refuse, since a module alone has no data; the message names ``attach``."""
        from recsae.core.errors import CannotOpenModel

        raise CannotOpenModel(
            f"{type(source).__name__} is a module without data: recsae_torch.attach(model, ...) "
            "makes a recommender of it."
        )

    def versions(self) -> dict[str, str]:
        """PyTorch's version."""
        import torch

        return {"torch": str(torch.__version__)}


def __getattr__(name: str) -> Any:
    if name != "attach":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from recsae_torch.open import attach

    return attach


plugin = TorchPlugin()

__all__ = ["TorchPlugin", "attach", "plugin"]
