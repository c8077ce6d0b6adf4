"""The command ``inspect``: what a checkpoint is, before anything is run."""

from __future__ import annotations

from pathlib import Path

import click

from recsae.cli.shared.console import PATH, show_facts, show_json, show_table
from recsae.cli.shared.options import data_path_option, items_option, json_option, trust_option


@click.command()
@click.argument("checkpoint", type=PATH)
@trust_option
@data_path_option
@items_option
@json_option
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
