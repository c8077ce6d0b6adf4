"""The command ``doctor``: whether this installation works, or what of a run is damaged."""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from recsae.cli.shared.console import PATH, show_json
from recsae.cli.shared.options import json_option
from recsae.cli.shared.tables import say, show_rows
from recsae.core.text import one_line
from recsae.recommender.plugins import MISSING

if TYPE_CHECKING:
    from recsae.explore.health import Damage
    from recsae.recommender.plugins import PluginState

AGAIN = "run the same `recsae run` again"
SEEN = {"gone": "is missing", "changed": "is not as the run left it"}
"""What happened to a file, in words."""


def checks() -> list[dict[str, str]]:
    """Check what an installation needs; each row is a check, its state, and what was seen.

    The state is ``works``, ``fails``, or ``missing`` for what is optional.
    """
    from importlib.metadata import PackageNotFoundError, version

    from recsae.recommender.plugins import installed

    rows = [_row("python", sys.version_info >= (3, 11), platform.python_version())]
    for package in ("torch", "numpy", "pandas", "scikit-learn", "scipy", "pyarrow", "safetensors"):
        try:
            rows.append(_row(package, True, version(package)))
        except PackageNotFoundError:
            rows.append(_row(package, False, "not installed"))
    import torch

    from recsae.core.topk import kernels

    try:
        fast = kernels() is not None
        seen = "numba" if fast else "numba is not installed: no label is searched without it"
    except Exception as error:  # an incompatible numba fails in its own ways
        fast, seen = False, f"numba fails: {error}".splitlines()[0]
    rows.append(_row("compiled loops", fast, seen))
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU: the CPU is used"
    rows.append(_row("threads", True, str(torch.get_num_threads())))
    rows.append(
        {
            "check": "cuda",
            "state": "works" if torch.cuda.is_available() else MISSING,
            "seen": cuda,
        }
    )
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    rows.append(_row("disk", free > 1, f"{free:.1f} GB free here"))
    try:
        _parquet_works()
        rows.append(_row("parquet", True, "written and read"))
    except Exception as error:  # pyarrow built for another NumPy fails at import
        rows.append(_row("parquet", False, str(error).splitlines()[0]))
    rows += [_of_plugin(state) for state in installed(thorough=True)]
    return rows


def _of_plugin(state: PluginState) -> dict[str, str]:
    """Of a framework that is not installed nothing is wrong: who has one seldom has all."""
    seen = f"{state.package} {state.version}: {state.state}"
    row = _row(f"plug-in {state.name}", state.state.startswith("ready"), seen)
    return row | {"state": MISSING} if state.state.startswith(MISSING) else row


def _row(check: str, works: bool, seen: str) -> dict[str, str]:
    return {"check": check, "state": "works" if works else "fails", "seen": seen}


def _parquet_works() -> None:
    import io

    import pandas as pd

    buffer = io.BytesIO()
    pd.DataFrame({"x": [1]}).to_parquet(buffer)
    pd.read_parquet(buffer)


@click.command()
@click.argument("folder", type=PATH, required=False)
@json_option
def doctor(folder: Path | None, as_json: bool) -> int:
    """Check the installation, or every file of the run in FOLDER.

    The exit code is 3 if one is not as it should be.
    """
    if folder is not None:
        return _of_run(folder, as_json)
    rows = checks()
    if as_json:
        show_json(rows)
    else:
        show_rows({key: key for key in ("check", "state", "seen")}, rows, top=None)
    return 3 if any(row["state"] == "fails" for row in rows) else 0


def _of_run(folder: Path, as_json: bool) -> int:
    from recsae.finished.loaded import load_run

    health = load_run(folder).health()
    lines = [said(damage, folder) for damage in health.damaged]
    if as_json:
        known = [
            {"file": d.file, "stage": d.stage, "problem": d.problem, "said": line}
            for d, line in zip(health.damaged, lines, strict=True)
        ]
        show_json({"files": health.n_files, "damaged": known, "undone": list(health.undone)})
    else:
        if health.undone:
            lines.append(f"Not done yet: {', '.join(health.undone)}: {AGAIN}, which goes on there.")
        all_well = f"All {health.n_files} files of the run in {folder} are as its stages left them."
        for line in lines or [all_well]:
            say(line)
    return 3 if lines or health.undone else 0


def said(damage: Damage, folder: Path) -> str:
    """One damaged file in one line: what it is, what happened to it, and the cure."""
    of_stage = damage.kind == "stage"
    what = f"of the stage {damage.stage}" if of_stage else "which the run was made from"
    if damage.problem in SEEN:
        cure = f"{AGAIN}, which makes it anew and keeps stages that are whole"
        cure = cure if of_stage else "put it back, or make a new run in another folder"
        return f"{damage.file}, {what}, {SEEN[damage.problem]}: {cure}."
    cures = {
        "stage": "The run left it so: make a new run, in another folder.",
        "corrections": f"Mend it with `recsae concepts {folder} --edit`.",
        "steering": "Make it again, with `recsae tune` or `recsae steer --save`.",
    }
    allow = "Let this user read it, or copy the folder from a disk that can be read."
    cure = allow if damage.problem == "unreadable" else cures[damage.kind]
    return one_line(f"{damage.detail} {cure}")
