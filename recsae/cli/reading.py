"""Commands that read a run: ``concepts`` and ``report``."""

from __future__ import annotations

from pathlib import Path

import click

from recsae.console import PATH, show_facts, show_json, show_table


@click.command()
@click.argument("folder", type=PATH)
@click.option("--search", help="Only concepts whose name or label contains this.")
@click.option("--latent", type=int, help="Everything about one latent.")
@click.option("--status", help="Only concepts of this status, e.g. verified.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def concepts(
    folder: Path, search: str | None, latent: int | None, status: str | None, as_json: bool
) -> None:
    """The concept dictionary of a run, best first."""
    from recsae.inspection import concept_rows, latent_facts

    if latent is not None:
        facts = latent_facts(folder, latent)
        show_json(facts) if as_json else show_facts(facts)
        return
    rows = concept_rows(folder, search, status)
    if as_json:
        show_json(rows)
    elif rows:
        show_table(list(rows[0]), [list(row.values()) for row in rows])
    else:
        click.echo("No concept fits.")


@click.command()
@click.argument("folder", type=PATH)
@click.option("--redact-users", is_flag=True, help="Call users user 1, user 2, ...")
def report(folder: Path, redact_users: bool) -> None:
    """Rebuild report.html, card.md and concepts.csv from report.json."""
    from recsae.report import write_report
    from recsae.run import RECORD, Run

    click.echo(f"Report: {write_report(None, folder, redact_users=redact_users)}")
    if (folder / RECORD).exists():
        Run(folder).keep("report")  # so that `recsae run` does not undo the redaction
