"""The command ``plugins``: which are installed and whether they work."""

from __future__ import annotations

import click

from recsae.cli.shared.console import show_json, show_table
from recsae.cli.shared.options import json_option


@click.command()
@json_option
def plugins(as_json: bool) -> None:
    """The installed plug-ins, their versions and whether they work."""
    from recsae.recommender.plugins import installed

    rows = [state._asdict() for state in installed()]
    rows = [{k: v for k, v in row.items() if k != "plugin"} for row in rows]
    if as_json:
        show_json(rows)
    elif rows:
        show_table(list(rows[0]), [list(row.values()) for row in rows])
