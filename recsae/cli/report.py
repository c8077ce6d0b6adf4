"""The command ``report``: the page of a run, written again."""

from __future__ import annotations

from pathlib import Path

import click

from recsae.cli.shared.console import PATH
from recsae.core import layout


@click.command()
@click.argument("folder", type=PATH)
@click.option("--redact-users", is_flag=True, help="Call users user 1, user 2, ...")
def report(folder: Path, redact_users: bool) -> None:
    """Rebuild report.html, card.md and concepts.csv from report.json."""
    from recsae.concepts.corrections import remember
    from recsae.core.locks import alone_in
    from recsae.report.write import write_report
    from recsae.run.tables import load_run

    if not (folder / layout.RUN).exists():
        remember(folder)
        click.echo(f"Report: {write_report(None, folder, redact_users=redact_users)}")
        return
    with alone_in(folder):
        run = load_run(folder).run
        with run.reading(layout.REPORT, layout.SAE_WEIGHTS):
            remember(folder)
            page = write_report(None, folder, redact_users=redact_users)
        run.tidy()
        run.keep("report")  # so that `recsae run` does not undo the redaction
    click.echo(f"Report: {page}")
