"""Kill -9 at any moment of a run: the same command goes on to the same result."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.run_files import FILES, contents

pytestmark = [pytest.mark.end_to_end, pytest.mark.processes]


def test_killed_again_and_again_the_result_is_the_same(tmp_path, small_run):
    """At every kind of write, before and after it is in place, and at random moments."""
    script = Path(__file__).parents[1] / "helpers/killed.py"
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(script.parents[1])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    deaths = json.loads((tmp_path / "deaths.json").read_text())
    assert deaths["writes"] >= 8
    assert deaths["moments"] >= 1
    whole = contents(small_run)
    assert len(whole) > len(FILES)
    for name in ("writes", "moments"):
        assert contents(tmp_path / name) == whole, name
    assert not list(tmp_path.rglob(".*.part"))
    assert not list(tmp_path.rglob("training.*"))
