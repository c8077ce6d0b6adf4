"""Where the time of a training step goes: its parts, one inside the other, on the CPU's clock."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from sae_peers import Recsae, Size
from sae_steps import N_STATES, RATE, made_states, sgemm_peak, stepping

from recsae.core.topk import kernels

STEPS = 60
REST = "all else: copies, gradients set to 0, calls"
WHOLE = "the whole step"
FLOOR = "floor"


def parts_of_step(size: Size, batch: int) -> dict[str, float]:
    """CPU seconds per state of each part, of the whole and of the floor; medians over steps."""
    peer = Recsae(size, RATE, batch)
    states = made_states(size, max(N_STATES // 4, 2 * batch))
    compiled, trainer = kernels(), peer.trainer
    timed = {
        "product of states and encoder": (torch, "addmm"),
        "top k": (compiled, "row_top_k"),
        "decoding, gradients": (compiled, "backward"),
        "Adam": (trainer.optimiser, "step"),
        "decoder rows: gradient": (trainer, "_project_gradient"),
        "decoder rows: length 1": (torch.nn.functional, "normalize"),
        "dead latents": (trainer, "_track"),
    }
    work = stepping(peer, states, batch)
    work()
    found: dict[str, list[float]] = {name: [] for name in (*timed, REST, WHOLE, FLOOR)}
    for _ in range(STEPS):
        spent = dict.fromkeys(timed, 0.0)
        with ExitStack() as stack:
            for name, (owner, attribute) in timed.items():
                stack.enter_context(clocked(owner, attribute, spent, name))
            before = time.process_time()
            work()
            whole = time.process_time() - before
        for name, seconds in {**spent, REST: whole - sum(spent.values()), WHOLE: whole}.items():
            found[name].append(seconds / batch)
    found[FLOOR] = [size.flop() / sgemm_peak()]
    return {name: statistics.median(seconds) for name, seconds in found.items()}


@contextmanager
def clocked(owner: Any, attribute: str, spent: dict[str, float], name: str) -> Iterator[None]:
    """Add the CPU seconds of a function's calls to ``spent[name]``."""
    original: Callable[..., Any] = getattr(owner, attribute)

    def called(*args: Any, **kwargs: Any) -> Any:
        before = time.process_time()
        try:
            return original(*args, **kwargs)
        finally:
            spent[name] += time.process_time() - before

    setattr(owner, attribute, called)
    try:
        yield
    finally:
        setattr(owner, attribute, original)
