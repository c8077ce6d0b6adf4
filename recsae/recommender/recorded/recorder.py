"""Recording: every operation of torch that depends on the history is written down.

What a tensor holds is known by its storage. A view needs no operation of its own: whoever reads it
reads the storage by sizes, strides and offset. An operation that works in place makes a new value
of the storage. All that does not depend on the history is a constant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from recsae.recommender.recorded.graph import Graph, Operation, numel

MAX_OPERATIONS = 20_000
READS = ("_local_scalar_dense", "is_nonzero", "equal")
"""Operations by which Python gets at the numbers of a tensor."""
BY_NUMBERS = "reads a history number by number in Python, which cannot be recorded"


class CannotRecord(Exception):
    """Something that a list of operations cannot do; the message has it, to follow "the model"."""


class Value(NamedTuple):
    """A value of the recording, its shape, and the type of its entries."""

    number: int
    shape: tuple[int, ...]
    dtype: torch.dtype


class Recorder(TorchDispatchMode):
    """Within the context, what depends on the two inputs is recorded.

    Parameters
    ----------
    items, lengths
        ``(1, length)`` and ``(1,)``, what a history is given as.
    lowering
        By names of torch's operations: a function of the recorder, the result and the arguments
        (tensors as :class:`Value`), which adds operations and gives the result's value, or a tuple
        of them, None where it is not known.
    """

    def __init__(
        self, items: torch.Tensor, lengths: torch.Tensor, lowering: dict[str, Callable[..., Any]]
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lowering = lowering
        self.length = items.shape[1]
        self.operations: list[Operation] = []
        self.constants: list[torch.Tensor] = []
        self.reason = ""
        self._known: dict[Any, int] = {}
        self._values: dict[int, int | None] = {_key(items): 0, _key(lengths): 1}
        self._written: dict[int, int] = {}
        self._alive: list[Any] = [items, lengths]  # so that no storage's number is used again

    # -- what is recorded ------------------------------------------------------------------------
    def add(
        self,
        name: str,
        takes: Sequence[Value],
        shape: Sequence[int],
        *settings: float,
        dtype: torch.dtype = torch.float32,
    ) -> Value:
        """Write an operation down, once."""
        operation = Operation(name, tuple(v.number for v in takes), settings)
        if operation not in self._known:
            if len(self.operations) == MAX_OPERATIONS:
                raise CannotRecord(f"takes more than {MAX_OPERATIONS:,} operations")
            self.operations.append(operation)
            self._known[operation] = len(self.operations) + 1
        return Value(self._known[operation], tuple(shape), dtype)

    def number(self, value: float) -> Value:
        """A number as a value of shape ``()``."""
        kind = torch.tensor(value).dtype
        if not math.isfinite(value):
            return self.constant(torch.tensor(value))
        return self.add("number", (), (), float(value), dtype=kind)

    def view(self, value: Value, shape: Sequence[int], strides: Sequence[int], at: int) -> Value:
        """Some entries of a value, as torch's ``as_strided`` reads them."""
        whole = at == 0 and numel(shape) == numel(value.shape)
        if whole and _contiguous(shape, strides):
            return Value(value.number, tuple(shape), value.dtype)
        return self.add("view", [value], shape, at, *shape, *strides, dtype=value.dtype)

    def constant(self, tensor: torch.Tensor) -> Value:
        """What a tensor holds now."""
        key = _key(tensor)
        place = tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype
        known = ("constant", key, self._written.get(key, 0), *place)
        if known not in self._known:
            if tensor.is_complex():
                raise CannotRecord("reckons with complex numbers")
            self._alive.append(tensor)
            self.constants.append(
                tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            )
            self.operations.append(Operation("constant", (), (len(self.constants) - 1,)))
            self._known[known] = len(self.operations) + 1
        return Value(self._known[known], tuple(tensor.shape), tensor.dtype)

    def is_constant(self, value: Value) -> bool:
        """Whether a value does not depend on the history."""
        number = value.number - 2
        return number >= 0 and self.operations[number].name == "constant"

    def read(self, tensor: torch.Tensor) -> Value:
        """The value that a tensor is, of the history or a constant."""
        key = _key(tensor)
        if key not in self._values:
            return self.constant(tensor)
        number = self._values[key]
        if number is None:
            raise CannotRecord("uses a result that cannot be written down")
        n = tensor.untyped_storage().nbytes() // tensor.element_size()
        root = Value(number, (n,), tensor.dtype)
        return self.view(root, tensor.shape, tensor.stride(), int(tensor.storage_offset()))

    def graph(self, *outputs: torch.Tensor) -> Graph:
        """What the outputs take, and nothing else."""
        if self.reason:
            raise CannotRecord(self.reason)
        numbers = [self.read(tensor).number for tensor in outputs]
        needed, waiting = set[int](), list(numbers)
        while waiting:
            number = waiting.pop()
            if number not in needed:
                needed.add(number)
                waiting += self.operations[number - 2].takes if number > 1 else ()
        new = {0: 0, 1: 1}
        operations: list[Operation] = []
        constants = []
        for number in sorted(needed - {0, 1}):
            name, takes, settings = self.operations[number - 2]
            if name == "constant":
                constants.append(_array(self.constants[int(settings[0])]))
                settings = (len(constants) - 1,)
            operations.append(Operation(name, tuple(new[n] for n in takes), settings))
            new[number] = len(operations) + 1
        return Graph(
            self.length, tuple(operations), tuple(constants), tuple(new[n] for n in numbers)
        )

    # -- what torch does -------------------------------------------------------------------------
    def dispatched(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation, and write it down if it depends on the history."""
        kwargs = kwargs or {}
        tensors = list(_tensors([*args, *kwargs.values()]))
        written = [
            value
            for place, argument in enumerate(func._schema.arguments)
            if argument.alias_info is not None and argument.alias_info.is_write
            for value in [args[place] if place < len(args) else kwargs.get(argument.name)]
            if isinstance(value, torch.Tensor)
        ]
        if not any(_key(tensor) in self._values for tensor in tensors):
            out = func(*args, **kwargs)
            for tensor in written:
                self._touch(tensor)
            return out
        try:
            return self._record(func, args, kwargs, written)
        except CannotRecord as error:
            self.reason = self.reason or str(error)
            raise

    def _touch(self, tensor: torch.Tensor) -> None:
        self._written[_key(tensor)] = self._written.get(_key(tensor), 0) + 1
        self._alive.append(tensor)

    def _record(self, func: Any, args: Any, kwargs: Any, written: list[torch.Tensor]) -> Any:
        name = func._schema.name.partition("::")[2]
        lower = self.lowering.get(name.rstrip("_") if written else name)
        aliases = {_key(tensor) for tensor in _tensors([*args, *kwargs.values()])}
        if lower is None:
            if _views(func):
                return func(*args, **kwargs)
            with self:
                out = func.decompose(*args, **kwargs)
            if out is NotImplemented:
                unknown = f"uses torch's operation {name}, which the page does not know"
                raise CannotRecord(BY_NUMBERS if name in READS else unknown)
            return out
        before = [self._root(tensor) for tensor in written]
        values = _mapped(args, self._given), {k: _mapped(v, self._given) for k, v in kwargs.items()}
        out = func(*args, **kwargs)
        if not written and isinstance(out, torch.Tensor) and _key(out) in aliases:
            return out
        made = lower(self, out, *values[0], **values[1])
        if made is None:  # it depends on shapes alone
            return out
        if written:
            self._write(written[0], before[0], made)
            return out
        if isinstance(out, torch.Tensor):
            return self._keep(out, made)
        return (
            type(out)(map(self._keep, out, made))
            if type(out) in (list, tuple)
            else tuple(map(self._keep, out, made))
        )

    def _given(self, tensor: torch.Tensor) -> Value:
        return self.read(tensor)

    def _root(self, tensor: torch.Tensor) -> Value:
        """The whole storage of a tensor, before it is written to."""
        n = tensor.untyped_storage().nbytes() // tensor.element_size()
        return self.read(tensor.detach().as_strided((n,), (1,), 0))

    def _write(self, tensor: torch.Tensor, root: Value, made: Value) -> None:
        same = numel(tensor.shape) == root.shape[0] and tensor.is_contiguous()
        if not same:
            place = int(tensor.storage_offset()), *tensor.shape, *tensor.stride()
            made = self.add("write", [root, made], root.shape, *place, dtype=root.dtype)
        self._values[_key(tensor)] = made.number
        self._alive.append(tensor)

    def _keep(self, out: torch.Tensor, made: Value | None) -> torch.Tensor:
        out = out.contiguous()
        if out.untyped_storage().nbytes() != out.numel() * out.element_size():
            out = out.clone()
        self._values[_key(out)] = None if made is None else made.number
        self._alive.append(out)
        return out


# put in its place afterwards: of a class that defines it torch has its compiler loaded, for seconds
Recorder.__torch_dispatch__ = Recorder.dispatched  # type: ignore[method-assign, assignment]


@contextmanager
def plain_operations() -> Iterator[None]:
    """Let torch take the operations that its fused ones consist of."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel([SDPBackend.MATH]):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _key(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _views(func: Any) -> bool:
    """Whether what comes out is a view of what went in, and nothing is written."""
    if torch.Tag.inplace_view in func.tags:
        return True
    infos = [returned.alias_info for returned in func._schema.returns]
    split = func._schema.name.startswith("aten::unsafe_")  # views that torch does not call so
    return split or (bool(infos) and all(i is not None and not i.is_write for i in infos))


def _contiguous(shape: Sequence[int], strides: Sequence[int]) -> bool:
    step = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != step:
            return False
        step *= size
    return True


def _array(tensor: torch.Tensor) -> Any:
    return tensor.numpy()


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def _mapped(value: Any, change: Callable[[torch.Tensor], Value]) -> Any:
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, (list, tuple)):
        return [_mapped(one, change) for one in value]
    return value
