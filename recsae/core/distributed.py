"""Several processes that share one run, as torchrun starts them; a single one pays nothing for it.

The results are those of one process: shards, rows and whole measurements are divided, and their
results are put together in the order that one process would make them in. What cannot be divided
the main process does, with the threads of all that wait for it on its machine.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from recsae.core.errors import ProcessLost, RecSAEError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
K = TypeVar("K")
Outcome = tuple[T | None, RecSAEError | None]

STARTED_BY_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables that torchrun sets in every process that it starts."""
PATIENCE = timedelta(days=1)
"""How long the others wait for what one process does alone; a death they notice at once."""
AGAIN = "Run the same command again: shards, epochs and stages that are finished are kept."
"""The cure in every message on a lost process."""


class Stopped(BaseException):
    """The signal to end has arrived, which torchrun sends to all processes when one has died."""

    exit_code = ProcessLost.exit_code


@dataclass(frozen=True)
class Ranks:
    """The processes that share a run, seen from one of them; all call the same methods in order.

    >>> SINGLE_PROCESS.is_main_process, SINGLE_PROCESS.gather("mine")
    (True, ['mine'])
    >>> SINGLE_PROCESS.broadcast_from_main(lambda: 3)
    3
    """

    rank: int = 0
    """Number of this process; the main process is 0."""
    size: int = 1
    """How many processes there are."""
    store: Any = field(default=None, compare=False)
    """torch's store, in which processes share values outside of collectives."""

    @property
    def is_main_process(self) -> bool:
        """Whether this process is the one that writes files and messages."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """The contiguous part of n things that falls to this process.

        >>> [Ranks(rank, 3).share(5) for rank in range(3)]
        [slice(0, 1, None), slice(1, 3, None), slice(3, 5, None)]
        """
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Add up a tensor over all processes, in place, and return it."""
        if self.size > 1:
            import torch.distributed as dist

            with _translated():
                dist.all_reduce(tensor)
        return tensor

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in the order of ranks."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        values: list[Any] = [None] * self.size
        with _translated():
            dist.all_gather_object(values, value)
        return values

    def broadcast_from_main(self, make: Callable[[], T]) -> T:
        """A value that the main process makes and sends to all; so is its RecSAEError."""
        if self.size == 1:
            return make()
        import torch.distributed as dist

        sent: list[Any] = [None]
        if self.is_main_process:
            with _threads_of_the_machine():
                sent = [_outcome(make)]
        with _translated():
            dist.broadcast_object_list(sent)
        outcome: Outcome[T] = sent[0]
        return _value(outcome)

    def scatter(self, jobs: Mapping[K, Callable[[], T]], *, threads: bool = False) -> dict[K, T]:
        """Do each job on one of the processes and send all results to all.

        Whichever is free takes the next job, so long ones should come first. No process goes on
        before all jobs are done; a RecSAEError in one is raised in all. With ``threads`` a process
        does several jobs at a time: see :func:`recsae.core.threads.in_threads`.
        """
        names, take = list(jobs), self._numbers()

        def work(_: int = 0) -> dict[K, T]:
            mine = iter(take, None)
            return {
                names[n]: jobs[names[n]]() for n in itertools.takewhile(len(names).__gt__, mine)
            }

        def do() -> dict[K, T]:
            if not threads:
                return work()
            import torch

            from recsae.core.threads import in_threads

            hands = in_threads(work, range(torch.get_num_threads()))
            return {name: result for done in hands for name, result in done.items()}

        parts = self.gather(_outcome(do))
        done = {name: result for part in parts for name, result in _value(part).items()}
        return {name: done[name] for name in jobs}

    def _numbers(self) -> Callable[[], int]:
        """What gives 0, 1, 2, ... to whichever process asks next."""
        if self.size == 1:
            return partial(next, itertools.count())
        turn = self.broadcast_from_main(lambda: self.store.add("recsae turns", 1))

        def take() -> int:
            with _translated():
                return int(self.store.add(f"recsae turn {turn}", 1)) - 1

        return take

    def may_speak(self) -> bool:
        """Whether no process has reported yet why the job ends, so that it is shown once."""
        if self.store is None:
            return True
        try:
            return int(self.store.add("recsae said why", 1)) == 1
        except RuntimeError:  # the process that kept the store is gone
            return True

    def device(self, name: str) -> str:
        """The device of this process: ``cuda`` is its own card where several share a machine."""
        if name != "cuda" or self.size == 1:
            return name
        import torch

        local = int(os.environ.get("LOCAL_RANK", self.rank))
        return f"cuda:{local % max(1, torch.cuda.device_count())}"


SINGLE_PROCESS = Ranks()
"""A run that no other process shares; the default of every ``ranks`` argument."""


@contextmanager
def ranks_of_torchrun() -> Iterator[Ranks]:
    """Join the processes that torchrun has started; :data:`SINGLE_PROCESS` where it has not.

    Sums of CPU tensors go through gloo, of CUDA tensors through nccl.
    """
    known = all(name in os.environ for name in STARTED_BY_TORCHRUN)
    if not known or int(os.environ["WORLD_SIZE"]) == 1:
        yield SINGLE_PROCESS
        return
    import torch
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    before = signal.signal(signal.SIGTERM, _stop)
    with _translated():
        store, rank, size = next(rendezvous("env://", timeout=timedelta(minutes=10)))
        both = torch.cuda.is_available() and dist.is_nccl_available()
        backend = "cpu:gloo,cuda:nccl" if both else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    yield Ranks(rank, size, store)
    if signal.getsignal(signal.SIGTERM) is _stop:  # no process was lost
        dist.destroy_process_group()
        signal.signal(signal.SIGTERM, before)


def _stop(*_: object) -> None:
    _stop_listening()
    raise Stopped(f"This process was told to end, as all are when another one has ended. {AGAIN}")


def _stop_listening() -> None:
    """Ignore a second signal, which torchrun may send while the reason is being reported."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


@contextmanager
def _threads_of_the_machine() -> Iterator[None]:
    """Let torch use the threads of all processes of this machine, while the others wait."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(before * int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        _stop_listening()
        why = re.sub(r"^\[\S+\] ", "", str(error)).splitlines()[0].split(". ")[0]
        raise ProcessLost(
            f"Another process of this run has ended or cannot be reached ({why}), so this one ends "
            f"too. {AGAIN}"
        ) from error


def _outcome(make: Callable[[], T]) -> Outcome[T]:
    try:
        return make(), None
    except RecSAEError as error:
        return None, error


def _value(outcome: Outcome[T]) -> T:
    value, error = outcome
    if error is not None:
        raise error
    return value  # type: ignore[return-value]
