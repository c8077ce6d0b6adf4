"""Options that several commands take."""

from __future__ import annotations

import click

from recsae.cli.shared.console import PATH

json_option = click.option("--json", "as_json", is_flag=True, help="For machines.")
device_option = click.option(
    "--device", default="cpu", show_default=True, help="Where the model runs."
)
trust_option = click.option(
    "--trust", is_flag=True, help="Allow unpickling: it can run code from the file's author."
)
data_path_option = click.option(
    "--data-path", type=PATH, help="Folder of the data set, if not where the checkpoint says."
)
separator_option = click.option(
    "--separator",
    help="What separates values in a cell of the item table, 'none' if nothing; default: the cells "
    "decide.",
)
items_option = click.option(
    "--items", type=PATH, help="CSV of titles and attributes; first column the item id."
)
