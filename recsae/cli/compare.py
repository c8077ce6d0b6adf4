"""The command ``compare``: what became of the concepts of one run in another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recsae.cli.shared.console import PATH, show_json
from recsae.cli.shared.matching import how_matched
from recsae.cli.shared.options import json_option, trust_option
from recsae.cli.shared.tables import show_table

if TYPE_CHECKING:
    import pandas as pd

    from recsae.explore.compare import Comparison

N_SHOWN = 8
"""Changes of each kind in the table."""
N_NAMES = 20
"""Names in a list of names."""
LONGEST_NAME = 44
"""Letters of a name in the table."""
KEYS = {"renamed": "another name", "same_name": "same name"}
"""What changes are called in JSON and in the table, where not by the field's name."""
CHANGES = {
    "same_name": "pairs with the same name",
    "renamed": "pairs with another name",
    "merged": "merged: like one that is nearer to another",
    "lost": "lost: there is none like it",
    "lost_with_name": "  and none is verified by its name",
    "split": "split: like one that is nearer to another",
    "new": "new: there was none like it",
    "new_with_name": "  and none was verified by its name",
}
CHANGES_OF_NAMES = ("same_name", "lost", "new")
FIGURES = {
    "run": "run",
    "model": "model",
    "data": "data",
    "site": "site",
    "seed": "seed",
    "n_latents": "latents",
    "l0": "active per state",
    "fvu": "unexplained (FVU)",
    "ndcg_kept": "NDCG kept",
    "tested": "concepts tested",
    "verified": "concepts verified",
    "distinct_verified": "distinct ones verified",
    "named_share_8": "named share, 8 concepts",
    "named_share_16": "named share, 16 concepts",
    "named_share_32": "named share, 32 concepts",
    "label_quality": "F1 of labels, by activation",
    "mean_auc": "attribute AUC",
}
COLUMNS = {
    "change": "change",
    "name_before": "before",
    "name_after": "after",
    "similarity": "similarity",
    "precision_before": "precision",
    "precision_after": "after",
    "recall_before": "recall",
    "recall_after": "after",
    "status_before": "status",
    "status_after": "after",
}


@click.command()
@click.argument("before", metavar="DIR1", type=PATH)
@click.argument("after", metavar="DIR2", type=PATH)
@click.option("--all", "everything", is_flag=True, help="All latents, also those never verified.")
@trust_option
@json_option
def compare(before: Path, after: Path, everything: bool, trust: bool, as_json: bool) -> None:
    """Which concepts of one run are in another: matched, lost and new.

    The runs can be of two models, sites, seeds or dates.
    """
    from recsae.explore.compare import compare_runs, strongest

    compared = compare_runs(before, after, trust=trust)
    changes = compared.changes
    if as_json:
        shown = changes if everything else strongest(changes, len(changes))
        show_json(to_dict(replace(compared, changes=shown)))
        return
    click.echo(how_matched(compared.matching))
    click.echo("")
    _show_counts(compared, everything)
    click.echo("")
    show_table(("", "before", "after"), [list(row.values()) for row in _figures(compared)])
    click.echo("")
    rows = _rows(changes if everything else strongest(changes, N_SHOWN))
    show_table(list(COLUMNS.values()), [[_short(row[key]) for key in COLUMNS] for row in rows])
    if not everything:
        click.echo(
            f"\nThe strongest changes, at most {N_SHOWN} of each kind, with a verified concept on "
            "one side or both. --all shows everything."
        )


def to_dict(compared: Comparison) -> dict[str, Any]:
    """The comparison as JSON holds it."""
    counts = {"verified": compared.n_verified, "all": compared.n_all}
    return {
        "how": compared.matching.method,
        "said": how_matched(compared.matching),
        "n_cases": compared.matching.n_cases,
        "headline": _figures(compared),
        "counts": {
            among: {KEYS.get(kind, kind): n for kind, n in vars(of_kinds).items()}
            for among, of_kinds in counts.items()
        },
        "names": vars(compared.names),
        "concepts": _rows(compared.changes),
    }


def _figures(compared: Comparison) -> list[dict[str, Any]]:
    return [
        {
            "figure": words,
            "before": getattr(compared.before, key),
            "after": getattr(compared.after, key),
        }
        for key, words in FIGURES.items()
    ]


def _rows(changes: pd.DataFrame) -> list[dict[str, Any]]:
    import pandas as pd

    return [
        {key: None if pd.isna(value) else value for key, value in row.items()}
        for row in changes.to_dict("records")
    ]


def _show_counts(compared: Comparison, everything: bool) -> None:
    """How many of each kind, and the names of verified concepts."""
    by_name = compared.matching.method == "names"
    shown = CHANGES_OF_NAMES if by_name else tuple(CHANGES)
    rows = [
        (
            KEYS.get(kind, kind) if by_name else CHANGES[kind],
            getattr(compared.n_verified, kind),
            getattr(compared.n_all, kind),
        )
        for kind in shown
    ]
    show_table(("names" if by_name else "latents", "verified", "all"), rows)
    click.echo("")
    for key, words in (("both", "in both"), ("lost", "only before"), ("new", "only after")):
        names: list[str] = getattr(compared.names, key)
        listed = names if everything else names[:N_NAMES]
        more = f"; and {len(names) - len(listed)} more" if len(listed) < len(names) else ""
        click.echo(
            f"names verified {words} ({len(names)}): {'; '.join(map(_short, listed)) or '-'}{more}"
        )


def _short(value: Any) -> Any:
    """A name cut where it would make a table too wide; --json has all of it."""
    long = isinstance(value, str) and len(value) > LONGEST_NAME
    return f"{value[: LONGEST_NAME - 1]}…" if long else value
