"""The command inspect: what a checkpoint is, before anything is run."""

from __future__ import annotations

from pathlib import Path

import click

from recsae.cli.console import PATH, show_facts, show_json, show_table


@click.command()
@click.argument("checkpoint", type=PATH)
@click.option("--trust", is_flag=True, help="Allow unpickling.")
@click.option("--data-path", type=PATH, help="Folder of the data set.")
@click.option("--items", type=PATH, help="CSV of titles and attributes.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def inspect(
    checkpoint: Path, trust: bool, data_path: Path | None, items: Path | None, as_json: bool
) -> None:
    """Say what CHECKPOINT is, where it can be read, and what would be done."""
    from recsae.recommender.plugins import load_recommender

    recommender = load_recommender(checkpoint, trust=trust, data_path=data_path, items=items)
    from recsae.run.preview import inspection, states_of

    facts = inspection(recommender)
    if as_json:
        show_json(facts)
        return
    sites = facts.pop("sites")
    show_facts(facts)
    click.echo("\nSites, the first being the default:")
    show_table(
        ("site", "width", "states", "share of scores", "what it is"),
        [(s["name"], s["width"], states_of(s), s["share"], s["meaning"]) for s in sites],
    )
