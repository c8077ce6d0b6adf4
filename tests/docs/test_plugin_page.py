"""The plug-in that docs/plugins.md shows: packaged, installed, and run beside broken ones."""

import json
import re
import subprocess
import sys

import pytest

from helpers.forked import Forked, run_module
from helpers.pages import text_of

pytestmark = pytest.mark.processes


PAGE = text_of("docs/plugins.md")
FILES = dict(re.findall(r"^```\w+\n# ([\w.]+)\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE))
(MESSAGE,) = re.findall(r"^AssertionError: Toybox fails .*$", PAGE, flags=re.MULTILINE)
TEST = "test_recsae_toybox.py"
MODEL = {
    "items": ["a", "b", "c"],
    "histories": {f"u{u}": ["a", "b", "c"] for u in range(30)},
    "memory": 2,
    "vectors": [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]],
}


@pytest.fixture(scope="module")
def site_packages(tmp_path_factory):
    """Where pip has installed the example's package."""
    source, target = tmp_path_factory.mktemp("toybox"), tmp_path_factory.mktemp("site-packages")
    for name, text in FILES.items():
        (source / name).write_text(text)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(target)]
    done = subprocess.run([*pip, *offline, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


def install_broken(folder, name, module_text):
    """A distribution whose plug-in is the ``plugin`` of a module with this text."""
    (folder / f"{name}.py").write_text(module_text)
    info = folder / f"recsae_{name}-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: recsae-{name}\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text(f"[recsae.plugins]\n{name} = {name}:plugin\n")


BROKEN = {
    "absent": ("import no_such_framework", "broken: ModuleNotFoundError: No module named 'no_such"),
    "exits": ("raise SystemExit('no licence')", "broken: SystemExit: no licence"),
    "zero": ("plugin = 0", "broken: zero:plugin has no name, recognises, open, versions"),
}


@pytest.fixture(scope="module")
def done(site_packages, tmp_path_factory):
    """What the commands say that people would type, by the names of the tests below."""
    kept, mistaken, user = (tmp_path_factory.mktemp(name) for name in ("kept", "own", "user"))
    for folder in (kept, mistaken):
        (folder / TEST).write_text(FILES[TEST])
    asked = "return self.model.scores(batch.items, batch.lengths)"
    own = "vectors = self.model.vectors; averages = vectors[batch.items].sum(1)\n        "
    own += "return averages / batch.lengths[:, None] @ vectors.T"
    (mistaken / "recsae_toybox.py").write_text(FILES["recsae_toybox.py"].replace(asked, own))
    for name, (text, _) in BROKEN.items():
        install_broken(user, name, text)
    (user / "model.toybox").write_text(json.dumps(MODEL))
    commands = {
        "kept": (["pytest", TEST], kept),
        "mistaken": (["pytest", TEST], mistaken),
        "plugins": (["recsae", "plugins", "--json"], user),
        "inspect": (["recsae", "inspect", "model.toybox", "--json"], user),
    }
    return {
        name: said_by(arguments, site_packages, cwd) for name, (arguments, cwd) in commands.items()
    }


def said_by(arguments, site_packages, cwd):
    """``python -m ARGUMENTS``, which finds the packages installed there."""
    process = Forked(run_module, (arguments, [str(site_packages)], str(cwd)), {})
    stdout, stderr = process.communicate(timeout=300)
    return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)


def test_example_keeps_the_protocol(done):
    assert done["kept"].returncode == 0, done["kept"].stdout
    assert "1 passed" in done["kept"].stdout


def test_mistake_is_named_as_the_page_says(done):
    assert done["mistaken"].returncode == 1
    assert MESSAGE in done["mistaken"].stdout


def test_third_party_plugins_are_listed_and_broken_ones_are_a_warning(done):
    listed, inspected = done["plugins"], done["inspect"]
    rows = {row.pop("name"): row for row in json.loads(listed.stdout)}
    ready = {"package": "recsae-toybox", "version": "0.1", "state": "ready (toybox 1.0)"}
    ready["kind"] = "plug-in"
    assert rows["toybox"] == ready
    for name, (_, words) in BROKEN.items():
        assert (rows[name]["package"], rows[name]["version"]) == (f"recsae-{name}", "2.0")
        assert rows[name]["state"].startswith(words)
    assert listed.stderr == ""

    assert inspected.returncode == 0, inspected.stderr
    facts = json.loads(inspected.stdout)
    assert (facts["plugin"], facts["users"], facts["linear head"]) == ("toybox", 30, "verified")
    warned = inspected.stderr.splitlines()
    assert [line.split("'")[1] for line in warned] == sorted(BROKEN)
    assert warned[1] == (
        "The plug-in 'exits' of the package recsae-exits 2.0 is broken: SystemExit: no licence. It "
        "is left out; `recsae plugins` lists all."
    )
