"""The command ``compare``: what became of the concepts of one run in another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recsae.cli.shared.console import PATH, show_json
from recsae.cli.shared.matching import how_matched
from recsae.cli.shared.options import json_option, trust_option
from recsae.cli.shared.tables import Column, Columns, cell, say, show_rows, show_table
from recsae.report.words.formats import number, two_digits

if TYPE_CHECKING:
    import pandas as pd

    from recsae.explore.compare import Comparison

N_SHOWN = 3
"""Changes of each kind in the table, unless all are asked for."""
N_NAMES = 20
"""Names in a list of names, unless all are asked for."""
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
SAID: dict[str, Callable[[Any], str]] = {
    **dict.fromkeys(("ndcg_kept", "fvu", "label_quality"), two_digits),
    **dict.fromkeys(("named_share_8", "named_share_16", "named_share_32"), two_digits),
    "mean_auc": number,
    "l0": lambda value: number(value, 1),
}
"""How a person reads a figure, where not as it is."""
COLUMNS: Columns = {
    "change": "change",
    "name_before": "before",
    "name_after": "after",
    "similarity": Column("similarity", number),
    "status_before": Column("status", optional=True),
    "status_after": Column("status after", optional=True),
    "precision_before": Column("precision", two_digits, optional=True),
    "precision_after": Column("precision after", two_digits, optional=True),
    "recall_before": Column("recall", two_digits, optional=True),
    "recall_after": Column("recall after", two_digits, optional=True),
}


@click.command()
@click.argument("before", metavar="DIR1", type=PATH)
@click.argument("after", metavar="DIR2", type=PATH)
@click.option(
    "--all", "everything", is_flag=True, help="All rows of tables, also of latents never verified."
)
@click.option(
    "--html", "page", type=PATH, metavar="FILE", help="Write a page with both runs side by side."
)
@trust_option
@json_option
def compare(
    before: Path, after: Path, everything: bool, page: Path | None, trust: bool, as_json: bool
) -> None:
    """Which concepts of one run are in another, lost or new.

    The runs can be of two models, sites, seeds or dates.
    """
    from recsae.explore.compare import strongest
    from recsae.explore.compare_page import check_page, write_comparison
    from recsae.finished.loaded import load_run

    if page is not None:
        check_page(page, (before, after))
    compared = load_run(before).compare(after, trust=trust)
    if page is not None:
        write_comparison(compared, page, trust=trust)
    changes = compared.changes
    if as_json:
        show_json(to_dict(compared))
        return
    say(f"{compared.verdict.title}. {compared.verdict.detail}\n")
    say(f"{how_matched(compared.matching)}\n")
    _show_counts(compared, everything)
    say(f"\nbefore: {compared.before.run}\nafter: {compared.after.run}")
    show_table(("", Column("before", str), Column("after", str)), _said(compared), top=None)
    click.echo("")
    rows = _rows(changes if everything else strongest(changes, N_SHOWN))
    show_rows(COLUMNS, rows, top=None)
    if not everything:
        verified = strongest(changes, len(changes))
        say(
            f"{len(verified) - len(rows):,} more with a verified concept on one side or both, of "
            f"{len(changes):,} latents and pairs in all: --all shows them."
        )
    if page is not None:
        click.echo(f"\nPage: {page}")


def to_dict(compared: Comparison) -> dict[str, Any]:
    """The comparison as JSON holds it."""
    from recsae.core.files import plain

    counts = {"verified": compared.n_verified, "all": compared.n_all}
    return {
        "how": compared.matching.method,
        "verdict": plain(asdict(compared.verdict)),
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
    from recsae.explore.run_figures import FIGURES

    return [
        {
            "figure": words,
            "before": getattr(compared.before, key),
            "after": getattr(compared.after, key),
        }
        for key, words in FIGURES.items()
    ]


def _said(compared: Comparison) -> list[list[str]]:
    """The figures of both runs as a person reads them."""
    from recsae.explore.run_figures import FIGURES

    return [
        [words, *(_figure(key, getattr(run, key)) for run in (compared.before, compared.after))]
        for key, words in FIGURES.items()
        if key != "run"  # a path may be long
    ]


def _figure(key: str, value: Any) -> str:
    return cell(value) if value is None or key not in SAID else SAID[key](value)


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
    show_table(("names" if by_name else "latents", "verified", "all"), rows, top=None)
    say(
        "\nNames are looked for whatever their latents, so that one can be in both without a pair:"
        if not by_name
        else ""
    )
    for key, words in (("both", "in both"), ("lost", "only before"), ("new", "only after")):
        names: list[str] = getattr(compared.names, key)
        listed = names if everything else names[:N_NAMES]
        more = f"; and {len(names) - len(listed)} more" if len(listed) < len(names) else ""
        say(f"names verified {words} ({len(names)}): {'; '.join(listed) or '-'}{more}")
