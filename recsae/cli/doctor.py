"""The command ``doctor``: whether this installation works."""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path

import click

from recsae.cli.shared.console import show_json, show_table
from recsae.cli.shared.options import json_option


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
        seen = "numba" if fast else "numba is not installed: top-k is several times slower"
    except Exception as error:  # an incompatible numba fails in its own ways
        fast, seen = False, f"numba fails: {error}".splitlines()[0]
    rows.append({"check": "fast top-k", "state": "works" if fast else "missing", "seen": seen})
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU: the CPU is used"
    rows.append(_row("threads", True, str(torch.get_num_threads())))
    rows.append(
        {
            "check": "cuda",
            "state": "works" if torch.cuda.is_available() else "missing",
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
    for state in installed():
        ready = state.state.startswith("ready")
        rows.append(
            _row(f"plug-in {state.name}", ready, f"{state.package} {state.version}: {state.state}")
        )
    return rows


def _row(check: str, works: bool, seen: str) -> dict[str, str]:
    return {"check": check, "state": "works" if works else "fails", "seen": seen}


def _parquet_works() -> None:
    import io

    import pandas as pd

    buffer = io.BytesIO()
    pd.DataFrame({"x": [1]}).to_parquet(buffer)
    pd.read_parquet(buffer)


@click.command()
@json_option
def doctor(as_json: bool) -> int:
    """Check the installation; exit code 3 if something does not work."""
    rows = checks()
    if as_json:
        show_json(rows)
    else:
        show_table(["check", "state", "seen"], [[r["check"], r["state"], r["seen"]] for r in rows])
    return 3 if any(row["state"] == "fails" for row in rows) else 0
