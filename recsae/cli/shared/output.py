"""The one place through which every printed line goes.

Titles, names of files, settings and messages of errors are strangers' texts: what a terminal would
act on (escape sequences, other control characters, marks that turn the direction of writing) is a
blank in what is printed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO

from recsae.core.text import one_line


class PlainStream:
    """A stream of text that lets lines through and nothing else; ``raw`` is what it writes to."""

    def __init__(self, raw: TextIO) -> None:
        self.raw = raw

    def write(self, text: str) -> int:
        """Write lines."""
        if not isinstance(text, str):
            raise TypeError(f"text is written here, not {type(text).__name__}")
        plain = "\n".join(map(one_line, text.split("\n")))
        encoding = self.raw.encoding or "utf-8"
        self.raw.write(plain.encode(encoding, "replace").decode(encoding))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write several."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":  # bytes would go past
            raise AttributeError(name)
        return getattr(self.raw, name)


@contextmanager
def plain_output() -> Iterator[None]:
    """Let everything that is printed meanwhile, by whomever, go through :class:`PlainStream`."""
    with (
        redirect_stdout(PlainStream(sys.stdout)),
        redirect_stderr(PlainStream(sys.stderr)),
    ):
        yield


@contextmanager
def bold() -> Iterator[None]:
    """Print in bold meanwhile, if this is a terminal that can."""
    marked = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    stream = raw(sys.stdout)
    if marked:
        stream.write("\x1b[1m")
    try:
        yield
    finally:
        if marked:
            stream.write("\x1b[0m")


def raw(stream: Any) -> Any:
    """The stream beneath, for what moves within a line: a progress bar."""
    return getattr(stream, "raw", stream)


def in_json(text: str) -> str:
    r"""JSON with what would not be printed as it is written as JSON writes it.

    >>> in_json('"\u202ea"')
    '"\\u202ea"'
    """
    return "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
