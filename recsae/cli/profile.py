"""The command that asks whose and what concepts are: ``profile``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recsae.cli.shared.console import PATH, show_json, show_table
from recsae.cli.shared.options import device_option, json_option
from recsae.core.errors import InvalidInput

if TYPE_CHECKING:
    import pandas as pd

    from recsae.explore.cohorts import Profiler

N_LATENTS = 10
COMPARED = {
    "concept": "name",
    "share": "share",
    "others": "others",
    "difference": "difference",
    "low": "low",
    "high": "high",
    "ratio": "ratio",
    "users": "n_users",
    "p": "p_adjusted",
}
OWN = {"concept": "name", "share": "share", "others": "others", "percentile": "percentile"}
PROMOTED = {"latent": "latent", "concept": "name", "adds": "adds", "rank": "rank", "label": "label"}


@click.command()
@click.argument("folder", type=PATH)
@click.option("--item", help="What comes after an item, and what promotes it: id or title.")
@click.option("--user", help="The concepts of one user beside those of all others.")
@click.option("--users", help="Of these users against the rest: a file of ids, or U1,U2,...")
@click.option(
    "--cohort",
    metavar="RULE",
    help="Of the users that a rule chooses: 'concept:Horror>0.1' (active on more than a tenth of "
    "their positions; or <) or 'item:Alien' (who have had it).",
)
@click.option("--latents", is_flag=True, help="Every latent by itself, whatever its status.")
@click.option("--top", type=click.IntRange(1), default=15, show_default=True, help="Rows shown.")
@device_option
@json_option
def profile(
    folder: Path, latents: bool, top: int, device: str, as_json: bool, **choice: str | None
) -> None:
    """Which concepts are over-represented among users, or after an item.

    Users are the unit: share is the mean share of a user's own positions on which a concept is
    active, others the same elsewhere. Differences have 95 % intervals (low, high); p is adjusted
    for the number of concepts (Benjamini-Hochberg).
    """
    chosen = {key: value for key, value in choice.items() if value is not None}
    if len(chosen) != 1:
        raise InvalidInput("Give one of --item, --user, --users and --cohort.")
    from recsae.explore.cohorts import Profiler
    from recsae.run.open import open_run

    profiler = Profiler(open_run(folder, device), each_latent=latents)
    ((kind, value),) = chosen.items()
    found = {"item": _item, "user": _user, "users": _users, "cohort": _cohort}[kind](
        profiler, value
    )
    if as_json:
        show_json(found)
    else:
        _show(found, top)


def _item(profiler: Profiler, text: str) -> dict[str, Any]:
    from recsae.explore.cohorts import records

    catalog = profiler.work.recommender.catalog
    item = catalog.internal(text)
    after, promoted = profiler.after_item(item), profiler.promoting(item)
    best = None if promoted is None else promoted[promoted["adds"] > 0].head(N_LATENTS)
    return {
        "of": f"States whose last item is {catalog.titles[item]!r}, beside all other states. ",
        **_compared(after),
        "promoted by": [] if best is None else records(best),
    }


def _user(profiler: Profiler, user: str) -> dict[str, Any]:
    from recsae.explore.cohorts import records

    table = profiler.of_user(profiler.sequences.row_of(user))
    return {
        "of": f"User {user} beside all other users; percentile: how many of them have less. ",
        "own": records(table),
    }


def _users(profiler: Profiler, text: str) -> dict[str, Any]:
    from recsae.explore.cohorts import listed_users

    return _group(profiler, listed_users(text, profiler.sequences), "users of the list")


def _cohort(profiler: Profiler, rule: str) -> dict[str, Any]:
    rows, latents = profiler.cohort(rule)
    found = _group(profiler, rows, f"users of the cohort {rule!r}", latents)
    if latents:
        found["of"] += "Concepts of the latents that chose them are left out. "
    return found


def _group(profiler: Profiler, rows: Any, words: str, but: tuple[int, ...] = ()) -> dict[str, Any]:
    table = profiler.of_users(rows, but=but)
    rest = len(profiler.sequences) - len(rows)
    return {"of": f"{len(rows):,} {words} beside the {rest:,} others. ", **_compared(table)}


def _compared(table: pd.DataFrame | None) -> dict[str, Any]:
    """All concepts, and how many of them differ."""
    from recsae.explore.cohorts import FALSE_DISCOVERIES, records

    if table is None:
        return {"concepts": [], "n_different": 0}
    different = int((table["p_adjusted"] <= FALSE_DISCOVERIES).sum())
    return {"concepts": records(table), "n_different": different}


def _show(found: dict[str, Any], top: int) -> None:
    from recsae.explore.cohorts import FALSE_DISCOVERIES

    rows = found.get("concepts", [])
    if rows:
        found["of"] += (
            f"{found['n_different']} of {len(rows)} concepts differ "
            f"({100 * FALSE_DISCOVERIES:.0f} % of these may do so by chance)."
        )
    elif "concepts" in found:
        found["of"] += "Fewer than five users have such states: too few to compare."
    click.echo(found["of"].rstrip())
    differ = [row for row in rows if row["p_adjusted"] <= FALSE_DISCOVERIES]
    _table("More often", [r for r in differ if r["difference"] > 0][:top], COMPARED)
    _table("Less often", [r for r in differ if r["difference"] < 0][::-1][:top], COMPARED)
    _table("", found.get("own", [])[:top], OWN)
    promoted = found.get("promoted by", [])
    _table("Latents that promote it (what each adds at its median activation)", promoted, PROMOTED)


def _table(title: str, rows: list[dict[str, Any]], columns: dict[str, str]) -> None:
    if not rows:
        return
    click.echo(f"\n{title}:" if title else "")
    show_table(list(columns), [[row[key] for key in columns.values()] for row in rows])
