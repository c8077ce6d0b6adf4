"""Which concepts are active more often for some users, or after an item, than elsewhere.

Users are the unit: each counts by the share of their own positions on which a concept is active,
so that a few users with long histories do not decide.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse

from recsae.capture.store import POSITION, SEQUENCE
from recsae.concepts.corrections import REJECTED
from recsae.concepts.dictionary import ConceptDictionary
from recsae.core import columns as C
from recsae.core.errors import InvalidInput, NotEnoughData
from recsae.explore.cohort_statistics import MIN_USERS, Shares, compare
from recsae.run.workspace import Workspace
from recsae.sae.codes import sparse_code

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from recsae.capture.store import ActivationStore
    from recsae.recommender.sequences import Sequences

LATENTS = "latents"
"""Column of the latents behind a concept."""
FALSE_DISCOVERIES = 0.05
"""Of the concepts said to differ so many may not (Benjamini-Hochberg)."""
_RULE = re.compile(
    r"^(?:item:\s*(?P<item>.+)|concept:\s*(?P<name>.+?)\s*(?P<op>[<>])\s*(?P<share>\d*\.?\d+))$"
)


@dataclass(frozen=True)
class Activity:
    """Which concepts are active on n positions.

    ``active (n, m)`` ones, ``user (n,)`` rows of the sequences, ``item (n,)`` last items;
    ``concepts``: m rows (name, latents).
    """

    active: scipy.sparse.csr_matrix
    user: NDArray[np.int64]
    item: NDArray[np.int64]
    concepts: pd.DataFrame

    def shares(self, where: NDArray[np.bool_]) -> Shares:
        """The share of each user's positions ``where`` on which each concept is active."""
        rows = np.flatnonzero(where)
        users, group = np.unique(self.user[rows], return_inverse=True)
        n = np.bincount(group, minlength=len(users)).astype(float)
        where_to = (group, np.arange(len(rows)))
        by_user = scipy.sparse.csr_matrix((np.ones(len(rows)), where_to), (len(users), len(rows)))
        share = (by_user @ self.active[rows]).tocsr()
        share.data /= np.repeat(n, np.diff(share.indptr))  # of whole numbers: never more than 1
        return Shares(users, n, share)


class Cohort(NamedTuple):
    """Users that a rule chooses."""

    rows: NDArray[np.int64]
    """Rows of the sequences."""
    latents: tuple[int, ...]
    """The latents that the rule chooses them by."""


class Profiler:
    """Where the concepts of a finished run are active: for which users, and after which items.

    ``each_latent``: every latent for itself, whatever its status; otherwise the concepts are the
    names of verified latents and those that people gave, active where any of their latents is.
    """

    def __init__(self, work: Workspace, *, each_latent: bool = False) -> None:
        self.work = work
        self.sequences = work.recommender.sequences()
        self.concepts = concepts_of(work.dictionary, work.verified, each_latent=each_latent)

    @cached_property
    def activity(self) -> Activity:
        """The concepts at every captured position, of construction and held-out users."""
        return self._read(list(self.concepts[LATENTS]), self.concepts)

    def _read(self, groups: list[tuple[int, ...]], concepts: pd.DataFrame) -> Activity:
        latents = np.array([j for group in groups for j in group], dtype=np.int64)
        column = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
        ones = np.ones(len(latents), dtype=np.float32)
        shape = (self.work.sae.n_latents, len(groups))
        member = scipy.sparse.csr_matrix((ones, (latents, column)), shape)
        parts = [
            part
            for store in (self.work.construction_store, self.work.heldout_store)
            for part in self._active(store, member)
        ]
        sequence = np.concatenate([p[1] for p in parts]).astype(np.int64)
        last = self.sequences.offsets[sequence] + np.concatenate([p[2] for p in parts])
        active = scipy.sparse.vstack([p[0] for p in parts], format="csr")
        return Activity(active, sequence, self.sequences.flat[last].astype(np.int64), concepts)

    def _active(
        self, store: ActivationStore, member: scipy.sparse.csr_matrix
    ) -> list[tuple[scipy.sparse.csr_matrix, NDArray[np.int32], NDArray[np.int32]]]:
        sae, parts, first = self.work.sae, [], 0
        sequence, position = store.column(SEQUENCE), store.column(POSITION)
        for states in store.shards:
            code = sparse_code(sae.encode_sparse, np.array(states), sae.n_latents)
            active = (code @ member).tocsr()
            active.data = np.ones(active.nnz, dtype=np.float32)
            rows = slice(first, first + len(states))
            parts.append((active, sequence[rows], position[rows]))
            first += len(states)
        return parts

    def of_users(self, rows: NDArray[np.int64], *, without: tuple[int, ...] = ()) -> pd.DataFrame:
        """Compare these users (rows of the sequences) with all others; see :func:`compare`.

        Concepts that have a latent in ``without`` are left out.

        Raises
        ------
        NotEnoughData
            Fewer than five users on either side.
        """
        inside = np.isin(self.activity.user, rows)
        mine, others = (self.activity.shares(side) for side in (inside, ~inside))
        for shares, who in ((mine, "in the group"), (others, "outside it")):
            if len(shares.users) < MIN_USERS:
                raise NotEnoughData(
                    f"{len(shares.users)} users {who}: a comparison needs {MIN_USERS} at least. "
                    "For one user, use --user."
                )
        table = compare(mine, others, self.concepts)
        return table[[not set(without) & set(latents) for latents in table[LATENTS]]]

    def of_user(self, row: int) -> pd.DataFrame:
        """The concepts of one user beside those of all others: shares and the percentile.

        One row per concept that is ever active for the user (name, latents, share, others, ratio,
        percentile: the percentage of other users who have less of it), most unusual first.
        """
        own = self.activity.user == row
        if not own.any():
            raise NotEnoughData(f"No state of user {self.sequences.users[row]} was captured.")
        mine, others = self.activity.shares(own), self.activity.shares(~own)
        share, by_concept = mine.share.toarray().ravel(), others.share.tocsc()
        mean = np.asarray(by_concept.mean(0)).ravel()
        less = np.empty(len(share))
        for j in range(len(share)):
            values = by_concept.data[by_concept.indptr[j] : by_concept.indptr[j + 1]]
            less[j] = len(others.users) - (values >= share[j]).sum()
        table = self.concepts.assign(
            share=share,
            others=mean,
            difference=share - mean,
            ratio=np.divide(share, mean, out=np.full(len(mean), np.nan), where=mean > 0),
            percentile=100 * less / len(others.users),
        )
        return table[share > 0].sort_values("difference", ascending=False, kind="stable")

    def after_item(self, item: int) -> pd.DataFrame | None:
        """:func:`compare` positions after an item with all others.

        None where fewer than five users have any on either side.
        """
        here = self.activity.item == item
        mine, others = self.activity.shares(here), self.activity.shares(~here)
        if min(len(mine.users), len(others.users)) < MIN_USERS:
            return None
        return compare(mine, others, self.concepts)

    def promoting(self, item: int) -> pd.DataFrame | None:
        """How every latent moves an item's score, and the item's rank among all items.

        ``weight`` is what one unit of the latent adds, relative to the mean over items; ``adds``
        the same at the latent's median activation. Rank 1: no item is promoted more. None where
        scores are not linear in the states.
        """
        head = self.work.head
        if head is None:
            return None
        import torch

        real = torch.from_numpy(np.flatnonzero(self.work.recommender.catalog.recommendable))
        table = head.items[real] - head.items[real].mean(0)
        place = int((real == item).nonzero()[0, 0])
        weight, rank = [], []
        for part in self.work.sae.directions().split(max(1, 2**26 // len(real))):
            weights = part @ table.T
            weight.append(weights[:, place])
            rank.append(1 + (weights > weights[:, [place]]).sum(1))
        labels, examples = self.work.dictionary.table, self.work.dictionary.examples
        typical = examples[examples[C.QUANTILE] == 0.5].set_index(C.LATENT)[C.ACTIVATION]
        effects = labels[[C.LATENT, C.NAME, C.LABEL]].assign(
            weight=torch.cat(weight).numpy().astype(float), rank=torch.cat(rank).numpy()
        )
        effects["adds"] = effects["weight"] * effects[C.LATENT].map(typical)
        return effects.dropna().sort_values("adds", ascending=False, kind="stable")

    def cohort(self, rule: str) -> Cohort:
        """The users that a rule chooses.

        ``concept:Horror>0.1``: the concept is active on more than a tenth of the user's positions
        (``<``: less). ``item:Alien``: the user has had the item.
        """
        match = _RULE.match(rule.strip())
        if match is None:
            raise InvalidInput(
                f"Cannot read the cohort {rule!r}: write 'concept:NAME>SHARE', e.g. "
                "'concept:Horror>0.1', or 'item:ITEM', e.g. 'item:Alien'."
            )
        if match["item"] is not None:
            item = self.work.recommender.catalog.internal(match["item"])
            where = np.flatnonzero(self.sequences.flat == item)
            rows = np.searchsorted(self.sequences.offsets, where, side="right") - 1
            return Cohort(np.unique(rows), ())
        latents = tuple(self.work.dictionary.find(match["name"], self.work.verified))
        activity = self._read([latents], pd.DataFrame())
        shares = activity.shares(np.ones(len(activity.user), dtype=bool))
        value, limit = shares.share.toarray().ravel(), float(match["share"])
        chosen = value > limit if match["op"] == ">" else value < limit
        return Cohort(shares.users[chosen], latents)


def concepts_of(
    dictionary: ConceptDictionary, verified: NDArray[np.int64], *, each_latent: bool
) -> pd.DataFrame:
    """The concepts of a dictionary, name and latents; see :class:`Profiler`."""
    table = dictionary.table
    if each_latent:
        latents = [(int(j),) for j in table[C.LATENT]]
        return pd.DataFrame({C.NAME: table[C.NAME], LATENTS: latents})
    kept = table[C.LATENT].isin(verified)
    if C.CORRECTION in table:
        kept = (kept | (table[C.CORRECTION] != "")) & (table[C.CORRECTION] != REJECTED)
    names = table.loc[kept, C.ABOUT]
    names = names[~names.str.casefold().duplicated()]  # as names are looked up
    if names.empty:
        raise NotEnoughData(
            "No concept of this run is verified: --latents compares every latent, whatever it is."
        )
    groups = [tuple(dictionary.named(name, verified)) for name in names]
    return pd.DataFrame({C.NAME: list(names), LATENTS: groups})


def read_users(text: str) -> list[str]:
    """User ids of a file (one a line, or with commas), or of a list with commas.

    >>> read_users("12, 99,7")
    ['12', '99', '7']
    """
    content = text
    try:
        if Path(text).is_file():
            content = Path(text).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) != errno.ENAMETOOLONG:  # a long list is no file's name
            raise InvalidInput(f"Cannot read users from {text}: {error}.") from error
    return [user.strip() for user in re.split(r"[,\n]", content) if user.strip()]


def listed_users(listed: str | Iterable[object], sequences: Sequences) -> NDArray[np.int64]:
    """Rows of users, each once: of those of :func:`read_users`, or of ids.

    Raises
    ------
    InvalidInput
        A user is unknown, or there is none.
    """
    users = read_users(listed) if isinstance(listed, str) else list(map(str, listed))
    if not users:
        raise InvalidInput("There is no user in the list: give ids separated by commas, or a file.")
    return np.unique([sequences.row_of(user) for user in users])
