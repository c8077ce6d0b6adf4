"""Commands about what is there before a run: ``inspect``, ``plugins`` and ``doctor``."""

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
    from recsae.explore.concept_facts import inspection, states_of

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


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def doctor(as_json: bool) -> int:
    """Check the installation; exit code 3 if something does not work."""
    from recsae.cli.doctor import checks

    rows = checks()
    if as_json:
        show_json(rows)
    else:
        show_table(["check", "state", "seen"], [[r["check"], r["state"], r["seen"]] for r in rows])
    return 3 if any(row["state"] == "fails" for row in rows) else 0
