"""Temporary changes of a module that is not ours: made by a context manager, always undone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@contextmanager
def replaced_method(
    owner: object, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Iterator[None]:
    """Let ``owner.name`` be ``wrap(original)`` on this one object; put back on the way out.

    RecBole calls ``model.forward(...)`` and not ``model(...)``, so hooks that torch offers on a
    module never fire there. Replacing the method on the instance serves both ways of calling and
    adds nothing to the module's state dict. Nests.
    """
    had = name in vars(owner)
    before = getattr(owner, name)
    object.__setattr__(owner, name, wrap(before))
    try:
        yield
    finally:
        if had:
            object.__setattr__(owner, name, before)
        else:
            object.__delattr__(owner, name)


@contextmanager
def edited_output(
    module: torch.nn.Module, edit: Callable[[torch.Tensor], torch.Tensor]
) -> Iterator[None]:
    """Let the output of ``module.forward`` go through ``edit``."""

    def wrap(forward: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def edited(*args: Any, **kwargs: Any) -> torch.Tensor:
            return edit(forward(*args, **kwargs))

        return edited

    with replaced_method(module, "forward", wrap):
        yield
