"""Two finished runs compared: which concepts are in both, which are lost, which new."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import pandas as pd

from recsae.capture.store import STATES, ActivationStore
from recsae.concepts.status import STATUSES, VERIFIED
from recsae.core import columns as C
from recsae.core import layout
from recsae.core.errors import ArtifactMismatch, RecSAEError
from recsae.core.files import read_json
from recsae.core.notebook.cells import Table, card
from recsae.explore.common_cases import common_rows
from recsae.explore.run_figures import FIGURES, RunFigures, run_figures
from recsae.explore.verdict import Control, Criterion, Side, Verdict, controls_of, verdict
from recsae.run.open import open_workspace
from recsae.run.tables import RunTables
from recsae.sae.codes import sparse_code
from recsae.sae.matching import (
    ALIKE,
    SAME,
    Nearest,
    best_by_activity,
    best_by_direction,
    one_to_one,
)
from recsae.sae.model import SAE

if TYPE_CHECKING:
    import scipy.sparse
    from numpy.typing import NDArray

    from recsae.recommender.protocol import Recommender

MIN_CASES = 1_000
"""Common held-out positions below which activations are not compared, but names alone."""
N_SHOWN = 3
"""Changes of each kind that a notebook shows."""
TWIN = 0.9999
"""Similarity above which two latents are one and the same."""
KEPT = "same name"
RENAMED = "another name"
MERGED = "merged"
SPLIT = "split"
LOST = "lost"
NEW = "new"
CHANGES = (RENAMED, MERGED, SPLIT, LOST, NEW, KEPT)
"""What can become of a concept, see :func:`compare_runs`; the strongest change first."""
COMPARED = (
    *(C.LATENT, C.NAME, C.STATUS, C.F1),
    *(C.PRECISION, C.PRECISION_LOW, C.RECALL, C.RECALL_LOW),
)
"""Columns of a concept that stand beside those of its counterpart."""


@dataclass(frozen=True)
class ComparedRun:
    """One of the two runs that are compared."""

    folder: Path
    run: RunTables
    trust: bool = False
    """Open the run's checkpoint if need be, see :func:`recsae.run.open.open_workspace`."""

    @cached_property
    def concepts(self) -> pd.DataFrame:
        """One row per latent, by what it is about: each run tells its own names apart."""
        concepts = self.run.concepts
        return concepts.assign(**{C.NAME: concepts[C.ABOUT]})

    @cached_property
    def sae(self) -> SAE:
        """The run's SAE."""
        with self.run.run.reading(layout.SAE_CONFIG, layout.SAE_WEIGHTS):
            return SAE.load(self.folder / layout.SAE_FOLDER)

    @cached_property
    def store(self) -> ActivationStore:
        """States of held-out users."""
        with self.run.run.reading(f"{layout.HELDOUT_STORE}/*"):
            return ActivationStore(self.folder / layout.HELDOUT_STORE)

    def code(self, rows: NDArray[np.int64]) -> scipy.sparse.csr_matrix:
        """Activations ``(n, n_latents)`` at rows of the store."""
        states = self.store.rows(STATES, rows)
        return sparse_code(self.sae.encode_sparse, states, self.sae.n_latents)

    def controls(self, criterion: Criterion) -> dict[str, Control]:
        """What comes back where the run's own dictionary is made again, see :class:`Control`."""
        with self.run.run.reading(layout.STABILITY):
            return controls_of(read_json(self.folder / layout.STABILITY), criterion)

    def verified_names(self) -> set[str]:
        """Names of verified concepts."""
        return set(self.concepts.loc[self.concepts[C.STATUS] == VERIFIED, C.NAME])


class Matching(NamedTuple):
    """How the latents of two runs were paired, and the pairs."""

    method: Literal["direction", "activity", "names"]
    same_model: bool
    n_cases: int | None
    """Held-out positions at which activities were compared."""
    obstacle: str | None
    """Why latents could not be compared, so that only names were."""
    pairs: pd.DataFrame
    """One row for each pair and each latent without: latents ``before`` and ``after``, -1 where
    none is as similar, the best ``similarity``, and the ``side`` that the row speaks of."""


@dataclass(frozen=True)
class ChangeCounts:
    """How many pairs and single latents changed in which way."""

    renamed: int
    merged: int
    split: int
    lost: int
    new: int
    same_name: int
    lost_with_name: int
    """Lost, and no verified concept of the second run has the name."""
    new_with_name: int
    """New, and no verified concept of the first run has the name."""


@dataclass(frozen=True)
class VerifiedNames:
    """Names of verified concepts of both runs, sorted."""

    both: list[str]
    lost: list[str]
    new: list[str]


@dataclass(frozen=True)
class Comparison:
    """What became of the concepts of one run in another one."""

    matching: Matching
    before: RunFigures
    after: RunFigures
    n_verified: ChangeCounts
    """Changes where the concept of one side or both is verified."""
    n_all: ChangeCounts
    names: VerifiedNames
    changes: pd.DataFrame
    """One row for each pair and each latent without, the strongest changes first: ``change``,
    latent, name, status, F1, precision and recall with their lower bounds ``_before`` and
    ``_after``, ``similarity``, and whether the name is lost or new ``with_name``."""
    verdict: Verdict
    """Whether the runs are as alike as two dictionaries trained on one model."""

    def __repr__(self) -> str:
        counts = self.n_verified
        return (
            f"Comparison({self.before.run!r} -> {self.after.run!r}: of the verified concepts "
            f"{counts.same_name} kept, {counts.renamed} renamed, {counts.lost} lost, "
            f"{counts.new} new)"
        )

    def _repr_html_(self) -> str:
        facts = {"before": self.before.run, "after": self.after.run, "verdict": self.verdict.title}
        counts = vars(self.n_verified), vars(self.n_all)
        figures = [key for key in FIGURES if key != "run"]
        columns = ("change", "name_before", "name_after", "similarity")
        changed = strongest(self.changes, N_SHOWN)[list(columns)]
        names = self.names
        return card(
            "Comparison of two runs",
            facts | {"of that": self.verdict.detail},
            [
                Table(
                    "What became of concepts, where one of the two is verified, and of all latents",
                    ("change", "verified", "all"),
                    [
                        (kind.replace("_", " ").replace("with", "with its"), n, counts[1][kind])
                        for kind, n in counts[0].items()
                    ],
                ),
                Table(
                    "Names of verified concepts",
                    ("in both", "only before", "only after"),
                    [(len(names.both), len(names.lost), len(names.new))],
                ),
                Table(
                    f"The {N_SHOWN} strongest changes of each kind",
                    ("change", "before", "after", "similarity"),
                    changed.astype(object).where(changed.notna(), None).to_numpy().tolist(),
                ),
                Table(
                    "Figures of both runs",
                    ("", "before", "after"),
                    [
                        (FIGURES[k], getattr(self.before, k), getattr(self.after, k))
                        for k in figures
                    ],
                ),
            ],
        )


def compare_runs(before: Path, after: Path, *, trust: bool = False) -> Comparison:
    """What became of the concepts of one run in another one.

    Latents are paired one to one (:func:`recsae.sae.matching.one_to_one`): by decoder direction
    where model and site are the same; otherwise by their activations at the held-out positions
    that both runs have, of users with the same ids and items; where there are too few of those,
    concepts are compared by name alone, the best of each name.

    A pair has the *same name* or *another name*. A latent of the first run is *merged* if the one
    that it is as similar to is paired with another, and *lost* if there is none; one of the second
    run is *split* off, or *new*.

    Parameters
    ----------
    trust
        Open the checkpoints of both runs, see :func:`recsae.run.open.open_workspace`. They are
        needed where the models are not the same; without them concepts are compared by name.

    Raises
    ------
    ArtifactMismatch
        A folder holds no run, or one that is not finished.
    """
    one, two = _opened(before, trust), _opened(after, trust)
    matching = _match(one, two)
    changes = _changes(one, two, matching.pairs)
    names = one.verified_names(), two.verified_names()
    return Comparison(
        matching,
        run_figures(before),
        run_figures(after),
        _counts(changes[_any_verified(changes)]),
        _counts(changes),
        VerifiedNames(
            sorted(names[0] & names[1]), sorted(names[0] - names[1]), sorted(names[1] - names[0])
        ),
        changes,
        _verdict(one, two, matching, changes),
    )


def match_runs(before: Path, after: Path, *, trust: bool = False) -> Matching:
    """How the latents of two finished runs are paired; see :func:`compare_runs`."""
    return _match(_opened(before, trust), _opened(after, trust))


def strongest(changes: pd.DataFrame, n: int) -> pd.DataFrame:
    """Of a comparison's changes the first n of each kind, where one of the two is verified."""
    return changes[_any_verified(changes)].groupby("change", sort=False).head(n)


def _opened(folder: Path, trust: bool) -> ComparedRun:
    loaded = RunTables(folder)
    if "report" not in loaded.run.record["stages"]:
        raise ArtifactMismatch(f"The run in {folder} is not finished: run the same command again.")
    return ComparedRun(folder, loaded, trust)


# -- pairing ---------------------------------------------------------------------------------------


def _match(one: ComparedRun, two: ComparedRun) -> Matching:
    manifests = [side.store.manifest for side in (one, two)]
    same_model = manifests[0]["model"] == manifests[1]["model"]
    if same_model and manifests[0]["site"] == manifests[1]["site"]:
        directions = one.sae.decoder(), two.sae.decoder()
        best = best_by_direction(*directions), best_by_direction(*directions[::-1])
        return Matching("direction", True, None, None, _paired(*best, SAME))
    if not same_model and any(side.run.run.config.checkpoint is None for side in (one, two)):
        return _by_name(one, two, "A model in memory cannot be asked again who its users are.")
    try:
        models = None if same_model else (_model(one), _model(two))
    except RecSAEError as error:
        return _by_name(one, two, str(error))
    rows = common_rows(one.store, two.store, models)
    n = len(rows[0])
    if n < MIN_CASES:
        obstacle = f"The runs have {n:,} held-out positions in common."
        return _by_name(one, two, obstacle, same_model=same_model)
    codes = one.code(rows[0]), two.code(rows[1])
    best = best_by_activity(*codes), best_by_activity(*codes[::-1])
    return Matching("activity", same_model, n, None, _paired(*best, ALIKE))


def _model(side: ComparedRun) -> Recommender:
    return open_workspace(side.folder, trust=side.trust).recommender


def _paired(there: Nearest, back: Nearest, at_least: float) -> pd.DataFrame:
    """All latents of both sides, beside what they are as similar to."""
    match = one_to_one(there, back, at_least)
    rest = np.setdiff1d(np.arange(len(back.other)), match)
    near = np.where(there.similarity > at_least, there.other, -1)
    back_near = np.where(back.similarity > at_least, back.other, -1)
    return pd.DataFrame(
        {
            "before": np.r_[np.arange(len(match)), back_near[rest]],
            "after": np.r_[near, rest],
            "similarity": np.r_[there.similarity, back.similarity[rest]],
            "side": np.r_[np.where(match >= 0, "both", "before"), np.full(len(rest), "after")],
        }
    )


def _by_name(
    one: ComparedRun, two: ComparedRun, obstacle: str, *, same_model: bool = False
) -> Matching:
    """The best concept of each name beside the best of that name in the other run."""
    tables = []
    for side in (one, two):
        order = side.concepts[C.STATUS].map(STATUSES.index)
        best = side.concepts.assign(order=order).sort_values(
            ["order", C.F1, C.LATENT], ascending=[True, False, True]
        )
        first = best.drop_duplicates(C.NAME)
        tables.append(pd.DataFrame({C.NAME: first[C.NAME], "row": first.index}))
    both = tables[0].merge(tables[1], on=C.NAME, how="outer", suffixes=("_before", "_after"))
    rows = both[["row_before", "row_after"]].fillna(-1).astype(np.int64)
    pairs = rows.set_axis(["before", "after"], axis=1).assign(similarity=np.nan, side="both")
    pairs.loc[pairs["after"] < 0, "side"] = "before"
    pairs.loc[pairs["before"] < 0, "side"] = "after"
    return Matching("names", same_model, None, obstacle, pairs)


# -- what changed ----------------------------------------------------------------------------------


def _changes(one: ComparedRun, two: ComparedRun, pairs: pd.DataFrame) -> pd.DataFrame:
    """What became of each pair and single latent, the strongest of each kind of change first."""
    table = pairs
    for key, side in (("before", one), ("after", two)):
        concepts = side.concepts[list(COMPARED)].astype({C.LATENT: "Int64"})
        named = concepts.set_axis([f"{column}_{key}" for column in COMPARED], axis=1)
        table = table.merge(named, how="left", left_on=key, right_index=True)
    names = [table[f"{C.NAME}_{key}"] for key in ("before", "after")]
    side, alone = table["side"], (table[["before", "after"]] < 0).any(axis=1)
    table["change"] = np.select(
        [
            *((side == "before") & alone, side == "before"),
            *((side == "after") & alone, side == "after", names[0] == names[1]),
        ],
        [LOST, MERGED, NEW, SPLIT, KEPT],
        RENAMED,
    )
    gone = (table["change"] == LOST) & ~names[0].isin(two.verified_names())
    fresh = (table["change"] == NEW) & ~names[1].isin(one.verified_names())
    table["with_name"] = gone | fresh
    f1 = table[[f"{C.F1}_{key}" for key in ("before", "after")]]
    moved = (f1.iloc[:, 0] - f1.iloc[:, 1]).abs()
    strength = f1.max(axis=1) + table["with_name"]
    table["strength"] = strength.where(table["change"] != KEPT, moved)
    table["kind"] = table["change"].map(CHANGES.index)
    table = table.sort_values(["kind", "strength"], ascending=[True, False], kind="stable")
    columns = [f"{column}_{key}" for column in COMPARED for key in ("before", "after")]
    return table[["change", *columns, "similarity", "with_name"]].reset_index(drop=True)


def _verdict(
    one: ComparedRun, two: ComparedRun, matching: Matching, changes: pd.DataFrame
) -> Verdict:
    criterion = None if matching.method == "names" else matching.method
    sides = []
    for run, key, single in ((one, "before", (MERGED, LOST)), (two, "after", (SPLIT, NEW))):
        mine = changes[changes["change"].isin((KEPT, RENAMED, *single))]
        mine = mine[mine[f"{C.STATUS}_{key}"] == VERIFIED]
        latents = mine[f"{C.LATENT}_{key}"].to_numpy(dtype=np.int64)
        found = ~mine["change"].isin((LOST, NEW)).to_numpy()
        sides.append(Side(latents, found, run.controls(criterion) if criterion else {}))
    same = bool(((changes["change"] == KEPT) & (changes["similarity"] > TWIN)).all())
    return verdict(criterion, *sides, same=same)


def _any_verified(changes: pd.DataFrame) -> pd.Series:
    statuses = changes[[f"{C.STATUS}_before", f"{C.STATUS}_after"]]
    verified: pd.Series = statuses.eq(VERIFIED).any(axis=1)
    return verified


def _counts(changes: pd.DataFrame) -> ChangeCounts:
    kinds = changes["change"].value_counts()
    with_name = changes.loc[changes["with_name"], "change"].value_counts()
    return ChangeCounts(
        *(int(kinds.get(kind, 0)) for kind in CHANGES),
        *(int(with_name.get(kind, 0)) for kind in (LOST, NEW)),
    )
