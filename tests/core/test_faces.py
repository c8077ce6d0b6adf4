"""Every package says what it offers, and importing it costs next to nothing."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes


ROOT = Path(__file__).parents[2]
FACES = ["recsae"] + [
    f"recsae.{name}"
    for name in (
        *("recommender", "capture", "sae", "concepts", "evaluation", "run", "attribution"),
        *("report", "steering", "explore", "pipeline", "finished", "cli", "testing"),
    )
]
HEAVY = {"torch", "pandas", "numpy", "recbole", "matplotlib", "sklearn", "scipy", "openai", "onnx"}


def typed_names(face):
    """Names that readers and type checkers see: {name: module}."""
    tree = ast.parse((ROOT / face.replace(".", "/") / "__init__.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.asname: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@pytest.mark.parametrize("face", FACES)
def test_what_is_exported_is_what_is_defined(face):
    package = importlib.import_module(face)
    names = typed_names(face)
    assert set(package.__all__) == set(names) == set(dir(package))
    for name, module in names.items():
        assert getattr(package, name) is getattr(importlib.import_module(module), name)
    assert package.__doc__
    with pytest.raises(AttributeError, match=rf"'{face}' has no attribute 'nothing'"):
        _ = package.nothing


@pytest.mark.parametrize("face", FACES)
def test_no_submodule_hides_a_name(face):
    """An imported submodule becomes an attribute of its package and would stand before the name."""
    folder = ROOT / face.replace(".", "/")
    modules = {path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert not modules & set(importlib.import_module(face).__all__)


def test_every_package_of_the_first_floor_has_a_face():
    folders = {path.parent.name for path in (ROOT / "recsae").glob("*/__init__.py")}
    assert folders == {face.rpartition(".")[2] for face in FACES[1:]} | {"core"}


def test_importing_all_faces_imports_nothing_heavy():
    code = f"""
import importlib, json, sys
for face in {FACES}:
    importlib.import_module(face)
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(json.loads(done.stdout))


def test_inside_recsae_modules_are_imported_from_where_they_are_defined():
    """Never through a face, which is for people."""
    through = []
    for path in (ROOT / "recsae").rglob("*.py"):
        if path.name != "__init__.py":
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and node.module in FACES:
                    names = {alias.name for alias in node.names}
                    offered = set(importlib.import_module(node.module).__all__)
                    if names & offered:
                        through.append((str(path), sorted(names & offered)))
    assert through == []
