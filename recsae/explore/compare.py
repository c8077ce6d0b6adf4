"""Two finished runs beside each other: which concepts are in both, which lost, which new."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from recsae.capture.store import STATES, ActivationStore
from recsae.concepts.status import STATUSES, VERIFIED
from recsae.core import columns as C
from recsae.core.errors import ArtifactMismatch, RecSAEError
from recsae.explore.common_cases import common_rows
from recsae.run.open import open_run
from recsae.run.tables import LoadedRun, load_run
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
KEPT = "same name"
RENAMED = "another name"
MERGED = "merged"
SPLIT = "split"
LOST = "lost"
NEW = "new"
KINDS = (RENAMED, MERGED, SPLIT, LOST, NEW, KEPT)
"""What can become of a concept, see :func:`compare_runs`; the strongest change first."""
SHARES = ("8", "16", "32")
ITSELF = (C.LATENT, C.NAME, C.STATUS, C.BALANCED_ACCURACY)


@dataclass(frozen=True)
class ComparedRun:
    """One of the two runs."""

    folder: Path
    run: LoadedRun

    @cached_property
    def concepts(self) -> pd.DataFrame:
        """One row per latent."""
        return self.run.concepts

    @cached_property
    def sae(self) -> SAE:
        """The run's SAE."""
        return SAE.load(self.folder / "sae")

    @cached_property
    def store(self) -> ActivationStore:
        """States of held-out users."""
        return ActivationStore(self.folder / "heldout")

    def code(self, rows: NDArray[np.int64]) -> scipy.sparse.csr_matrix:
        """Activations ``(n, n_latents)`` at rows of the store."""
        states = self.store.rows(STATES, rows)
        return sparse_code(self.sae.encode_sparse, states, self.sae.n_latents)

    def verified_names(self) -> set[str]:
        """Names of verified concepts."""
        return set(self.concepts.loc[self.concepts[C.STATUS] == VERIFIED, C.NAME])


class Matched(NamedTuple):
    """How latents were paired, and which are."""

    how: str
    said: str
    n_cases: int | None
    pairs: pd.DataFrame
    """One row for each pair and each latent without: latents ``before`` and ``after``, -1 where
    none is as similar, the best ``similarity``, and the ``side`` that the row speaks of."""


def compare_runs(before: Path, after: Path) -> dict[str, Any]:
    """What became of the concepts of one run in another one.

    Latents are paired one to one (:func:`recsae.sae.matching.one_to_one`): by decoder direction
    where model and site are the same; otherwise by their activations at the held-out positions
    that both runs have, of users with the same ids and items; where there are too few of those,
    concepts are compared by name alone, the best of each name.

    A pair has the *same name* or *another name*. A latent of the first run is *merged* if the one
    that it is as similar to is paired with another, and *lost* if there is none; one of the second
    run is *split* off, or *new*.

    Returns
    -------
    dict
        ``how`` (``direction``, ``activity`` or ``names``), ``said`` (the same for people) and
        ``n_cases``; ``headline``, figures of both; ``counts`` of each kind, where one of the two
        is verified and of all (``lost_with_name``: and no verified concept of the other run has
        the name); ``names`` of verified concepts in both, lost and new; ``concepts``, one row for
        each pair and each latent that has none, the strongest changes first.

    Raises
    ------
    ArtifactMismatch
        A folder holds no run, or one that is not finished.
    """
    sides = (_side(before), _side(after))
    matched = _match(*sides)
    concepts = _changes(*sides, matched.pairs)
    names = [side.verified_names() for side in sides]
    figures = [_headline(side) for side in sides]
    return {
        "how": matched.how,
        "said": matched.said,
        "n_cases": matched.n_cases,
        "headline": [
            {"figure": key, "before": value, "after": figures[1][key]}
            for key, value in figures[0].items()
        ],
        "counts": {
            "verified": _counts(concepts[_any_verified(concepts)]),
            "all": _counts(concepts),
        },
        "names": {
            "both": sorted(names[0] & names[1]),
            "lost": sorted(names[0] - names[1]),
            "new": sorted(names[1] - names[0]),
        },
        "concepts": [
            {k: None if pd.isna(v) else v for k, v in row.items()}
            for row in concepts.to_dict("records")
        ],
    }


def match_runs(before: Path, after: Path) -> Matched:
    """How the latents of two finished runs are paired; see :func:`compare_runs`."""
    return _match(_side(before), _side(after))


def strongest(concepts: list[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    """Of the rows of ``compare_runs`` the first n of each kind of change, where one is verified."""
    table = pd.DataFrame(concepts)
    if not len(table):
        return []
    chosen = table[_any_verified(table)].groupby("change", sort=False).head(n).index
    return [concepts[row] for row in chosen]


def _side(folder: Path) -> ComparedRun:
    loaded = load_run(folder)
    if "report" not in loaded.run.record["stages"]:
        raise ArtifactMismatch(f"The run in {folder} is not finished: run the same command again.")
    return ComparedRun(folder, loaded)


def _headline(side: ComparedRun) -> dict[str, Any]:
    report = side.run.report
    aucs = [row["auc_sae"] for row in report["attributes"] if row["auc_sae"] is not None]
    sae, counts, share = report["sae"], report["concepts"], report["named_share"]["sae"]
    return {
        "run": str(side.folder),
        "model": report["model"]["name"],
        "data": report["data"]["name"],
        "site": report["model"]["site"],
        "seed": report["seed"],
        "latents": sae["n_latents"],
        "active per state": sae["l0"],
        "unexplained (FVU)": sae["fvu"],
        "NDCG kept": report["accuracy"]["heldout"]["ndcg_kept"],
        "concepts tested": counts["tested"],
        "concepts verified": counts["verified"],
        "distinct ones verified": counts["distinct_verified"],
        **{f"named share, {n} concepts": share[n] for n in SHARES},
        "attribute AUC": float(np.mean(aucs)) if aucs else None,
    }


# -- pairing ---------------------------------------------------------------------------------------


def _match(one: ComparedRun, two: ComparedRun) -> Matched:
    manifests = [side.store.manifest for side in (one, two)]
    same_model = manifests[0]["model"] == manifests[1]["model"]
    if same_model and manifests[0]["site"] == manifests[1]["site"]:
        directions = one.sae.directions(), two.sae.directions()
        best = best_by_direction(*directions), best_by_direction(*directions[::-1])
        said = (
            "Same model and site: two latents are a pair where the decoder direction of each is "
            f"the other's nearest, at a cosine above {SAME}."
        )
        return Matched("direction", said, None, _paired(*best, SAME))
    if not same_model and any(side.run.run.config.checkpoint is None for side in (one, two)):
        return _by_name(one, two, "A model in memory cannot be asked again who its users are.")
    try:
        models = None if same_model else (_model(one), _model(two))
    except RecSAEError as error:
        return _by_name(one, two, str(error))
    rows = common_rows(one.store, two.store, models)
    n = len(rows[0])
    if n < MIN_CASES:
        return _by_name(one, two, f"The runs have {n:,} held-out positions in common.")
    codes = one.code(rows[0]), two.code(rows[1])
    said = (
        f"{'Another site of the same' if same_model else 'Another'} model: two latents are a pair "
        f"where the activations of each correlate most with the other's, above {ALIKE}, at the "
        f"{n:,} held-out positions that both runs have."
    )
    best = best_by_activity(*codes), best_by_activity(*codes[::-1])
    return Matched("activity", said, n, _paired(*best, ALIKE))


def _model(side: ComparedRun) -> Recommender:
    return open_run(side.folder).recommender


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


def _by_name(one: ComparedRun, two: ComparedRun, why: str) -> Matched:
    """The best concept of each name beside the best of that name in the other run."""
    tables = []
    for side in (one, two):
        order = side.concepts[C.STATUS].map(STATUSES.index)
        best = side.concepts.assign(order=order).sort_values(
            ["order", C.CI_LOW, C.LATENT], ascending=[True, False, True]
        )
        first = best.drop_duplicates(C.NAME)
        tables.append(pd.DataFrame({C.NAME: first[C.NAME], "row": first.index}))
    both = tables[0].merge(tables[1], on=C.NAME, how="outer", suffixes=("_before", "_after"))
    rows = both[["row_before", "row_after"]].fillna(-1).astype(np.int64)
    pairs = rows.set_axis(["before", "after"], axis=1).assign(similarity=np.nan, side="both")
    pairs.loc[pairs["after"] < 0, "side"] = "before"
    pairs.loc[pairs["before"] < 0, "side"] = "after"
    return Matched("names", f"{why} So only names are compared.", None, pairs)


# -- what changed ----------------------------------------------------------------------------------


def _changes(one: ComparedRun, two: ComparedRun, pairs: pd.DataFrame) -> pd.DataFrame:
    """What became of each pair and single latent, the strongest of each kind of change first."""
    table = pairs
    for key, side in (("before", one), ("after", two)):
        concepts = side.concepts[list(ITSELF)].astype({C.LATENT: "Int64"})
        named = concepts.set_axis([f"{column}_{key}" for column in ITSELF], axis=1)
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
    accuracy = table[[f"{C.BALANCED_ACCURACY}_{key}" for key in ("before", "after")]]
    moved = (accuracy.iloc[:, 0] - accuracy.iloc[:, 1]).abs()
    strength = accuracy.max(axis=1) + table["with_name"]
    table["strength"] = strength.where(table["change"] != KEPT, moved)
    table["kind"] = table["change"].map(KINDS.index)
    table = table.sort_values(["kind", "strength"], ascending=[True, False], kind="stable")
    columns = [f"{column}_{key}" for column in ITSELF for key in ("before", "after")]
    return table[["change", *columns, "similarity", "with_name"]].reset_index(drop=True)


def _any_verified(table: pd.DataFrame) -> pd.Series:
    found: pd.Series = table[[f"{C.STATUS}_before", f"{C.STATUS}_after"]].eq(VERIFIED).any(axis=1)
    return found


def _counts(table: pd.DataFrame) -> dict[str, int]:
    n, too = (t["change"].value_counts() for t in (table, table[table["with_name"]]))
    counts = {kind: int(n.get(kind, 0)) for kind in KINDS}
    return counts | {f"{kind}_with_name": int(too.get(kind, 0)) for kind in (LOST, NEW)}
