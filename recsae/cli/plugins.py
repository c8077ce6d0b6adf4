"""The command plugins: what is installed and whether it works."""

from __future__ import annotations

import click

from recsae.cli.console import show_json, show_table


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def plugins(as_json: bool) -> None:
    """The installed plug-ins, their versions and whether they work."""
    from recsae.recommender.plugins import installed

    rows = [state._asdict() for state in installed()]
    rows = [{k: v for k, v in row.items() if k != "plugin"} for row in rows]
    if as_json:
        show_json(rows)
    elif rows:
        show_table(list(rows[0]), [list(row.values()) for row in rows])
