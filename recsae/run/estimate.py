"""What a run with the defaults would take: a little is measured, the rest is extrapolated.

The model reads a few windows as a capture does; one product of matrices tells how fast the machine
is beside the one that the other stages were timed on.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recsae.run.memory import needed_mb

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from recsae.capture.windows import Windows
    from recsae.recommender.protocol import Recommender

MEASURED_POSITIONS = 4_000
"""Positions at most that are captured of each store to time it."""
ROUNDS = 3
"""The best of so many is taken: what else the machine does at the moment is not to count."""
BESIDE = 1.2
"""CPU seconds of a capture in a second: lists are made while other threads read."""
SIDE = 1_024
"""Of the square matrices whose product is timed."""
REFERENCE_SECONDS = 0.0104
"""That product on the two cores on which the stages below were timed. Where it takes four times as
long, they take twice as long: much of them is no product."""
TRAIN_SECONDS = 7.0
"""One training there of 1,024 latents at width 64 on two million states; it grows with the square
root of both, since much of a step does not depend on them."""
FIXED_SECONDS = 25.0
"""What the stages after training took there whatever the data: goals, compilation, the page."""
SECONDS_PER_CASE = 2e-4
"""What they took for each case that labels are made and tested on ..."""
SECONDS_PER_SCORE = 1.6e-8
"""... and for each case and item, at width 64."""
DENSER = 1.6
"""How many times as long they took where 32 latents are active at a time, not 4."""


@dataclass(frozen=True)
class Estimate:
    """Seconds of wall and MB that a run takes on an idle machine.

    Of four runs each took between .85 and 1.4 times what the estimate spans, and at most 1.4 times
    its memory; the stages were timed on these runs, so that others may be further off.
    """

    capture_seconds: float
    """Of the model's forwards and the lists, measured."""
    train_seconds: float
    """Of one training."""
    other_seconds: float
    """Of the stages after training."""
    trainings: int
    """Numbers of active latents that are tried at most, each with a training."""
    memory_mb: float
    """Of the process at its peak."""

    @property
    def seconds(self) -> tuple[float, float]:
        """In all: where the first number of active latents will do, or only the last."""
        denser = DENSER if self.trainings > 1 else 1.0
        return (
            self.capture_seconds + self.train_seconds + self.other_seconds,
            self.capture_seconds
            + self.trainings * self.train_seconds
            + denser * self.other_seconds,
        )

    def to_dict(self) -> dict[str, Any]:
        """The estimate as JSON holds it, whole seconds and MB."""
        figures = {name: round(value) for name, value in vars(self).items()}
        return {"seconds": [round(seconds) for seconds in self.seconds], **figures}


def estimate(
    recommender: Recommender,
    site: str,
    stores: Sequence[Windows],
    *,
    n_cases: int,
    width: int,
    n_latents: int,
    trainings: int,
) -> Estimate:
    """Time and memory of a run.

    Parameters
    ----------
    stores
        The windows that each store of the run is captured from.
    n_cases
        That labels are made and tested on.
    width, n_latents
        Of the SAE.
    trainings
        How many numbers of active latents are tried at most.

    Raises
    ------
    RecSAEError
        The model gives NaN or infinite states.
    """
    n_items = recommender.catalog.n_items
    slower = (_product_seconds() / REFERENCE_SECONDS) ** 0.5
    size = (width * n_latents / (64 * 1024)) ** 0.5
    scores = n_cases * n_items * width / 64
    after = FIXED_SECONDS + SECONDS_PER_CASE * n_cases + SECONDS_PER_SCORE * scores
    return Estimate(
        sum(_capture_seconds(recommender, site, windows) for windows in stores),
        TRAIN_SECONDS * slower * size,
        after * slower,
        trainings,
        needed_mb(n_items, width, n_cases).total,
    )


def _capture_seconds(recommender: Recommender, site: str, windows: Windows) -> float:
    """What all windows take, from some of them; the first forward, which prepares, is left out."""
    import torch

    from recsae.capture.forward import forward_all

    some = windows.thinned(MEASURED_POSITIONS, seed=0)
    if not len(some):
        return 0.0
    forward_all(recommender, [site], windows.thinned(1, seed=0))
    seconds = _cpu_seconds(lambda: forward_all(recommender, [site], some))
    beside = BESIDE if torch.get_num_threads() > 1 else 1.0
    return seconds / beside * windows.n_positions / some.n_positions


def _product_seconds() -> float:
    import torch

    matrix = torch.ones(SIDE, SIDE)
    return _cpu_seconds(lambda: matrix @ matrix) / torch.get_num_threads()


def _cpu_seconds(work: Callable[[], object]) -> float:
    """Of all threads, the best of :data:`ROUNDS`; what else runs meanwhile counts less so."""
    seconds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return min(seconds)
