"""A folder that one process at a time works on."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recsae.core.errors import RecSAEError

_TAKEN = (errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Within the context no other process that asks for it works on the folder.

    The system lets go of it when a process ends, however that happens; nothing is written for it. A
    folder that is made for it and stays empty is taken away again. Where the system or the disk
    knows no such locks there is none.

    Raises
    ------
    RecSAEError
        Another process works here.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    made = not folder.exists()
    with suppress(OSError):  # what cannot be made is refused where something is written
        folder.mkdir(parents=True, exist_ok=True)
    if not folder.is_dir():
        yield
        return
    held = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _TAKEN:
                raise RecSAEError(
                    f"Another recsae works in {folder}: wait until it has ended, or choose another "
                    "folder with --out."
                ) from error
        yield
    finally:
        os.close(held)
        if made:
            with suppress(OSError):  # not empty
                folder.rmdir()
