"""How fast an SAE trains, encodes and steers, beside autograd and whichever libraries are there.

One pinned thread. Implementations take turns within every round, and only ratios within a round
are compared: whatever else the machine does then reaches all of them alike.
"""

from __future__ import annotations

import contextlib
import io
import os
import platform
import statistics
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click
import torch
from sae_parts import parts_of_step
from sae_peers import LIBRARIES, Peer, Size
from sae_steps import (
    N_STATES,
    RATE,
    ROUNDS,
    SECONDS,
    US,
    Times,
    best_batch,
    curve,
    implementations,
    made_states,
    share_of_floor,
    time_steps,
)
from sae_uses import encoding, median_ratio, memory_of_training, steering

SIZES = {
    Size(64, 2048, 32): (256, 320, 1024, 4096),
    Size(64, 1024, 8): (256, 1024, 4096),
    Size(64, 1024, 4): (256, 1024, 4096),
    Size(64, 256, 8): (256, 1024, 4096),
    Size(256, 8192, 32): (256, 1024, 4096),
}
CURVE = (50, 100, 200)
CURVE_BATCH = 1024
PARTS_BATCHES = (1024, 4096)
MILLION = 1_000_000
HEAD = """# Speed of the SAE

Written by `python benchmarks/sae_speed.py`. {cpu}, one pinned thread, {versions}.{missing}

CPU time of whole training steps (forward, backward, Adam, decoder norm, dead latents counted) on
made states. Implementations take turns in {rounds} rounds of at least {seconds} s each; times are
medians over rounds, ratios medians of the ratios within a round. Only ratios mean something on
another machine. The floor is the arithmetic of a sparse step, 2 d M + 8 k d per state for M
latents, at the speed of the best product of two 1,024 x 1,024 matrices in the same round
({peak:.0f} GFLOP/s).

autograd is the reference algorithm from its paper's equations: dense, `torch.topk`, Adam as torch
chooses it. "+ aux": the auxiliary loss has work in every step, because a latent that does not fire
in a batch counts as dead; elsewhere none is dead yet. sae-lens and dictionary_learning run in
their own trainers, overcomplete and sparsify in the steps of theirs with torch's fused Adam.
overcomplete is imported module by module, without the vision models of its `__init__`.
"""


def installed() -> tuple[list[str], list[str]]:
    """Libraries that a step can be made with, and why the others cannot."""
    found, missing = [], []
    for name, (distribution, make) in LIBRARIES.items():
        try:
            version(distribution)
            with contextlib.redirect_stdout(io.StringIO()):
                make(Size(4, 8, 2), RATE, 4)
            found.append(name)
        except PackageNotFoundError:
            missing.append(f"{name} was not installed.")
        except ImportError as error:
            missing.append(f"{name} could not be imported ({error}).")
    return found, missing


def speed_table(times: Times, size: Size) -> str:
    """Microseconds per state and multiples of recsae's time, by batch and at the best batch."""
    names = list(dict.fromkeys(name for name, _ in times.seconds))
    batches = list(dict.fromkeys(batch for _, batch in times.seconds))
    ours = times.seconds[US, best_batch(times, US)]
    head = [f"us per state (times recsae's), {size}", *(f"batch {b:,}" for b in batches)]
    rows = [[*head, "best batch", "at their best", "share of the floor"]]
    for name in names:
        best = best_batch(times, name)
        row = [name]
        for batch in batches:
            seconds = times.seconds[name, batch]
            ratio = median_ratio(seconds, times.seconds[US, batch])
            row.append(f"{1e6 * statistics.median(seconds):.1f} ({ratio:.1f})")
        ratio = median_ratio(times.seconds[name, best], ours)
        row += [
            f"{best:,}",
            f"{ratio:.2f}",
            f"{100 * share_of_floor(times, size, name, best):.0f} %",
        ]
        rows.append(row)
    return markdown(rows)


def targets(times: Times, size: Size, libraries: Sequence[str]) -> str:
    """What the first size is to reach, and what it reached."""
    ours = best_batch(times, US)
    share = 100 * share_of_floor(times, size, US, ours)
    reference = median_ratio(times.seconds["autograd", 320], times.seconds[US, ours])
    rows = [["recsae at its best batch", "target", "measured"]]
    if libraries:
        others = {n: median_ratio(times.seconds[n, best_batch(times, n)], times.seconds[US, ours])
                  for n in libraries}  # fmt: skip
        fastest = min(others, key=lambda name: others[name])
        rows.append([f"fastest library ({fastest}) at its best batch, times recsae's", "3",
                     f"{others[fastest]:.2f}"])  # fmt: skip
    rows.append(["autograd at batch 320, times recsae's", "6", f"{reference:.2f}"])
    rows.append(["share of the floor", "40 %", f"{share:.0f} %"])
    return markdown(rows)


def curves_table(makers: dict[str, Callable[[Size, int], Peer]], size: Size) -> str:
    """The same start, data, order, batch and learning rate for everything without aux."""
    states = made_states(size, N_STATES + 4096)
    rows = [[f"FVU on held-out states, {size}", *(f"step {mark}" for mark in CURVE)]]
    for name, make in makers.items():
        if not name.endswith("aux"):
            found = curve(make(size, CURVE_BATCH), states[:N_STATES], CURVE_BATCH, CURVE,
                          states[N_STATES:])  # fmt: skip
            rows.append([name, *(f"{value:.6f}" for value in found)])
    return markdown(rows)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table; the first row is its head."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]) + "\n"


def parts_table() -> str:
    """Where the time of a step goes at the first size."""
    size = next(iter(SIZES))
    found = {batch: parts_of_step(size, batch) for batch in PARTS_BATCHES}
    rows = [[f"us per state, {size}", *(f"batch {batch:,}" for batch in found)]]
    for name in found[PARTS_BATCHES[0]]:
        rows.append([name, *(f"{1e6 * part[name]:.2f}" for part in found.values())])
    return markdown(rows)


def encoding_table() -> str:
    """States per second by size."""
    rows = [["encoding", "states per second", "times `torch.topk` on dense activations"]]
    for size in SIZES:
        speed, ratio = encoding(size, made_states(size, N_STATES // 4))
        rows.append([str(size), f"{speed:,.0f}", f"{ratio:.2f}"])
    return markdown(rows)


def steering_table(checkpoint: Path, data_path: Path) -> str:
    """Scoring of a batch, plain and steered."""
    found = steering(checkpoint, data_path)
    rows = [["SASRec, batch 256", "times the plain model's `full_sort_predict`"]]
    rows.append([f"`full_sort_predict`, {found.pop('plain'):.1f} ms", "1"])
    rows += [[f"`score`, {name}", f"{ratio:.3f}"] for name, ratio in found.items()]
    return markdown(rows)


def memory_table(counts: Sequence[int]) -> str:
    """Peaks of processes that train on stores of several lengths."""
    columns = ("states", "own memory, MB", "before training, MB", "with pages of files, MB", "s")
    rows: list[Sequence[str]] = [columns]
    for n in counts:
        m = memory_of_training(n)
        cells = (f"{m[key]:.0f}" for key in ("own", "before", "peak", "seconds"))
        rows.append([f"{n / MILLION:g} M", *cells])
    return markdown(rows)


def cpu_name() -> str:
    """What the processor calls itself."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


@click.command()
@click.option("--checkpoint", type=click.Path(path_type=Path, exists=True), help="A SASRec.")
@click.option("--data-path", type=click.Path(path_type=Path, exists=True), help="Its data set.")
@click.option("--large", is_flag=True, help="Memory on 20 M states too: 5 GB of disk, minutes.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/SPEED.md"))
def main(checkpoint: Path | None, data_path: Path | None, large: bool, out: Path) -> None:
    """Measure and write the page; about five minutes."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    torch.set_num_threads(1)
    libraries, missing = installed()
    for line in missing:
        click.echo(line, err=True)
    makers = implementations(libraries)
    parts, peaks = ["## Training steps\n"], []
    for size, batches in SIZES.items():
        click.echo(f"steps, {size}", err=True)
        times = time_steps(makers, size, batches)
        peaks += times.peak
        parts.append(speed_table(times, size))
        if 320 in batches:
            parts.append(targets(times, size, libraries))
    click.echo("curves, encoding, steering, memory", err=True)
    parts += [PARTS, parts_table(), CURVES, curves_table(makers, next(iter(SIZES)))]
    parts += ["## Encoding a data set\n", encoding_table()]
    if checkpoint and data_path:
        parts += [STEERING, steering_table(checkpoint, data_path)]
    counts = [MILLION // 10, MILLION, *([20 * MILLION] if large else [])]
    parts += [MEMORY, memory_table(counts)]
    known = ["recsae", "torch", "numba", *(LIBRARIES[name][0] for name in libraries)]
    head = HEAD.format(
        cpu=cpu_name(),
        versions=", ".join(f"{name} {version(name)}" for name in known),
        missing="".join(f" {line}" for line in missing),
        rounds=ROUNDS,
        seconds=SECONDS,
        peak=statistics.median(peaks) / 1e9,
    )
    out.write_text("\n".join([head, *parts]), encoding="utf-8")
    click.echo(f"Wrote {out}")


PARTS = """## Where a step goes

The parts of recsae's step by themselves, by the CPU's clock. The last line is the arithmetic of the
sparse step at the speed of the best product of two 1,024 x 1,024 matrices, nearly all of it the
product of states and encoder; what that takes more is because it is a thin one. Top k is no
arithmetic, and sums over k rows are not done at the speed of products.
"""
CURVES = """## Equal maths

The same start, data, order, batch (1,024) and learning rate. recsae and autograd do the same;
sparsify divides by each batch's variance; sae-lens and dictionary_learning clip gradients, sae-lens
does not keep decoder rows at length 1; overcomplete clips and has no decoder bias.
"""
STEERING = """## Steering

An SASRec given by `--checkpoint`; an SAE of 16 latents per dimension, k = 8. Entering and leaving
`steer` is part of the time. Target: 1.15.
"""
MEMORY = """## Memory of training

Peaks of a process that trains on made states of 64 dimensions, at least 400,000 of them. Pages of
the mapped store count as resident until the system takes them back; what the process owns is what
must not grow. Before training: Python, torch and recsae alone.
"""

if __name__ == "__main__":
    main()
