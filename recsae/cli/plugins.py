"""The command ``plugins``: which are installed and whether they work."""

from __future__ import annotations

import click

from recsae.cli.shared.console import show_json
from recsae.cli.shared.options import json_option
from recsae.cli.shared.tables import show_rows


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
        show_rows({key: key for key in rows[0]}, rows, top=None)
