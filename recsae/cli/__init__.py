"""The command line: one file for each command, named like it. No figure is computed here."""

from recsae.cli.entry import main

__all__ = ["main"]
