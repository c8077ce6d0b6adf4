"""The group of commands: summaries that are whole, completion, and what commands import."""

import re
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from helpers.pages import text_of
from helpers.runs import copy_of
from recsae.cli.entry import COMPLETION, group

pytestmark = pytest.mark.end_to_end

LEARNING = (
    "torch",
    "numba",
    "recbole",
    "rectools",
    "pytorch_lightning",
    "sklearn",
    "scipy",
    "matplotlib",
)
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
    assert found.isdisjoint({*LEARNING, "pandas", "pyarrow"})
    assert {"pydantic", "jinja2"} <= found


def test_charts_are_drawn_anew_only_where_none_are_kept(folder):
    (folder / "figures.json").unlink()
    assert "matplotlib" in imported("report", folder)
    assert "matplotlib" not in imported("report", folder)


def test_a_run_is_opened_without_what_only_learns_or_draws():
    code = "import sys, recsae.finished.opened; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = set(done.stdout.split())
    assert "recsae.finished.opened" in found
    assert found.isdisjoint({"matplotlib", "sklearn", "recbole", "scipy.stats"})


def test_no_summary_is_cut_in_eighty_characters():
    shown = CliRunner().invoke(group, ["--help"], prog_name="recsae", terminal_width=80).output
    commands = shown.split("Commands:\n")[1].splitlines()
    assert [line.split()[0] for line in commands] == list(group.commands)
    assert all(line.endswith(".") and not line.endswith("..") for line in commands)
    assert max(map(len, commands)) <= 80


@pytest.fixture
def typed(tmp_path):
    """What bash offers after some words, by the line of the documentation."""
    if not shutil.which("bash"):
        pytest.skip("bash is not installed")
    called = tmp_path / "recsae"
    called.write_text(f"#!{sys.executable}\nfrom recsae.cli import main\nmain()\n")
    called.chmod(0o755)
    (line,) = re.findall(r'`(eval "\$\(\w+=bash_source recsae\)")`', text_of("docs/commands.md"))
    assert COMPLETION in line

    def offered(*words):
        script = (
            f'PATH="{tmp_path}:$PATH"\n{line}\n'
            f"COMP_WORDS=(recsae {' '.join(words)})\nCOMP_CWORD={len(words)}\n"
            '_recsae_completion recsae\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
        )
        done = subprocess.run(
            ["bash", "-c", script], capture_output=True, text=True, check=True, timeout=60
        )
        assert done.stderr == ""
        return done.stdout.split()

    return offered


@pytest.mark.processes
def test_bash_completes_commands_and_options(typed):
    assert typed("con") == ["concepts"]
    assert typed("concepts", "--s") == ["--search", "--status", "--seed"]
    assert typed("explain", "--method", "lea") == ["leave-one-out"]
