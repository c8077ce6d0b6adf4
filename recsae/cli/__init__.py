"""The command line: one file for each command, named like it.

No figure is computed here."""

from typing import TYPE_CHECKING

from recsae.core.faces import lazy

if TYPE_CHECKING:
    from recsae.cli.entry import main as main

__all__ = ["main"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "main": "entry",
    },
)
