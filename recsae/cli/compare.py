"""``compare``: two runs beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from recsae.cli.shared.console import PATH, show_json, show_table
from recsae.cli.shared.options import json_option

N_SHOWN = 8
N_NAMES = 20
WIDEST = 44
KINDS = {
    "same name": "pairs with the same name",
    "another name": "pairs with another name",
    "merged": "merged: like one that is nearer to another",
    "lost": "lost: there is none like it",
    "lost_with_name": "  and none is verified by its name",
    "split": "split: like one that is nearer to another",
    "new": "new: there was none like it",
    "new_with_name": "  and none was verified by its name",
}
IN_NAMES = ("same name", "lost", "new")
COLUMNS = {
    "change": "change",
    "name_before": "before",
    "name_after": "after",
    "similarity": "similarity",
    "balanced_accuracy_before": "balanced accuracy",
    "balanced_accuracy_after": "after",
    "status_before": "status",
    "status_after": "after",
}


@click.command()
@click.argument("before", metavar="DIR1", type=PATH)
@click.argument("after", metavar="DIR2", type=PATH)
@click.option("--all", "everything", is_flag=True, help="All latents, also those never verified.")
@json_option
def compare(before: Path, after: Path, everything: bool, as_json: bool) -> None:
    """Which concepts of one run are in another: matched, lost and new.

    The runs can be of two models, sites, seeds or dates.
    """
    from recsae.explore.compare import compare_runs, strongest

    found = compare_runs(before, after)
    every = found["concepts"]
    if as_json:
        found["concepts"] = every if everything else strongest(every, len(every))
        show_json(found)
        return
    click.echo(found["said"])
    click.echo("")
    _show_counts(found, everything)
    click.echo("")
    figures = [list(figure.values()) for figure in found["headline"]]
    show_table(("", "before", "after"), figures)
    click.echo("")
    rows = every if everything else strongest(every, N_SHOWN)
    show_table(list(COLUMNS.values()), [[_short(row[key]) for key in COLUMNS] for row in rows])
    if not everything:
        click.echo(
            f"\nThe strongest changes, at most {N_SHOWN} of each kind, with a verified concept on "
            "one side or both. --all shows everything."
        )


def _show_counts(found: dict[str, Any], everything: bool) -> None:
    """How many of each kind, and the names of verified concepts."""
    by_name = found["how"] == "names"
    rows = []
    for kind, words in KINDS.items():
        counts = [found["counts"][among][kind] for among in ("verified", "all")]
        if not by_name or kind in IN_NAMES:
            rows.append([kind if by_name else words, *counts])
    show_table(("names" if by_name else "latents", "verified", "all"), rows)
    click.echo("")
    for key, words in (("both", "in both"), ("lost", "only before"), ("new", "only after")):
        names = found["names"][key]
        shown = names if everything else names[:N_NAMES]
        more = f"; and {len(names) - len(shown)} more" if len(shown) < len(names) else ""
        click.echo(
            f"names verified {words} ({len(names)}): {'; '.join(map(_short, shown)) or '-'}{more}"
        )


def _short(value: Any) -> Any:
    """A name cut where it would make a table too wide; --json has all of it."""
    long = isinstance(value, str) and len(value) > WIDEST
    return f"{value[: WIDEST - 1]}…" if long else value
