"""What commands import: those that only read leave the heavy packages alone."""

import subprocess
import sys

import pytest

from helpers.runs import copy_of

pytestmark = pytest.mark.end_to_end

LEARNING = ("torch", "numba", "recbole", "sklearn", "scipy", "matplotlib")
"""Packages that compute, train or draw: they take most of a second each to import."""
ALL = (*LEARNING, "numpy", "pandas", "pyarrow", "pydantic")
SHOW = """
import sys
from recsae.cli.entry import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


def imported(*arguments):
    """The top-level packages that a command has imported when it ends."""
    command = [sys.executable, "-c", SHOW, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    return {name.partition(".")[0] for name in done.stderr.split()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, planted_run):
    return copy_of(planted_run, tmp_path_factory.mktemp("run") / "run")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["plugins"], ["profile", "--help"], ["run", "--help"]]
)
def test_what_needs_no_run_imports_nothing_heavy(arguments):
    assert imported(*arguments).isdisjoint(ALL)


@pytest.mark.parametrize("question", [[], ["--status", "verified"], ["--latent", "0"], ["--json"]])
def test_the_dictionary_is_read_without_what_made_it(folder, question):
    found = imported("concepts", folder, *question)
    assert found.isdisjoint(LEARNING)
    assert "pandas" in found  # the modules of the command's own process are what is seen


def test_the_page_is_written_without_what_made_the_run(folder):
    found = imported("report", folder)
    assert found.isdisjoint({*LEARNING, "pandas", "pyarrow"} - {"matplotlib"})
    assert "matplotlib" in found  # the charts
