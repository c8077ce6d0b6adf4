"""The command that turns concepts: ``steer``."""

from __future__ import annotations

from pathlib import Path

import click

from recsae.console import PATH, show_facts, show_json, show_table
from recsae.errors import InvalidInput


@click.command()
@click.argument("folder", type=PATH)
@click.option(
    "--set",
    "settings",
    multiple=True,
    required=True,
    metavar="CONCEPT=VALUE",
    help="'Horror=0' switches off, '203=x2' doubles, '203=1.5' sets. Repeatable.",
)
@click.option("--user", help="One user's list before and after.")
@click.option(
    "--sequence", help="The same for item ids or titles, separated by commas, oldest first."
)
@click.option(
    "--all", "everyone", is_flag=True, help="Metrics over all held-out users (the default)."
)
@click.option("--mask-seen", is_flag=True, help="Leave out items of the history from lists.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def steer(
    folder: Path,
    settings: tuple[str, ...],
    user: str | None,
    sequence: str | None,
    everyone: bool,
    mask_seen: bool,
    device: str,
    as_json: bool,
) -> None:
    """Turn concepts and see the recommendations change."""
    from recsae.whatif import lists_before_after, metrics_before_after, open_run

    if sum(bool(x) for x in (user, sequence, everyone)) > 1:
        raise InvalidInput("Give one of --user, --sequence and --all.")
    opened = open_run(folder, device)
    interventions = opened.interventions(settings)
    if user or sequence:
        found = lists_before_after(opened, interventions, user, sequence, mask_seen=mask_seen)
    else:
        found = metrics_before_after(opened, interventions)
    if as_json:
        show_json(found)
        return
    table = found.pop("table")
    show_facts(found)
    click.echo("")
    show_table(list(table[0]), [list(row.values()) for row in table])
