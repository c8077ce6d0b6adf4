"""The memory of the process: its peak, and giving back what is free."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from pathlib import Path


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
        try:
            status = Path("/proc/self/status").read_text()
            kb = next(line for line in status.splitlines() if line.startswith("VmHWM"))
            self.peak_mb = round(int(kb.split()[1]) / 1024, 1)
        except (OSError, StopIteration):
            import resource

            self.peak_mb = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def give_back() -> None:
    """Give memory that is free back to the system; glibc keeps what large arrays leave behind."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)
