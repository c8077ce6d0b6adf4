"""The group of commands: summaries that are whole, and words that a shell completes."""

import re
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from helpers.pages import text_of
from recsae.cli.entry import COMPLETION, group


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
