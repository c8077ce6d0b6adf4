"""Arrows between packages run down only, and the linter that holds it does notice an offence."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINTER = Path(sys.executable).with_name("lint-imports")
MAX_FILES = 15
MAX_LINES = 400

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(not LINTER.exists(), reason="import-linter is not installed"),
]


@pytest.fixture
def copy(tmp_path):
    """The packages, to add an import to."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "recsae", tmp_path / "recsae", ignore=ignored)
    for plugin in ("recsae_recbole", "recsae_rectools", "recsae_torch"):
        shutil.copytree(ROOT / "plugins" / plugin, tmp_path / plugin, ignore=ignored)
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    return tmp_path


def lint(folder):
    done = subprocess.run(
        [str(LINTER), "setup.cfg", "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def plant(path, line):
    path.write_text(f"{path.read_text()}\n\ndef planted():\n    {line}\n")


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("recsae/core/errors.py", "import recsae.sae.model", "Arrows run down only"),
        ("recsae/evaluation/scoring.py", "import recsae.run.record", "Arrows run down only"),
        ("recsae_torch/dataset.py", "import recsae.sae.model", "Plug-ins stand on the seam"),
        ("recsae/recommender/plugins.py", "import recsae_torch", "recsae never imports a plug-in"),
        ("recsae/core/errors.py", "import recsae.core.files", "No circles inside a package"),
    ],
)
def test_an_offence_is_caught(copy, file, line, contract):
    plant(copy / file, line)
    status, said = lint(copy)
    assert status != 0
    assert f"{contract} BROKEN" in said


def test_as_it_is_every_contract_is_kept(copy):
    status, said = lint(copy)
    assert status == 0, said
    assert "4 kept, 0 broken" in said


def test_folders_and_modules_have_a_size_that_can_be_read():
    for root in (ROOT / "recsae", ROOT / "plugins"):
        for folder in {path.parent for path in root.rglob("*.py")}:
            files = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
            assert len(files) <= MAX_FILES, folder
            for path in files:
                assert path.read_text().count("\n") <= MAX_LINES, path
