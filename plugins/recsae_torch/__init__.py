"""recsae's plug-in for PyTorch: any sequential recommender that is a ``torch.nn.Module``.

And for what is no module: vectors of users and items, see ``attach_factors``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsae.recommender.protocol import Recommender
    from recsae_torch.factors import attach_factors
    from recsae_torch.open import attach


class TorchPlugin:
    """Entry point ``torch`` of the group ``recsae.plugins``."""

    name = "torch"

    def recognises(self, source: object) -> bool:
        """Whether it is a live module, or a file of weights or of arrays alone, which :meth:`open`
        refuses."""
        if isinstance(source, Path):
            return bool(arrays_in(source)) or weights_in(source) is not None
        torch = sys.modules.get("torch")  # where it is not imported, there is no live module
        return torch is not None and isinstance(source, torch.nn.Module)

    def open(self, source: object, **options: Any) -> Recommender:
        """Refuse, since a module alone has no data; the message names what takes both."""
        from recsae.core.errors import CannotOpenModel

        arrays = arrays_in(source) if isinstance(source, Path) else []
        if arrays:
            raise CannotOpenModel(
                f"{source} holds arrays alone, {', '.join(arrays[:4])}, and no ids. Where these "
                "are vectors of users and items, as implicit saves them, give them to "
                "recsae_torch.attach_factors(...) with ids and interactions, in Python."
            )
        weights = weights_in(source) if isinstance(source, Path) else None
        if weights is not None:
            raise CannotOpenModel(
                f"{source} holds weights alone, {len(weights)} of them such as "
                f"{next(iter(weights))!r} (a state_dict), and neither the model nor its data: make "
                "the model, load_state_dict them, and give it to recsae_torch.attach(model, ...). "
                "Of RecBole's models give the checkpoint that its trainer saves, which has the "
                "settings too."
            )
        raise CannotOpenModel(
            f"{type(source).__name__} is a module without data: recsae_torch.attach(model, ...) "
            "makes a recommender of it."
        )

    def versions(self) -> dict[str, str]:
        """PyTorch's version, looked up and not imported."""
        from importlib.metadata import version

        return {"torch": version("torch")}


def arrays_in(path: Path) -> list[str]:
    """Names of the arrays in a file of NumPy's (``.npz``), empty if it is another."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
    except (OSError, ValueError, zipfile.BadZipFile):  # none, or a damaged one
        return []
    found = [name.removesuffix(".npy") for name in names if name.endswith(".npy")]
    return found if len(found) == len(names) else []


def weights_in(path: Path) -> Mapping[str, Any] | None:
    """The weights in a file of weights, read without running code of it; None if it is another.

    They may lie in a dict, as ``{"model": weights, "epoch": 3}``.
    """
    import zipfile

    import torch

    if not zipfile.is_zipfile(path):
        return None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # it is no file of torch's, or holds more than weights
        return None
    inside = found.values() if isinstance(found, Mapping) else ()
    for weights in (found, *inside):
        named = isinstance(weights, Mapping) and bool(weights)
        if named and all(isinstance(value, torch.Tensor) for value in weights.values()):
            return dict(weights)
    return None


def __getattr__(name: str) -> Any:
    if name == "attach":
        from recsae_torch.open import attach

        return attach
    if name == "attach_factors":
        from recsae_torch.factors import attach_factors

        return attach_factors
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


plugin = TorchPlugin()

__all__ = ["TorchPlugin", "attach", "attach_factors", "plugin"]
