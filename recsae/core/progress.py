"""The callback by which a long job reports its progress."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int, str], None]
"""Called with how much is done, how much there is in all, and what of, as in "cases scored"."""
