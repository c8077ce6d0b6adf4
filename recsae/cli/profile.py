"""The command ``profile``: for which users, and after which items, concepts are active."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recsae.cli.shared.console import PATH, records, show_json
from recsae.cli.shared.opened import opened
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
    import pandas as pd

    from recsae.explore.cohorts import Cohort, Profiler

N_PROMOTING = 10
"""Latents shown that promote an item."""
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
@click.option("--users", help="Of these users against the rest: a file of ids, or U1,U2,...")
@click.option(
    "--cohort",
    metavar="RULE",
    help="Of the users that a rule chooses: 'concept:Horror>0.1' (active on more than a tenth of "
    "their positions; or <) or 'item:Alien' (who have had it).",
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
    from recsae.explore.cohorts import Profiler

    ((kind, value),) = chosen.items()
    make = {"item": _item, "user": _user, "users": _users, "cohort": _cohort}[kind]
    with opened(folder, device, trust=trust) as work:
        shown = make(Profiler(work, each_latent=latents), value)
    show_json(shown.to_dict()) if as_json else _show(shown, None if everything else top)


@dataclass(frozen=True)
class Profile:
    """The tables that are shown, and of whom in words; those that do not apply are None."""

    subject: str
    """Who is compared with whom."""
    compared: pd.DataFrame | None = None
    """All concepts, users of the group (or after the item) beside the rest; empty where there are
    too few users."""
    own: pd.DataFrame | None = None
    """The concepts of one user."""
    promoting: pd.DataFrame | None = None
    """Latents that promote the item."""

    def to_dict(self) -> dict[str, Any]:
        """The profile as JSON holds it."""
        known: dict[str, Any] = {"of": self.subject}
        if self.compared is not None:
            known["concepts"] = records(self.compared)
            known["n_different"] = len(_different(self.compared))
        if self.promoting is not None:
            known["promoted by"] = records(self.promoting)
        if self.own is not None:
            known["own"] = records(self.own)
        return known


def _different(compared: pd.DataFrame) -> pd.DataFrame:
    """The concepts that differ, false discoveries controlled."""
    from recsae.explore.cohorts import FALSE_DISCOVERIES

    if compared.empty:
        return compared
    return compared[compared["p_adjusted"] <= FALSE_DISCOVERIES]


def _item(profiler: Profiler, text: str) -> Profile:
    import pandas as pd

    catalog = profiler.work.recommender.catalog
    item = catalog.internal(text)
    after, promoting = profiler.after_item(item), profiler.promoting(item)
    return Profile(
        f"States whose last item is {catalog.titles[item]!r}, beside all other states. ",
        compared=pd.DataFrame() if after is None else after,
        promoting=pd.DataFrame()
        if promoting is None
        else promoting[promoting["adds"] > 0].head(N_PROMOTING),
    )


def _user(profiler: Profiler, user: str) -> Profile:
    return Profile(
        f"User {user} beside all other users; percentile: how many of them have less. ",
        own=profiler.of_user(profiler.sequences.row_of(user)),
    )


def _users(profiler: Profiler, text: str) -> Profile:
    from recsae.explore.cohorts import Cohort, listed_users

    cohort = Cohort(listed_users(text, profiler.sequences), ())
    return _group(profiler, cohort, "users of the list")


def _cohort(profiler: Profiler, rule: str) -> Profile:
    return _group(profiler, profiler.cohort(rule), f"users of the cohort {rule!r}")


def _group(profiler: Profiler, cohort: Cohort, words: str) -> Profile:
    n, rest = len(cohort.rows), len(profiler.sequences) - len(cohort.rows)
    subject = f"{n:,} {words} beside the {rest:,} others. "
    if cohort.latents:
        subject += "Concepts of the latents that chose them are left out. "
    return Profile(subject, compared=profiler.of_users(cohort.rows, without=cohort.latents))


def _show(profile: Profile, top: int | None) -> None:
    from recsae.explore.cohorts import FALSE_DISCOVERIES

    subject, compared = profile.subject, profile.compared
    differ: list[dict[str, Any]] = []
    if compared is not None and len(compared):
        differ = records(_different(compared))
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
