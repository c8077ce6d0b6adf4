"""A finished run, open for as long as a command works out its answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recsae.run.workspace import Workspace


@contextmanager
def opened(folder: Path, device: str = "cpu", *, trust: bool) -> Iterator[Workspace]:
    """:func:`recsae.run.open.open_run`; an answer is refused if the run was made anew meanwhile."""
    from recsae.run.open import READ, open_run

    work = open_run(folder, device, trust=trust)
    with work.run.reading(*READ):
        yield work
