"""Processes forked from one that has everything imported, so that many of them cost little.

A process of Python's own fork server differs from a new one in nothing else that tests look at:
each has its own environment, output, process id and end.
"""

import multiprocessing
import os
import runpy
import sys
import tempfile
from multiprocessing import forkserver
from pathlib import Path

IMPORTED = (
    "helpers.ranks",
    "recsae_recbole.open",
    "recsae.pipeline.stages.scoring",
    "recsae.testing.kit",
    "torch._dynamo",
)


class Forked:
    """``work(arguments)`` in a process of its own; methods are those of ``subprocess.Popen``."""

    def __init__(self, work, arguments, environment):
        self.folder = tempfile.TemporaryDirectory(prefix="recsae-forked-")
        self.process = _context().Process(
            target=_do, args=(work, arguments, environment, self.folder.name), daemon=True
        )
        self.process.start()

    @property
    def returncode(self):
        return self.process.exitcode

    def send_signal(self, number):
        os.kill(self.process.pid, number)

    def wait(self, timeout=60):
        self.process.join(timeout)
        assert self.returncode is not None, "the process has not ended"
        return self.returncode

    def communicate(self, timeout=60):
        """All that it wrote: stdout and stderr."""
        self.wait(timeout)
        return tuple(Path(self.folder.name, name).read_text() for name in ("stdout", "stderr"))


def run_module(asked):
    """``python -m ARGUMENTS`` in a folder, with more folders where modules are found."""
    arguments, path, folder = asked
    os.chdir(folder)
    sys.path[:0] = [folder, *path]
    sys.argv = list(arguments)
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


def _context():
    """The context of the fork server, which is started once for each process of the tests."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)  # for its imports
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    return context


def _do(work, arguments, environment, folder):
    os.environ.update(environment)
    for number, name in ((1, "stdout"), (2, "stderr")):
        with Path(folder, name).open("w") as file:
            os.dup2(file.fileno(), number)
    work(arguments)
