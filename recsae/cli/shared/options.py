"""Options that several commands take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from recsae.cli.shared.console import PATH

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
device_option = click.option(
    "--device", default="cpu", show_default=True, help="Where the model runs: cpu or cuda."
)
trust_option = click.option(
    "--trust", is_flag=True, help="Allow unpickling: it can run code from the file's author."
)
all_option = click.option(
    "--all", "everything", is_flag=True, help="All rows of tables, not the first ones only."
)
sequence_option = click.option(
    "--sequence",
    multiple=True,
    metavar="ITEMS",
    help="Item ids or titles, oldest first: separated by commas, or each in a --sequence of its "
    "own, where titles can have commas.",
)


def typed_sequence(typed: tuple[str, ...]) -> str | tuple[str, ...] | None:
    """What ``--sequence`` says: items separated by commas, one item for each, or nothing.

    >>> typed_sequence(("1, 2",)), typed_sequence(("1", "2")), typed_sequence(())
    ('1, 2', ('1', '2'), None)
    """
    return typed[0] if len(typed) == 1 else typed or None


def top_option(rows: int) -> Callable[[F], F]:
    """How many rows of a table are shown."""
    return click.option(
        "--top",
        type=click.IntRange(1),
        default=rows,
        show_default=True,
        help="Rows of a table at most.",
    )


DATA_OPTIONS = {
    "data_path": click.option(
        "--data-path",
        type=PATH,
        help="Folder or file of the data set, if not where the checkpoint says.",
    ),
    "items": click.option(
        "--items", type=PATH, help="CSV of titles and attributes; first column the item id."
    ),
    "title_column": click.option("--title-column", help="Column of the titles."),
    "attribute_columns": click.option(
        "--attribute-columns",
        metavar="NAMES",
        help="Columns of attributes, separated by commas, instead of those that are known by "
        "their names.",
    ),
    "separator": click.option(
        "--separator",
        help="What separates values in a cell of the item table, 'none' if nothing; default: the "
        "cells decide.",
    ),
}
"""What a model is opened with besides its checkpoint: where its data are and how they are read."""


def data_options(command: F) -> F:
    """Give a command the options that say which data a model has and how items are read."""
    for option in reversed(DATA_OPTIONS.values()):
        command = option(command)
    return command


def typed_data_options(options: Mapping[str, Any]) -> list[str]:
    """Those of the options that were given, as they are typed.

    >>> typed_data_options({"items": "my items.csv", "separator": None, "k": 8})
    ['--items', 'my items.csv']
    """
    given = {name: options.get(name) for name in DATA_OPTIONS}
    typed = [["--" + n.replace("_", "-"), str(v)] for n, v in given.items() if v is not None]
    return [word for words in typed for word in words]
