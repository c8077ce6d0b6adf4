"""What a wheel ships, what it asks for, and how little happens on import."""

import json
import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from email.parser import HeaderParser
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.processes


ROOT = Path(__file__).parent.parent
SOURCES = {
    "recsae": ROOT / "recsae",
    "recsae_recbole": ROOT / "plugins" / "recsae_recbole",
    "recsae_rectools": ROOT / "plugins" / "recsae_rectools",
    "recsae_torch": ROOT / "plugins" / "recsae_torch",
}
HEAVY = {"torch", "recbole", "rectools", "matplotlib", "onnx", "openai", "sklearn", "pandas"}
NOT_SHIPPED = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that no build folder is left in the checkout."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("recsae", "plugins", "tests", "benchmarks"):
        shutil.copytree(ROOT / name, copy / name, ignore=NOT_SHIPPED)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next((copy / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def site_packages(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel unpacked, as pip would leave it in site-packages."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def dist_info(site_packages: Path) -> Path:
    return next(site_packages.glob("*.dist-info"))


def requirements(dist_info: Path, python: str, extra: str = "") -> dict[str, Requirement]:
    """What pip would install for this Python and extra, by canonical name."""
    headers = HeaderParser().parsestr((dist_info / "METADATA").read_text(encoding="utf-8"))
    environment = {"python_version": python, "python_full_version": f"{python}.0", "extra": extra}
    asked = [Requirement(line) for line in headers.get_all("Requires-Dist", [])]
    return {
        canonicalize_name(r.name): r
        for r in asked
        if r.marker is None or r.marker.evaluate(environment)
    }


def run_apart(code: str, site_packages: Path, cwd: Path) -> dict[str, object]:
    """The JSON that `code` prints last, run on the wheel's content in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(site_packages)!r})\n{code}"],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_wheel_ships_every_file_of_every_package(wheel: Path) -> None:
    expected = {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for package, folder in SOURCES.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    shipped = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    assert shipped == expected


def test_wheel_ships_types_template_schema_and_licence(
    site_packages: Path, dist_info: Path
) -> None:
    for package in SOURCES:
        assert (site_packages / package / "py.typed").is_file()
    assert list((site_packages / "recsae" / "report" / "templates").glob("*.html"))
    assert list((site_packages / "recsae" / "report" / "schema").glob("*schema*.json"))
    assert (dist_info / "licenses" / "LICENSE").is_file()


def test_wheel_puts_nothing_else_in_site_packages(site_packages: Path, dist_info: Path) -> None:
    assert {p.name for p in site_packages.iterdir()} == {*SOURCES, dist_info.name}


def test_entry_points(dist_info: Path) -> None:
    parser = ConfigParser()
    parser.read_string((dist_info / "entry_points.txt").read_text(encoding="utf-8"))
    assert {section: dict(parser[section]) for section in parser.sections()} == {
        "console_scripts": {"recsae": "recsae.cli:main"},
        "recsae.plugins": {
            "recbole": "recsae_recbole:plugin",
            "rectools": "recsae_rectools:plugin",
            "torch": "recsae_torch:plugin",
        },
    }


def test_plugins_are_found_where_recsae_is_installed() -> None:
    assert {"recbole", "rectools", "torch"} <= {
        point.name for point in entry_points(group="recsae.plugins")
    }


def test_metadata(dist_info: Path) -> None:
    headers = HeaderParser().parsestr((dist_info / "METADATA").read_text(encoding="utf-8"))
    assert headers["Name"] == "recsae"
    assert headers["Requires-Python"] == ">=3.11"
    extras = {"recbole", "rectools", "llm", "onnx", "docs", "dev"}
    assert set(headers.get_all("Provides-Extra", [])) == extras
    assert "MIT" in (headers["License-Expression"] or headers["License"])


def test_frameworks_openai_and_onnx_are_asked_for_only_by_their_extras(dist_info: Path) -> None:
    plain = requirements(dist_info, "3.11")
    assert not plain.keys() & {"recbole", "ray", "rectools", "openai", "onnx", "onnxscript"}
    assert str(requirements(dist_info, "3.11", "rectools")["rectools"].specifier) == "<0.20,>=0.19"
    assert str(requirements(dist_info, "3.11", "recbole")["recbole"].specifier) == "==1.2.1"
    assert "openai" in requirements(dist_info, "3.11", "llm")
    assert {"onnx", "onnxscript"} <= requirements(dist_info, "3.11", "onnx").keys()


@pytest.mark.parametrize("python", ["3.12", "3.13", "3.14"])
def test_recbole_extra_resolves_where_recbole_cannot_be_installed(
    dist_info: Path, python: str
) -> None:
    asked = requirements(dist_info, python, "recbole")
    assert not asked.keys() & {"recbole", "ray"}
    assert {"colorlog", "pyyaml", "tensorboard", "texttable"} <= asked.keys()
    assert "3.0" not in asked["pandas"].specifier


def test_constraints_pin_every_requirement(dist_info: Path) -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {
        canonicalize_name(pin.name): pin.specifier
        for pin in (Requirement(line) for line in lines if line and not line.startswith("#"))
        if pin.marker is None or pin.marker.evaluate({"python_version": "3.11"})
    }
    assert str(pins["torch"]) == "==2.13.0"
    extras = ("", "recbole", "rectools", "onnx", "docs", "dev")
    asked = [r for e in extras for r in requirements(dist_info, "3.11", e).values()]
    for requirement in asked:
        version = str(pins[canonicalize_name(requirement.name)]).removeprefix("==")
        assert version in requirement.specifier, requirement


def test_import_is_light(site_packages: Path, tmp_path: Path) -> None:
    code = """
import json, recsae
loaded = {name.partition(".")[0] for name in sys.modules}
print(json.dumps({"file": recsae.__file__, "loaded": sorted(loaded)}))
"""
    answer = run_apart(code, site_packages, tmp_path)
    assert Path(str(answer["file"])).is_relative_to(site_packages)
    assert not HEAVY & set(answer["loaded"])


def test_help_is_light(site_packages: Path, tmp_path: Path) -> None:
    code = """
import json
from recsae.cli import main
sys.argv = ["recsae", "--help"]
try:
    status = main()
except SystemExit as stop:
    status = stop.code
loaded = {name.partition(".")[0] for name in sys.modules}
print(json.dumps({"status": status or 0, "loaded": sorted(loaded)}))
"""
    answer = run_apart(code, site_packages, tmp_path)
    assert answer["status"] == 0
    assert not HEAVY & set(answer["loaded"])


def test_importing_every_module_has_no_side_effects(site_packages: Path, tmp_path: Path) -> None:
    code = """
import importlib, json, logging, pkgutil, random
import numpy, torch  # their own effects are not ours
def state():
    return {
        "argv": list(sys.argv),
        "logging": (logging.getLogger().level, [str(h) for h in logging.getLogger().handlers]),
        "random": hash(random.getstate()),
        "numpy": numpy.random.get_state()[1].tolist(),
        "torch": torch.get_rng_state().tolist(),
        "anomaly": torch.is_anomaly_enabled(),
        "grad": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
    }
before, names = state(), []
for package in ("recsae", "recsae_recbole", "recsae_rectools", "recsae_torch"):
    names.append(package)
    module = importlib.import_module(package)
    for info in pkgutil.walk_packages(module.__path__, package + "."):
        if not info.name.endswith("__main__"):
            names.append(info.name)
            importlib.import_module(info.name)
after = state()
print(json.dumps({"changed": [k for k in before if before[k] != after[k]], "names": names}))
"""
    answer = run_apart(code, site_packages, tmp_path)
    assert answer["changed"] == []
    assert {"recsae.cli", "recsae.report", "recsae.testing"} <= set(answer["names"])
    assert list(tmp_path.iterdir()) == []
