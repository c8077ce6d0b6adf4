"""CPU seconds of the commands that only read a finished run, beside those of another checkout.

``python benchmarks/startup.py RUN [--before CHECKOUT]``: the best of three of each, in turns, so
that a busy machine harms both sides alike. RUN is copied, since ``recsae report`` writes into it.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

COMMANDS = (
    "--help",
    "--version",
    "plugins",
    "concepts RUN",
    "concepts RUN --latent 0",
    "report RUN",
    "profile --help",
)
ROUNDS = 3


def cpu_seconds(arguments: list[str], checkout: Path) -> float:
    """User and system time of ``python -m recsae`` from a checkout, in all its threads."""
    environment = {**os.environ, "PYTHONPATH": f"{checkout}:{checkout / 'plugins'}"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "recsae", *arguments],
        env=environment,
        cwd=checkout,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measured(run: Path, checkouts: list[Path]) -> dict[str, list[float]]:
    """The best of :data:`ROUNDS` of each command, one figure for each checkout."""
    best = {command: [float("inf")] * len(checkouts) for command in COMMANDS}
    for _ in range(ROUNDS):
        for command, seconds in best.items():
            arguments = [str(run) if word == "RUN" else word for word in command.split()]
            for i, checkout in enumerate(checkouts):
                seconds[i] = min(seconds[i], cpu_seconds(arguments, checkout))
    return best


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--before", type=Path)
    given = parser.parse_args()
    here = Path(__file__).resolve().parent.parent
    checkouts = [here] if given.before is None else [given.before.resolve(), here]
    with tempfile.TemporaryDirectory() as folder:
        run = shutil.copytree(given.run, Path(folder) / "run")
        best = measured(run, checkouts)
    head = ["command", *(["before, s"] if given.before else []), "CPU s"]
    print("| " + " | ".join(head) + " |")
    print("|---" + "|---:" * (len(head) - 1) + "|")
    for command, seconds in best.items():
        print(f"| `recsae {command}` | " + " | ".join(f"{s:.2f}" for s in seconds) + " |")


if __name__ == "__main__":
    main()
