"""The command ``profile``: for which users, and after which items, concepts are active."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recsae.cli.shared.console import PATH, records, show_json, show_table
from recsae.cli.shared.options import device_option, json_option, trust_option
from recsae.core.errors import InvalidInput

if TYPE_CHECKING:
    from recsae.finished.profiles import Profile

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
@trust_option
@device_option
@json_option
def profile(
    folder: Path,
    latents: bool,
    top: int,
    trust: bool,
    device: str,
    as_json: bool,
    **choice: str | None,
) -> None:
    """Which concepts are over-represented among users, or after an item.

    Users are the unit: share is the mean share of a user's own positions on which a concept is
    active, others the same elsewhere. Differences have 95 % intervals (low, high); p is adjusted
    for the number of concepts (Benjamini-Hochberg).
    """
    chosen = {key: value for key, value in choice.items() if value is not None}
    if len(chosen) != 1:
        raise InvalidInput("Give one of --item, --user, --users and --cohort.")
    from recsae.finished.opened import open_run

    run = open_run(folder, device=device, trust=trust)
    shown = run.profile(**chosen, each_latent=latents)
    show_json(to_dict(shown)) if as_json else _show(shown, top)


def to_dict(profile: Profile) -> dict[str, Any]:
    """The profile as JSON holds it."""
    known: dict[str, Any] = {"of": profile.subject}
    if profile.compared is not None:
        known["concepts"] = records(profile.compared)
        known["n_different"] = len(profile.different)
    if profile.promoting is not None:
        known["promoted by"] = records(profile.promoting)
    if profile.own is not None:
        known["own"] = records(profile.own)
    return known


def _show(profile: Profile, top: int) -> None:
    from recsae.explore.cohorts import FALSE_DISCOVERIES

    subject, compared = profile.subject, profile.compared
    differ: list[dict[str, Any]] = []
    if compared is not None and len(compared):
        differ = records(profile.different)
        subject += (
            f"{len(differ)} of {len(compared)} concepts differ "
            f"({100 * FALSE_DISCOVERIES:.0f} % of these may do so by chance)."
        )
    elif compared is not None:
        subject += "Fewer than five users have such states: too few to compare."
    click.echo(subject.rstrip())
    _table("More often", [r for r in differ if r["difference"] > 0][:top], COMPARED)
    _table("Less often", [r for r in differ if r["difference"] < 0][::-1][:top], COMPARED)
    if profile.own is not None:
        _table("", records(profile.own)[:top], OWN)
    if profile.promoting is not None:
        title = "Latents that promote it (what each adds at its median activation)"
        _table(title, records(profile.promoting), PROMOTED)


def _table(title: str, rows: list[dict[str, Any]], columns: dict[str, str]) -> None:
    if not rows:
        return
    click.echo(f"\n{title}:" if title else "")
    show_table(list(columns), [[row[key] for key in columns.values()] for row in rows])
