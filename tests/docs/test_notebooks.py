"""Every notebook of the guide runs from its first cell to its last, and shows what it stores."""

import re

import numpy as np
import pytest

pytest.importorskip("recbole")

from helpers.notebooks import (
    FOLDER,
    NOTEBOOKS,
    PARAMETERS,
    code_cells,
    kinds,
    read_notebook,
    run_cells,
    source_of,
)
from helpers.pages import links, python_of
from helpers.runs import checkpoint, in_brief
from recsae import open_run
from recsae.report import read_report

pytestmark = [pytest.mark.end_to_end, pytest.mark.recbole]


OF_A_MACHINE = re.compile(
    r"(?<![\w.<])/(?:tmp|home|work|root|Users|usr|opt|var|mnt)/|[A-Z]:\\|0x[0-9a-f]{6}"
)
"""Paths that start at the root, and addresses of objects."""


def shown_again(name, given):
    """Run a notebook with other values; its outputs, of the kinds that are stored."""
    notebook = read_notebook(name)
    shown = run_cells(notebook, given)
    assert kinds(shown) == kinds([cell["outputs"] for cell in code_cells(notebook)])
    return shown


def text(output):
    """What an output says."""
    return "".join(
        output.get("text") or output["data"].get("text/html", output["data"]["text/plain"])
    )


def notebook_of(*sources, tags=()):
    cells = [{"cell_type": "code", "metadata": {}, "source": [one]} for one in sources]
    cells[0]["metadata"]["tags"] = [*tags]
    return {"cells": cells}


def test_cells_share_names_and_show_their_last_expression():
    shown = run_cells(notebook_of("a = 1", "print('so'); a + 1", "a = 2", "None"))
    assert [[text(one) for one in cell] for cell in shown] == [[], ["so\n", "2"], [], []]
    assert kinds(shown)[1] == [("stream",), ("execute_result", "text/plain")]


def test_other_values_take_the_place_of_parameters():
    notebook = notebook_of("a = 1; b = a", "a, b", tags=[PARAMETERS])
    assert text(run_cells(notebook, {"a": 5})[1][0]) == "(5, 1)"
    with pytest.raises(KeyError, match="c"):
        run_cells(notebook, {"c": 5})


def test_an_error_in_a_cell_is_an_error():
    with pytest.raises(ZeroDivisionError):
        run_cells(notebook_of("1 / 0"))


def test_what_knows_html_is_shown_as_html():
    shown = run_cells(notebook_of("import pandas as pd; pd.DataFrame({'seen': [1]})"))
    assert kinds(shown) == [[("execute_result", "text/html", "text/plain")]]
    assert "<th>seen</th>" in text(shown[0][0])


def test_ten_minutes_with_a_run(recbole_run):
    run = open_run(recbole_run)
    sequences, titles = run.recommender.sequences(), run.recommender.catalog.titles
    name = run.search(status="verified")["name"].iloc[0]
    given = {
        "RUN": recbole_run,
        "CONCEPT": name,
        "MORE": next(iter(run.recommender.catalog.frequent_values()["class"])),
        "USER": sequences.users[5],
        "ITEM": titles[int(np.bincount(sequences.flat).argmax())],
    }
    shown = shown_again("ten-minutes.ipynb", given)
    assert str(recbole_run) in text(shown[1][0])
    assert name in text(shown[2][0])
    assert given["ITEM"] in text(shown[4][0])
    assert given["MORE"] in text(shown[7][0])


def test_two_models_compared(planted_run, core_run, tmp_path):
    page = tmp_path / "both.html"
    given = {"RUN": planted_run, "OTHER": core_run, "PAGE": page}
    shown = shown_again("compare.ipynb", given)
    assert "have a counterpart in the second" in text(shown[2][0])
    assert text(shown[-1][0]) == "'both.html'"
    assert page.stat().st_size > 10_000


def test_an_sae_and_a_labeler_of_ones_own(tmp_path):
    given = {
        "CHECKPOINT": checkpoint(),
        "STATES": tmp_path / "states",
        "RUN": tmp_path / "run",
        "N_LATENTS": 32,
        "K": 4,
        "EPOCHS": 2,
    }
    with in_brief():
        shown = shown_again("own.ipynb", given)
    assert read_report(tmp_path / "run").sae.activation == "topk"
    assert "The last item is" in text(shown[-1][0])


def test_code_of_ones_own_is_that_of_the_page():
    cells = [source_of(cell) for cell in code_cells(read_notebook("own.ipynb"))]
    own, _, _, labeler = python_of("docs/own.md")
    assert own.strip() in cells
    assert labeler.partition("\n")[2].strip() in cells


@pytest.mark.parametrize("path", ["/tmp/x/run", "'/home/me/run'", "C:\\\\run", "<A at 0x7f00aa12>"])
def test_a_path_of_a_machine_is_found(path):
    assert OF_A_MACHINE.search(path)
    assert not OF_A_MACHINE.search("recsae-demo/run </td> 1/2")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_what_is_stored_is_of_one_run_without_errors_and_paths_of_a_machine(name):
    cells = code_cells(read_notebook(name))
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    outputs = [one for cell in cells for one in cell["outputs"]]
    assert {one["output_type"] for one in outputs} <= {"stream", "execute_result"}
    said = [text(one) for one in outputs]
    assert not [one for one in said if OF_A_MACHINE.search(one) or "Traceback" in one]
    assert read_notebook(name)["nbformat"] == 4
    assert [PARAMETERS in cell["metadata"].get("tags", ()) for cell in cells].count(True) == 1


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_links_of_a_notebook(name):
    words = [source_of(c) for c in read_notebook(name)["cells"] if c["cell_type"] == "markdown"]
    linked = [path for one in words for path in re.findall(r"\]\((?!https?:)([^)\s]+)\)", one)]
    assert all((FOLDER / path).exists() for path in linked), linked


def test_notebooks_are_named_in_the_guide():
    named = {path.rpartition("/")[2] for path, _ in links("docs/start.md")}
    assert len(NOTEBOOKS) == 3
    assert {*NOTEBOOKS} <= named
