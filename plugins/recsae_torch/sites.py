"""Places inside a module where states pass, to be read and edited."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from recsae.core.errors import CannotOpenModel, SiteNotFound, nearest
from recsae.recommender.hooks import replaced_method

INPUT = ".input"
"""Ending of a path that names what a submodule is given, not what it gives."""

Padding = Literal["right", "left"]
Edit = Callable[[torch.Tensor], torch.Tensor]


class Layout(NamedTuple):
    """Where the items are: the padded side, and the tokens beside them."""

    padding: Padding
    behind: int
    """1 if a token, as BERT4Rec's mask, follows the newest item, and the prediction is there."""
    before: int = 0
    """Tokens before the oldest item."""
    newest_first: bool = False
    shift: int | None = 0
    """What ``make_batch`` adds to the numbers of items; None if it has others altogether."""

    @property
    def unplaced(self) -> str:
        """Why it is not known where a prediction is made, in words; "" if it is."""
        if self.newest_first:
            return "puts the newest item first"
        return f"puts {self.behind} tokens behind the newest item" if self.behind > 1 else ""


class Span(NamedTuple):
    """Where the items of n histories lie among the positions of a batch of the model's own."""

    lengths: torch.Tensor  # (n,) number of items
    padding: Padding
    behind: int = 0
    """Tokens behind the newest item; the prediction is at the last of them."""
    before: int = 0
    """Tokens before the oldest item."""

    def first(self, n_positions: int) -> torch.Tensor:
        """``(n,)`` position of the oldest item."""
        left = self.padding == "left"
        return n_positions - self._sizes if left else torch.full_like(self.lengths, self.before)

    def real(self, n_positions: int) -> torch.Tensor:
        """``(n, n_positions)`` True where an item is, or a token behind the newest."""
        return self._inside(n_positions, self._sizes)

    def newest(self, n_positions: int) -> torch.Tensor:
        """``(n,)`` position of the prediction: the newest item's, or the token's behind it."""
        return self.first(n_positions) + self._sizes - 1

    def last(self, states: torch.Tensor) -> torch.Tensor:
        """What ``(n, n_positions, ...)`` holds where the prediction is: ``(n, ...)``."""
        return states[torch.arange(len(states)), self.newest(states.shape[1])]

    def aligned(self, states: torch.Tensor, length: int) -> torch.Tensor:
        """``(n, n_positions, d)`` as ``(n, length, d)``: item j at j, zeros behind the last."""
        padded = states.new_zeros(len(states), length, states.shape[2])
        items = self._inside(states.shape[1], self.lengths)
        padded[torch.arange(length) < self.lengths[:, None]] = states[items]
        return padded

    @property
    def _sizes(self) -> torch.Tensor:
        return self.lengths + self.behind

    def _inside(self, n_positions: int, sizes: torch.Tensor) -> torch.Tensor:
        where = torch.arange(n_positions) - self.first(n_positions)[:, None]
        return (where >= 0) & (where < sizes[:, None])


@dataclass(frozen=True)
class Place:
    """The output of a submodule, or its first argument; of a tuple the first element.

    States are ``(n, d)``, ``(n, length, d)``, ``(length, n, d)`` if not ``batch_first``, or packed.
    """

    name: str
    module: torch.nn.Module
    is_input: bool
    batch_first: bool = True

    @contextmanager
    def through(self, change: Callable[[Any], Any]) -> Iterator[None]:
        """Let the states, as the module has them, go through ``change``; the latest comes last."""
        with (
            every_submodule_called(),
            self._input(change) if self.is_input else self._output(change),
        ):
            yield

    @contextmanager
    def _output(self, change: Callable[[Any], Any]) -> Iterator[None]:
        def wrap(forward: Callable[..., Any]) -> Callable[..., Any]:
            return lambda *args, **kwargs: _first(forward(*args, **kwargs), change)

        with replaced_method(self.module, "forward", wrap):
            yield

    @contextmanager
    def _input(self, change: Callable[[Any], Any]) -> Iterator[None]:
        def changed(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if args:
                return (_first(args[0], change), *args[1:]), kwargs
            name = next(iter(kwargs))
            return args, {**kwargs, name: _first(kwargs[name], change)}

        handle = self.module.register_forward_pre_hook(changed, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()

    def read(self, value: Any) -> torch.Tensor:
        """A copy of the states on the CPU, as the module has them; what is packed is unpacked."""
        if isinstance(value, PackedSequence):
            value = pad_packed_sequence(value, batch_first=True)[0]
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            seen = f"a {value.dtype} tensor" if isinstance(value, torch.Tensor) else type(value)
            raise CannotOpenModel(f"{self.name!r} holds no states, but {seen}.")
        # a copy: what comes next in the model may work in place
        return value.to("cpu", copy=True)

    def edited(self, value: Any, edit: Edit, span: Span | None, *, newest: bool = False) -> Any:
        """The states with ``edit (m, d)`` applied to each, or to the ``newest``; padding stays.

        Which positions are padding is not known (``span`` is None) where somebody else calls the
        model; then every position is edited.
        """
        if isinstance(value, PackedSequence):
            return value._replace(data=edit(value.data))
        if value.dim() == 2 or span is None:
            return edit(value.reshape(-1, value.shape[-1])).reshape(value.shape)
        n_positions = value.shape[1 if self.batch_first else 0]
        real = span.real(n_positions)
        if newest:
            real &= torch.arange(n_positions) == span.newest(n_positions)[:, None]
        real = (real if self.batch_first else real.T).to(value.device)
        after = value.clone()
        after[real] = edit(value[real]).to(value.dtype)
        return after


def _first(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, tuple) and not isinstance(value, PackedSequence):
        return (change(value[0]), *value[1:])
    return change(value)


def find_place(model: torch.nn.Module, path: str) -> Place:
    """The place of that name: ``"gru"`` is what the submodule gives, ``"out.input"`` what it gets.

    Raises
    ------
    SiteNotFound
        The model has no such submodule.
    """
    modules = dict(model.named_modules())
    if path in modules:
        return Place(path, modules[path], is_input=False)
    owner = path.removesuffix(INPUT)
    if owner in modules and owner != path:
        return Place(path, modules[owner], is_input=True)
    name = type(model).__name__
    raise SiteNotFound(f"{name} has no submodule {owner!r}.{nearest(owner, modules)}")


def single_value(place: Place, seen: list[torch.Tensor], n: int, longest: int) -> torch.Tensor:
    """The only value that was read at a place while n histories were scored, histories first.

    Raises
    ------
    CannotOpenModel
        The submodule was called not at all or more than once, or gives something else than states.
    """
    if len(seen) != 1:
        times = f"called {len(seen)} times" if seen else "never called"
        raise CannotOpenModel(
            f"{place.name!r} is {times} when the model scores: choose a submodule that is called "
            "once."
        )
    states = seen[0] if place.batch_first else seen[0].transpose(0, 1)
    fits = states.dim() == 2 or (states.dim() == 3 and states.shape[1] >= longest)
    if not fits or len(states) != n:
        raise CannotOpenModel(
            f"{place.name!r} gives {tuple(seen[0].shape)} for {n} histories of up to {longest} "
            "items: choose a submodule that gives one state for each history or for each item."
        )
    return states


@contextmanager
def every_submodule_called() -> Iterator[None]:
    """Let nn.TransformerEncoder call its submodules; its fast path for inference goes past them."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
