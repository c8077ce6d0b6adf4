"""The command ``profile``: for which users, and after which items, concepts are active."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recsae.cli.shared.console import PATH, records, show_json
from recsae.cli.shared.options import (
    all_option,
    device_option,
    json_option,
    top_option,
    trust_option,
)
from recsae.cli.shared.tables import ROWS, Column, Columns, say, show_rows
from recsae.core.errors import InvalidInput
from recsae.report.words.formats import number, points, signed, two_digits

if TYPE_CHECKING:
    from recsae.finished.profiles import Profile

CHANCE = 0.001
"""A smaller probability is not said in digits."""


def _change(of: tuple[float, float, float]) -> str:
    """A difference of shares in percentage points, with its interval.

    >>> _change((0.123, 0.1014, 0.1451))
    '+12.3 (+10.1 to +14.5)'
    """
    value, low, high = map(points, of)
    return f"{value} ({low} to {high})"


def _ratio(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


def _probability(p: float) -> str:
    return f"<{CHANCE:g}" if p < CHANCE else number(p, 3)


COMPARED: Columns = {
    "name": "concept",
    "share": Column("share", two_digits),
    "others": Column("others", two_digits),
    "change": Column("points", _change),
    "ratio": Column("ratio", _ratio, optional=True),
    "p_adjusted": Column("p", _probability, optional=True),
    "n_users": Column("users", optional=True),
}
OWN: Columns = {
    "name": "concept",
    "share": Column("share", two_digits),
    "others": Column("others", two_digits),
    "percentile": Column("percentile", lambda value: f"{value:.0f}"),
}
PROMOTED: Columns = {
    "latent": "latent",
    "name": "concept",
    "adds": Column("adds", signed),
    "rank": "rank",
    "label": Column("label", optional=True),
}


@click.command()
@click.argument("folder", type=PATH)
@click.option("--item", help="What comes after an item, and what promotes it: id or title.")
@click.option("--user", help="The concepts of one user beside those of all others.")
@click.option("--users", help="These users beside all others: a file of ids, or U1,U2,...")
@click.option(
    "--cohort",
    metavar="RULE",
    help="The users that a rule chooses beside all others: 'concept:Horror>0.1' (active on more "
    "than a tenth of their positions; or <) or 'item:Alien' (who have had it).",
)
@click.option("--latents", is_flag=True, help="Every latent by itself, whatever its status.")
@top_option(ROWS)
@all_option
@trust_option
@device_option
@json_option
def profile(
    folder: Path,
    latents: bool,
    top: int,
    everything: bool,
    trust: bool,
    device: str,
    as_json: bool,
    **choice: str | None,
) -> None:
    """Which concepts set users apart, or come after an item.

    Users are the unit: share is the mean share of a user's own positions on which a concept is
    active, others the same elsewhere, points the difference with its 95 % interval; p is adjusted
    for the number of concepts (Benjamini-Hochberg).
    """
    chosen = {key: value for key, value in choice.items() if value is not None}
    if len(chosen) != 1:
        raise InvalidInput("Give one of --item, --user, --users and --cohort.")
    from recsae.finished.opened import open_run

    run = open_run(folder, device=device, trust=trust)
    shown = run.profile(**chosen, each_latent=latents)
    show_json(to_dict(shown)) if as_json else _show(shown, None if everything else top)


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


def _show(profile: Profile, top: int | None) -> None:
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
    say(subject.rstrip())
    for row in differ:
        row["change"] = tuple(row[key] for key in ("difference", "low", "high"))
    _table("More often", [r for r in differ if r["difference"] > 0], COMPARED, top)
    _table("Less often", [r for r in differ if r["difference"] < 0][::-1], COMPARED, top)
    if profile.own is not None:
        _table("", records(profile.own), OWN, top)
    if profile.promoting is not None:
        title = "Latents that promote it (what each adds at its median activation)"
        _table(title, records(profile.promoting), PROMOTED, top)


def _table(
    title: str,
    rows: list[dict[str, Any]],
    columns: Columns,
    top: int | None,
) -> None:
    if not rows:
        return
    say(f"\n{title}:" if title else "")
    show_rows(columns, rows, top=top)
