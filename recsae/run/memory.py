"""The memory of the process: its peak, giving back what is free, and whether a run fits."""

from __future__ import annotations

import ctypes
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from recsae.core.errors import InvalidInput

CASE_KB = 5
"""What a case takes with all that is counted of it: measured on ml-1m."""
KIB = 1024 / 1e6
"""MB of what Linux calls a kB."""
_M_ARENA_MAX = -8
"""Of glibc's ``malloc.h``."""
MORE_MEMORY = "take a machine with more memory"
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


class PeakMemory:
    """Peak resident memory within a block, in MB; of the whole process where Linux cannot say.

    Before it begins, what is free already is given back.
    """

    peak_mb = 0.0

    def __enter__(self) -> PeakMemory:
        give_back()
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        return self

    def __exit__(self, *_: object) -> None:
        peak = _status("VmHWM")
        if peak is None:
            import resource

            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
        self.peak_mb = round(peak, 1)


def share_heaps() -> None:
    """Let all threads share two heaps: of many, each keeps what was once freed in it.

    With eight per core, as is the default, a run of ml-1m took 200 MB more and no less time.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(_M_ARENA_MAX, 2)


def give_back() -> None:
    """Give free memory back to the system; Arrow and glibc keep what large arrays leave behind."""
    if arrow := sys.modules.get("pyarrow"):
        arrow.default_memory_pool().release_unused()
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def bytes_of(text: str) -> int:
    """The size that a text says.

    >>> bytes_of("2GB"), bytes_of("1.5 G"), bytes_of("800mb")
    (2000000000, 1500000000, 800000000)

    Raises
    ------
    InvalidInput
        It says none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", text.strip(), re.IGNORECASE)
    size = int(float(found[1]) * UNITS[found[2].upper()]) if found else 0
    if not size:
        raise InvalidInput(f"A size is a number and a unit, such as 2GB or 800MB (seen: {text!r}).")
    return size


def refuse_what_cannot_open(path: Path, limit: int | None = None) -> None:
    """Refuse a file of weights that is larger than the memory there is for it.

    Raises
    ------
    InvalidInput
        With the arithmetic. ``limit`` is that of :func:`refuse_what_cannot_fit`.
    """
    has, most = _status("VmRSS"), _most(limit)
    if has is None or most is None or not path.is_file():
        return
    size = path.stat().st_size / 1e6
    if has + size > most:
        raise InvalidInput(
            f"{path} cannot be opened: its {size:,.0f} MB take as much memory at least, beside the "
            f"{has:,.0f} MB that are taken already. {_whose(limit)} {most:,.0f} MB: {MORE_MEMORY}."
        )


def refuse_what_cannot_fit(
    n_items: int, width: int, n_cases: int, limit: int | None = None
) -> None:
    """Refuse a run that needs more memory than there is.

    Parameters
    ----------
    n_items, width
        Of the item table, which is held once more while it is worked on.
    n_cases
        Positions that labels are made and tested on.
    limit
        Bytes that the process may take in all; None: what it has, and what is free.

    Raises
    ------
    InvalidInput
        With the arithmetic.
    """
    most = _most(limit)
    needs = needed_mb(n_items, width, n_cases)
    if most is not None and needs.total > most:
        raise InvalidInput(
            f"The run needs about {needs.total:,.0f} MB: {needs.taken:,.0f} MB that the model and "
            f"its data take already, {needs.table:,.0f} MB for an item table of {n_items:,} items "
            f"of {width:,} numbers, and {needs.cases:,.0f} MB for {n_cases:,} cases. "
            f"{_whose(limit)} {most:,.0f} MB: {MORE_MEMORY}."
        )


class Needs(NamedTuple):
    """What a run takes, in MB."""

    taken: float
    """What the process takes already, with the model and its data; 0 where nobody can say."""
    table: float
    """The item table, which is held once more while it is worked on."""
    cases: float
    """The cases, with all that is counted of them."""

    @property
    def total(self) -> float:
        """All of it together."""
        return self.taken + self.table + self.cases


def needed_mb(n_items: int, width: int, n_cases: int) -> Needs:
    """What a run takes from here on; the parameters are those of :func:`refuse_what_cannot_fit`."""
    return Needs(_status("VmRSS") or 0.0, n_items * width * 4 / 1e6, n_cases * CASE_KB / 1e3)


def _most(limit: int | None) -> float | None:
    """MB that the process may take in all; None if nobody can say."""
    if limit is not None:
        return limit / 1e6
    has, free = _status("VmRSS"), _free_mb()
    return None if has is None or free is None else has + free


def _whose(limit: int | None) -> str:
    return "--memory allows" if limit is not None else "This machine has free for it"


def _status(key: str) -> float | None:
    """A figure of the process in MB, None where there is none."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1]) * KIB
    return None


def _free_mb() -> float | None:
    """What is free on the machine, or for the group of processes, in MB."""
    found = []
    with suppress(OSError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [int(line.split()[1]) * KIB for line in lines if line.startswith("MemAvailable:")]
    with suppress(OSError, ValueError):  # "max" where there is no limit
        group = Path("/sys/fs/cgroup")
        used = int((group / "memory.current").read_text())
        found.append((int((group / "memory.max").read_text()) - used) / 1e6)
    return min(found, default=None)
