"""The notebooks of the guide: their cells run in order, and what they show is stored in them.

``python tests/helpers/notebooks.py`` (``make notebooks``) runs all of them on the demo's runs, made
where they are missing, and renews what they show.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "docs/notebooks"
NOTEBOOKS = tuple(sorted(path.name for path in FOLDER.glob("*.ipynb")))
PARAMETERS = "parameters"
"""Tag of the cell whose names may be given other values."""
DEMOS = {"recsae-demo": 2020, "recsae-demo/other": 7}
"""Folders that the notebooks read, and the seeds of their models."""

Notebook = dict[str, Any]
Output = dict[str, Any]


def read_notebook(name: str) -> Notebook:
    """A notebook of the guide, by the name of its file."""
    notebook: Notebook = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return notebook


def source_of(cell: Mapping[str, Any]) -> str:
    """The text of a cell."""
    return "".join(cell["source"])


def code_cells(notebook: Notebook) -> list[dict[str, Any]]:
    """Its cells of Python, in their order."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run_cells(notebook: Notebook, given: Mapping[str, object] | None = None) -> list[list[Output]]:
    """Run the cells of Python in one namespace; what each of them shows.

    Parameters
    ----------
    given
        Other values for names that the cell tagged :data:`PARAMETERS` sets.

    Returns
    -------
    list
        For each cell its outputs as nbformat 4 stores them: what was printed, then the value of an
        expression in the last place.

    Raises
    ------
    KeyError
        The tagged cell does not set one of the given names.
    """
    names: dict[str, Any] = {"__name__": "notebook"}
    shown = []
    for number, cell in enumerate(code_cells(notebook), start=1):
        shown.append(_outputs(source_of(cell), number, names))
        if PARAMETERS in cell["metadata"].get("tags", ()):
            if unknown := {*(given or {})} - {*names}:
                raise KeyError(f"The notebook sets no {', '.join(sorted(unknown))}.")
            names.update(given or {})
    return shown


def kinds(outputs: list[list[Output]]) -> list[list[tuple[str, ...]]]:
    """Of what kind the outputs of each cell are: their type, and the formats of a value."""
    return [
        [(one["output_type"], *sorted(one.get("data", ()))) for one in cell] for cell in outputs
    ]


def _outputs(source: str, number: int, names: dict[str, Any]) -> list[Output]:
    *body, last = ast.parse(source).body
    value, printed = None, StringIO()
    with contextlib.redirect_stdout(printed):
        if not isinstance(last, ast.Expr):
            body.append(last)
        exec(compile(ast.Module(body, []), f"<cell {number}>", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), f"<cell {number}>", "eval"), names)
    outputs: list[Output] = []
    if printed.getvalue():
        text = _lines(printed.getvalue())
        outputs.append({"name": "stdout", "output_type": "stream", "text": text})
    if value is not None:
        data = {"text/plain": _lines(repr(value))}
        if hasattr(value, "_repr_html_"):
            data = {"text/html": _lines(value._repr_html_())} | data
        outputs.append(
            {
                "data": data,
                "execution_count": number,
                "metadata": {},
                "output_type": "execute_result",
            }
        )
    return outputs


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def renew(name: str) -> None:
    """Run a notebook where it lies and store what its cells show."""
    notebook = read_notebook(name)
    shown = run_cells(notebook)
    for number, (cell, outputs) in enumerate(zip(code_cells(notebook), shown, strict=True), 1):
        cell["execution_count"], cell["outputs"] = number, outputs
    text = json.dumps(notebook, indent=1, ensure_ascii=False)
    (FOLDER / name).write_text(f"{text}\n", encoding="utf-8")


def main() -> None:
    """Renew what all notebooks show."""
    os.chdir(FOLDER)
    for folder, seed in DEMOS.items():
        if not Path(folder, "run/report.html").exists():
            command = [sys.executable, "-m", "recsae", "demo", "--out", folder, "--seed", str(seed)]
            subprocess.run(command, check=True)
    for name in NOTEBOOKS:
        renew(name)


if __name__ == "__main__":
    main()
