"""What an SAE costs beside training steps: encoding a data set, steering, memory of training."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sae_peers import Size, initial

from recsae.capture.store import SHARD, ActivationStore
from recsae.core.files import write_arrays, write_json
from recsae.sae.codes import STATES_AT_ONCE
from recsae.sae.config import make_config
from recsae.sae.editing import Intervention
from recsae.sae.train import train_sae

ROUNDS = 7
STEERED = 256
EDITS: dict[str, list[Intervention]] = {
    "one latent off": [Intervention((0,), "set", 0.0)],
    "ten latents off": [Intervention(tuple(range(10)), "set", 0.0)],
    "sixteen latents, as tuned": [
        Intervention(tuple(range(16)), "scale", tuple(0.5 + 0.1 * j for j in range(16))),
        Intervention(tuple(range(16)), "add", tuple(0.1 * j - 0.8 for j in range(16))),
    ],
}


def seconds_of(work: Callable[[], Any], at_least: float) -> float:
    """CPU seconds of one call, called for at least so long."""
    started, calls = time.process_time(), 0
    while not calls or time.process_time() - started < at_least:
        work()
        calls += 1
    return (time.process_time() - started) / calls


def interleaved(
    works: dict[str, Callable[[], Any]], rounds: int, at_least: float
) -> dict[str, list[float]]:
    """CPU seconds of each, one after the other in every round, once before that."""
    for work in works.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            seconds[name].append(seconds_of(work, at_least))
    return seconds


def median_ratio(seconds: list[float], base: list[float]) -> float:
    """Median over rounds of the ratio in that round."""
    return statistics.median(a / b for a, b in zip(seconds, base, strict=True))


def encoding(size: Size, states: torch.Tensor) -> tuple[float, float]:
    """States ``(n, d)`` per second of recsae, and how many times those of a dense encoding."""
    sae = initial(size)

    def sparse() -> None:
        for part in states.split(STATES_AT_ONCE):
            sae.encode_sparse(part)

    def dense() -> None:
        for part in states.split(STATES_AT_ONCE):
            pre = sae.preactivations(part).relu()
            best = pre.topk(size.k, dim=1)
            torch.zeros_like(pre).scatter_(1, best.indices, best.values)

    with torch.no_grad():
        found = interleaved({"sparse": sparse, "dense": dense}, ROUNDS, 0.3)
    return (
        len(states) / statistics.median(found["sparse"]),
        median_ratio(found["dense"], found["sparse"]),
    )


def steering(checkpoint: Path, data_path: Path) -> dict[str, float]:
    """Milliseconds of the plain SASRec's scoring of a batch; others as multiples of it."""
    from recbole.data.interaction import Interaction

    from recsae import load_recommender
    from recsae.steering.context import steer

    recommender: Any = load_recommender(checkpoint, trust=True, data_path=data_path)
    model, length = recommender.model, recommender.max_length
    sequences = recommender.sequences()
    rows = np.arange(STEERED)
    ends = np.diff(sequences.offsets)[rows]
    batch = sequences.batch(rows, (ends - length).clip(0), ends, length)
    asked = Interaction({model.ITEM_SEQ: batch.items, model.ITEM_SEQ_LEN: batch.lengths})
    width = recommender.sites()[0].width
    sae = initial(Size(width, 16 * width, 8))

    def plain() -> None:
        model.full_sort_predict(asked)

    def scored() -> None:
        recommender.score(batch)

    def steered(edit: list[Intervention]) -> Callable[[], None]:
        def work() -> None:
            with steer(recommender, sae, edit):
                recommender.score(batch)

        return work

    works = {"nothing turned": scored, **{name: steered(edit) for name, edit in EDITS.items()}}
    with torch.no_grad():
        found = interleaved({"plain": plain, **works}, ROUNDS, 0.5)
    ratios = {name: median_ratio(found[name], found["plain"]) for name in works}
    return {"plain": 1000 * statistics.median(found["plain"]), **ratios}


def write_store(folder: Path, n: int, width: int) -> None:
    """A store of made states, shard by shard."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(width, width)).astype(np.float32)
    names: list[str] = []
    for first in range(0, n, SHARD):
        rows = min(SHARD, n - first)
        states = rng.standard_normal((rows, width), dtype=np.float32) @ mixing
        names.append(f"{len(names):05d}.safetensors")
        place = first + np.arange(rows, dtype=np.int32)
        columns = {
            "states": states,
            "sequence": place // 100,  # a hundred to a user
            "position": place % 100,
            "top_items": np.zeros((rows, 1), dtype=np.int32),
        }
        write_arrays(folder / names[-1], columns)
    made = {"fingerprint": f"made {n}", "model": "none", "site": "none"}
    write_json(folder / "manifest.json", {**made, "n": n, "width": width, "shards": names})


def memory_of_training(n: int, width: int = 64) -> dict[str, float]:
    """Peaks in MB and seconds of a process that trains on n made states."""
    with tempfile.TemporaryDirectory() as scratch:
        write_store(Path(scratch), n, width)
        done = subprocess.run(
            [sys.executable, __file__, scratch],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            check=True,
        )
    return dict(json.loads(done.stdout))


def train_and_watch(folder: Path) -> dict[str, float]:
    """Train on a store for at least 400,000 states; what this process takes."""
    own = 0.0
    ended = threading.Event()

    def watch() -> None:
        nonlocal own
        while not ended.wait(0.01):
            own = max(own, memory("RssAnon"))

    torch.set_num_threads(1)
    store = ActivationStore(folder)
    before, started = memory("RssAnon"), time.perf_counter()
    watching = threading.Thread(target=watch)
    watching.start()
    try:
        train_sae(store, make_config(n_samples=400_000))
    finally:  # or the thread would keep a failed process
        ended.set()
        watching.join()
    seconds = time.perf_counter() - started
    return {"peak": memory("VmHWM"), "own": own, "before": before, "seconds": seconds}


def memory(kind: str) -> float:
    """MB of this process: its peak VmHWM, or RssAnon, what are not pages of files.

    The system takes pages of files back as it likes. What ``getrusage`` says begins with the
    memory of the process that started this one.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind)) / 1024


if __name__ == "__main__":
    print(json.dumps(train_and_watch(Path(sys.argv[1]))))
