"""Text fit for a prompt or a message: one line, no control characters, of bounded length."""

from __future__ import annotations

from recsae.core.text import one_line

MAX_TEXT = 120
"""Characters of a title or an error message: bounds what a stranger's text adds to a prompt."""


def clean(text: object, limit: int = MAX_TEXT) -> str:
    r"""Text on one line, without control characters, cut at a length.

    >>> clean("Alien\n\x1b[2J (1979)"), clean("Alien", 4)
    ('Alien [2J (1979)', 'Ali…')
    """
    words = one_line(str(text)[: 10 * limit]).split()
    line = " ".join(words)
    return line if len(line) <= limit else line[: limit - 1] + "…"
