"""The command ``report``: the page of a run, written again, and a folder to share."""

from __future__ import annotations

from pathlib import Path

import click

from recsae.cli.shared.console import PATH
from recsae.core import layout


@click.command()
@click.argument("folder", type=PATH)
@click.option(
    "--redact-users/--show-users",
    default=None,
    help="Call users user 1, user 2, ... in the page, the card and the table; or show their ids "
    "again. What was last chosen stays.",
)
@click.option(
    "--max-history",
    type=click.IntRange(min=1),
    metavar="N",
    help="Show at most the last N items of a history: long ones can tell who somebody is.",
)
@click.option(
    "--out",
    type=PATH,
    help="With --redact-users: write a folder to share, without ids of users in any file.",
)
def report(
    folder: Path, redact_users: bool | None, max_history: int | None, out: Path | None
) -> None:
    """Rebuild report.html, card.md and concepts.csv from report.json."""
    from recsae.concepts.corrections import remember
    from recsae.finished.loaded import load_run
    from recsae.report.sharing import remembered
    from recsae.report.write import write_report

    if (folder / layout.RUN).exists():
        page = load_run(folder).write_report(
            redact_users=redact_users, max_history=max_history, out=out
        )
    else:  # a folder to share
        remember(folder)
        page = write_report(
            None, folder, redact_users=redact_users, max_history=max_history, out=out
        )
    click.echo(f"Report: {page}")
    hidden = remembered(page.parent)
    if hidden.users:
        _say_what_is_left(folder, page.parent, hidden.max_history)


def _say_what_is_left(folder: Path, shown: Path, max_history: int | None) -> None:
    """Say which files still hold what identifies people."""
    from recsae.report.sharing import files_with_ids, remembered

    shared = remembered(shown).shared
    if shared:
        click.echo(f"To share: {shown}. No file of it has an id of a user.")
    if not remembered(folder).shared:
        click.echo(
            f"Ids of users are still in {folder}: {', '.join(files_with_ids(folder))}; and the "
            f"hidden states of single users, by their numbers, in {' and '.join(layout.STORES)}."
        )
    if not shared:
        click.echo(f"A folder without ids: recsae report {folder} --redact-users --out FOLDER")
    if max_history is None:
        click.echo("Long histories can tell who somebody is: --max-history N cuts them.")
