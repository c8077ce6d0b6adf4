"""Training steps timed, implementations in turn in every round; and what they learn."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from sae_peers import LIBRARIES, Autograd, Peer, Recsae, Size
from sae_uses import seconds_of

US = "recsae"
RATE = 1e-3
N_STATES = 65_536
ROUNDS = 5
SECONDS = 0.3


class Times(NamedTuple):
    """CPU seconds per state of each implementation and batch size, round by round."""

    seconds: dict[tuple[str, int], list[float]]
    peak: list[float]


def made_states(size: Size, n: int, seed: int = 0) -> torch.Tensor:
    """States ``(n, d)``, mean 0 and variance 1: each a few of many directions, and noise."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(4 * size.d, size.d, generator=generator)
    which = torch.randint(len(directions), (n, 8), generator=generator)
    amounts = torch.rand(n, 8, generator=generator)
    states = torch.nn.functional.embedding_bag(
        which, directions, per_sample_weights=amounts, mode="sum"
    )
    states += 0.3 * torch.randn(n, size.d, generator=generator)
    states -= states.mean(0)
    return states / states.square().mean().sqrt()


def implementations(names: Iterable[str]) -> dict[str, Callable[[Size, int], Peer]]:
    """recsae, autograd and libraries by name; each makes an SAE for a size and a batch size."""
    made: dict[str, Callable[[Size, int], Peer]] = {
        US: lambda size, batch: Recsae(size, RATE, batch),
        f"{US} + aux": lambda size, batch: Recsae(size, RATE, batch, auxiliary=True),
        "autograd": lambda size, batch: Autograd(size, RATE, batch),
        "autograd + aux": lambda size, batch: Autograd(size, RATE, batch, auxiliary=True),
    }
    for name in names:
        make = LIBRARIES[name][1]
        made[name] = lambda size, batch, make=make: make(size, RATE, batch)  # type: ignore[misc]
    return made


def time_steps(
    makers: dict[str, Callable[[Size, int], Peer]],
    size: Size,
    batches: Sequence[int],
    rounds: int = ROUNDS,
    at_least: float = SECONDS,
) -> Times:
    """Time every implementation at every batch size, all of them in each round."""
    states = made_states(size, max(N_STATES // 4, *batches))
    works = {}
    for batch in batches:
        for name, make in makers.items():
            works[name, batch] = stepping(make(size, batch), states, batch)
            works[name, batch]()
    seconds: dict[tuple[str, int], list[float]] = {key: [] for key in works}
    peak = []
    for _ in range(rounds):
        peak.append(sgemm_peak())
        for (name, batch), work in works.items():
            seconds[name, batch].append(seconds_of(work, at_least) / batch)
    return Times(seconds, peak)


def stepping(peer: Peer, states: torch.Tensor, batch: int) -> Callable[[], None]:
    """One step on the next batch, over and over."""
    parts = states[: len(states) // batch * batch].split(batch)
    turn = -1

    def work() -> None:
        nonlocal turn
        turn = (turn + 1) % len(parts)
        peer.step(parts[turn])

    return work


def sgemm_peak(side: int = 1024) -> float:
    """FLOP per second of a product of square matrices."""
    a, b, out = torch.ones(side, side), torch.ones(side, side), torch.empty(side, side)
    return 2 * side**3 / min(seconds_of(lambda: torch.mm(a, b, out=out), 0.02) for _ in range(5))


def best_batch(times: Times, name: str) -> int:
    """The batch size at which an implementation takes least per state."""
    batches = [batch for who, batch in times.seconds if who == name]
    return min(batches, key=lambda batch: statistics.median(times.seconds[name, batch]))


def share_of_floor(times: Times, size: Size, name: str, batch: int) -> float:
    """Time of the sparse step's arithmetic at sgemm's speed over the time taken."""
    pairs = zip(times.peak, times.seconds[name, batch], strict=True)
    return statistics.median(size.flop() / peak / seconds for peak, seconds in pairs)


def fvu(peer: Peer, states: torch.Tensor) -> float:
    """Share of the variance of states ``(n, d)`` that is not reconstructed."""
    error = (peer.reconstruct(states) - states).square().sum()
    return float(error / (states - states.mean(0)).square().sum())


def curve(
    peer: Peer, states: torch.Tensor, batch: int, marks: Sequence[int], held_out: torch.Tensor
) -> list[float]:
    """FVU on held-out states after each number of steps in ``marks``."""
    work, found = stepping(peer, states, batch), []
    for step in range(1, max(marks) + 1):
        work()
        if step in marks:
            found.append(fvu(peer, held_out))
    return found
