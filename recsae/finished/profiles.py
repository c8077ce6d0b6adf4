"""Which concepts are active more often among some users, or after an item: the tables to show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from recsae.core.errors import InvalidInput
from recsae.core.notebook.cells import Table, card
from recsae.core.text import readable
from recsae.explore.cohorts import FALSE_DISCOVERIES, Cohort, Profiler, listed_users

if TYPE_CHECKING:
    from recsae.run.workspace import Workspace

N_PROMOTING = 10
"""Latents shown that promote an item."""
N_SHOWN = 10
"""Rows of each table that a notebook shows."""
COLUMNS = ("name", "share", "others", "difference", "low", "high")


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

    @property
    def different(self) -> pd.DataFrame:
        """Of those ``compared``, the concepts that differ, false discoveries controlled."""
        if self.compared is None or self.compared.empty:
            return pd.DataFrame()
        return self.compared[self.compared["p_adjusted"] <= FALSE_DISCOVERIES]

    def __repr__(self) -> str:
        return f"Profile({self.subject.strip()})"

    def _repr_html_(self) -> str:
        tables = [
            Table(title, columns, table[list(columns)].head(N_SHOWN).to_numpy().tolist())
            for title, table, columns in (
                ("Concepts that differ", self.different, COLUMNS),
                ("Concepts of the user", self.own, ("name", "share", "others", "percentile")),
                ("Latents that promote it", self.promoting, ("name", "adds", "rank")),
            )
            if table is not None and len(table)
        ]
        return card("Profile", {"of": self.subject}, tables)


def profiled(
    work: Workspace,
    item: str | None,
    user: str | None,
    users: str | Iterable[object] | None,
    cohort: str | None,
    *,
    each_latent: bool,
) -> Profile:
    """The profile of an item, a user, some users, or those that a rule chooses: one of these.

    See :meth:`recsae.finished.opened.OpenRun.profile`.
    """
    if sum(given is not None for given in (item, user, users, cohort)) != 1:
        raise InvalidInput("Give one of item, user, users and cohort.")
    profiler = Profiler(work, each_latent=each_latent)
    if item is not None:
        return _item(profiler, item)
    if user is not None:
        return _user(profiler, user)
    if users is not None:
        chosen = Cohort(listed_users(users, profiler.sequences), ())
        return _group(profiler, chosen, "users of the list")
    return _group(profiler, profiler.cohort(str(cohort)), f"users of the cohort {cohort!r}")


def _item(profiler: Profiler, text: str) -> Profile:
    catalog = profiler.work.recommender.catalog
    item = catalog.internal(text)
    after, promoting = profiler.after_item(item), profiler.promoting(item)
    return Profile(
        f"States whose last item is {readable(catalog.titles[item])!r}, beside all other states. ",
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


def _group(profiler: Profiler, cohort: Cohort, words: str) -> Profile:
    n, rest = len(cohort.rows), len(profiler.sequences) - len(cohort.rows)
    subject = f"{n:,} {words} beside the {rest:,} others. "
    if cohort.latents:
        subject += "Concepts of the latents that chose them are left out. "
    return Profile(subject, compared=profiler.of_users(cohort.rows, without=cohort.latents))
