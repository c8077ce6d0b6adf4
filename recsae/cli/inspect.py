"""The command ``inspect``: what a checkpoint is, before anything is run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recsae.cli.shared.console import PATH, show_json
from recsae.cli.shared.options import data_options, json_option, trust_option
from recsae.cli.shared.tables import Column, Columns, say, show_facts, show_rows
from recsae.core.text import one_line
from recsae.report.words.formats import two_digits

if TYPE_CHECKING:
    from recsae.recommender.protocol import Recommender

SHOWN_APART = ("values", "separated_by", "columns_not_read")
SITES: Columns = {
    "name": Column("site", whole=True),
    "width": "width",
    "share": Column("share of scores", two_digits),
    "states": Column("states", optional=True),
    "meaning": Column("what it is", optional=True),
}


@click.command()
@click.argument("checkpoint", type=PATH)
@trust_option
@data_options
@click.option(
    "--check",
    is_flag=True,
    help="Compare the score of all validation cases with the one that the checkpoint states.",
)
@json_option
def inspect(checkpoint: Path, trust: bool, check: bool, as_json: bool, **options: Any) -> None:
    """Say what CHECKPOINT is and where it can be read."""
    from recsae.run.settings import open_recommender, read_settings

    config = read_settings(checkpoint, options, None)
    recommender = open_recommender(config, trust=trust, device="cpu")
    from recsae.run.preview import in_words, inspection, states_of

    facts = inspection(recommender)
    catalog = recommender.catalog
    facts["values"] = values = catalog.frequent_values()
    facts["separated_by"] = dict(catalog.separated_by)
    facts["columns_not_read"] = list(catalog.unread)
    if check:
        facts["validation"] = _validation(recommender)
    if as_json:
        show_json(facts)
        return
    sites = facts.pop("sites")
    facts |= in_words(facts.pop("estimate"))
    show_facts({key: fact for key, fact in facts.items() if key not in SHOWN_APART})
    if values:
        click.echo("\nAttributes, and their most frequent values:")
        for name, counts in values.items():
            shown = ", ".join(f"{one_line(value)} ({n})" for value, n in counts.items())
            how = catalog.separated_by.get(name)
            say(f"{name}{f' (separated by {how})' if how else ''}: {shown or 'none'}")
    if catalog.unread:
        names = ", ".join(map(one_line, catalog.unread))
        say(
            f"\nColumns of the items that are not read: {names}. --attribute-columns NAMES reads "
            "those that you name, separated by commas, and no others."
        )
    click.echo("\nSites, the first being the default:")
    show_rows(SITES, [s | {"states": states_of(s)} for s in sites], top=None)


def _validation(recommender: Recommender) -> dict[str, Any]:
    """The model's score in validation, on these data and by the checkpoint."""
    from recsae.recommender.validation import compare_with_stated

    found = compare_with_stated(recommender, every_case=True)
    if found is None:
        return {"note": f"The plug-in {recommender.plugin} knows of no score to compare with."}
    return found.to_dict()
