"""Makes runs in processes that die by SIGKILL, for tests of the pipeline: ``python killed.py
FOLDER``.

Everything is imported once and then forked, so that many deaths cost little.
"""

import importlib
import itertools
import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import torch

from helpers.runs import FEWER, run_in_brief, small_planted, small_run
from recsae.core.files import read_json
from recsae.core.topk import top_k

WHEN_NEEDED = ("torch._dynamo", "pyarrow.parquet", "jinja2")
for name in (*WHEN_NEEDED, "sklearn.linear_model", "sklearn.feature_extraction.text"):
    importlib.import_module(name)
for name in ("recsae.pipeline.stages.scoring", "recsae.pipeline.report_data", "recsae.report.page"):
    importlib.import_module(name)


def in_child(work):
    """Fork, do the work there, and return the process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def was_killed(pid):
    """Wait; whether the process died by SIGKILL. Anything but that and a clean end is an error."""
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status not in (0, -signal.SIGKILL):
        sys.exit(f"a run ended with {status}")
    return status != 0


def die_at(write, *, before):
    """Let this process die at its n-th write, just before or just after the file is in place."""
    replace, number = Path.replace, itertools.count(1)

    def fatal(self, target):
        now = next(number) == write
        if now and before:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(self, target)
        if now:
            os.kill(os.getpid(), signal.SIGKILL)

    Path.replace = fatal


def run(folder, write=None):
    if write is not None:
        die_at(write, before=write % 2 == 1)
    run_in_brief(folder, FEWER)


def main(folder):
    """A run with a death at later and later writes, and one with deaths at random moments.

    Both are to be :func:`helpers.runs.small_run` in the end.
    """
    small_planted()
    top_k(torch.ones(1, 2), 1)  # compiled
    seconds = sum(read_json(small_run() / "report.json")["timings"].values())
    deaths = {"writes": 0, "moments": 0}
    while was_killed(in_child(lambda: run(folder / "writes", deaths["writes"] + 1))):
        deaths["writes"] += 1
    rng = random.Random(0)
    for _ in range(5):
        pid = in_child(lambda: run(folder / "moments"))
        time.sleep(rng.uniform(0.02, 0.2) * seconds)
        os.kill(pid, signal.SIGKILL)
        deaths["moments"] += was_killed(pid)
    was_killed(in_child(lambda: run(folder / "moments")))
    (folder / "deaths.json").write_text(json.dumps(deaths))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
