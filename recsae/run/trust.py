"""Checkpoints that the user has trusted on this machine, by the digests of their bytes.

A run's folder may come from somebody else, so it cannot vouch for the checkpoint that it names. The
list lies in the user's own data folder and is written by ``--trust`` alone.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from recsae.core.files import digest_of_file


def _list() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "recsae" / "trusted"


def _digests() -> list[str]:
    try:
        return _list().read_text(encoding="utf-8").split()
    except (OSError, ValueError):  # what cannot be read trusts nothing
        return []


def is_trusted(checkpoint: Path) -> bool:
    """Whether a file of these very bytes was trusted on this machine."""
    return checkpoint.is_file() and digest_of_file(checkpoint) in _digests()


def remember_trust(checkpoint: Path) -> None:
    """Keep that the user trusts a checkpoint; where nothing can be kept they are asked again."""
    if is_trusted(checkpoint):
        return
    with suppress(OSError):
        _list().parent.mkdir(parents=True, exist_ok=True)
        with _list().open("a", encoding="utf-8") as file:  # several may add to it at a time
            file.write(f"{digest_of_file(checkpoint)}\n")
