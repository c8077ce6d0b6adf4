"""The Python of docs/rectools.md runs, and the page names every module and file."""

from pathlib import Path

import pytest

pytest.importorskip("rectools")

from helpers.pages import python_of, text_of
from helpers.rectools_kit import dataset, fitted
from recsae_rectools.dataset import FILES

pytestmark = pytest.mark.rectools

PAGE = "docs/rectools.md"


def test_the_python_runs(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("recsae.pipeline.run_pipeline", lambda *given: asked.append(given))
    monkeypatch.chdir(tmp_path)
    titles = "".join(f"{100 + i},Title {i}\n" for i in range(30))
    Path("items.csv").write_text("item_id,title\n" + titles)
    (code,) = python_of(PAGE)
    exec(compile(code, PAGE, "exec"), {"model": fitted(), "dataset": dataset()})
    ((recommender, folder),) = asked
    assert (recommender.plugin, folder) == ("rectools", "rectools-run")
    assert recommender.catalog.title_column == "title"


def test_modules_and_files_are_named():
    page = text_of(PAGE)
    modules = {path.stem for path in Path("plugins/recsae_rectools").glob("*.py")}
    named = {name for line in page.splitlines() if line.startswith("| `") for name in words(line)}
    assert modules - {"__init__", "installation"} <= named
    assert set(FILES) - {"dataset.pickle"} <= named


def words(line):
    return {part.strip(" `|") for cell in line.split("|")[1:2] for part in cell.split(",")}
