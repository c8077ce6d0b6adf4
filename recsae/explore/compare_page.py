"""The page of two runs side by side, made of their comparison."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from recsae.concepts.corrections import REJECTED
from recsae.core import columns as C
from recsae.core import layout
from recsae.core.errors import InvalidInput
from recsae.core.files import absolute, write_atomically
from recsae.explore.compare import KEPT, LOST, MERGED, NEW, RENAMED, SPLIT
from recsae.explore.run_figures import FIGURES
from recsae.explore.shared_lists import shared_lists
from recsae.report.compare_page import (
    ComparedPair,
    ComparisonContent,
    ConceptCard,
    comparison_html,
)
from recsae.report.tables import corrected
from recsae.report.words.concepts import follows, right_words
from recsae.report.write import read_report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recsae.explore.compare import Comparison
    from recsae.explore.run_figures import RunFigures
    from recsae.report.schema.parts import Concept
    from recsae.report.schema.report import Report

N_TITLES = 2
"""Titles that a concept follows, and that it promotes, on its card."""
COUNTS = {KEPT: "same_name", RENAMED: "renamed"} | {
    kind: kind for kind in (MERGED, SPLIT, LOST, NEW)
}
"""The field that counts each kind of change."""
SUFFIXES = (".html", ".htm")


def write_comparison(compared: Comparison, path: str | Path, *, trust: bool = False) -> Path:
    """Write the page of two runs side by side: one file that opens offline.

    On it are the verdict, the figures of both runs, their concepts in pairs and those without a
    counterpart, and the lists that both models make for the same few users. Users are called
    "user 1", ... where the report of either run is to hide ids.

    Parameters
    ----------
    compared
        What :func:`recsae.explore.compare.compare_runs` found; the folders of both runs are read
        again.
    path
        The file, ending in ``.html``; replaced where it exists.
    trust
        Open the checkpoints of two models for the lists, see :func:`recsae.open_run`;
        the page says so where they cannot be opened.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    InvalidInput
        ``path`` is not that of a page, or is the report of one of the runs.
    ArtifactMismatch
        A run has changed or is damaged.
    """
    check_page(path, (Path(compared.before.run), Path(compared.after.run)))
    text = comparison_html(comparison_content(compared, trust=trust))
    write_atomically(Path(path), partial(Path.write_text, data=text, encoding="utf-8"))
    return Path(path)


def check_page(path: str | Path, folders: Sequence[Path]) -> None:
    """Refuse a path that is no page, or the report of one of the runs in these folders.

    Raises
    ------
    InvalidInput
        What is wrong with it.
    """
    page = Path(path)
    if page.suffix.lower() not in SUFFIXES or page.is_dir():
        raise InvalidInput(f"{path} is not the name of a page: give a file that ends in .html.")
    if any(absolute(page) == absolute(folder / layout.PAGE) for folder in folders):
        raise InvalidInput(f"{path} is the report of a run: give the comparison another name.")


def comparison_content(compared: Comparison, *, trust: bool = False) -> ComparisonContent:
    """What the page shows, see :func:`write_comparison`."""
    folders = Path(compared.before.run), Path(compared.after.run)
    changes, matching, said = compared.changes, compared.matching, compared.verdict
    lists = (
        "Both runs are of the same model, so its lists are the same."
        if matching.same_model
        else shared_lists(*folders, trust=trust)
    )
    by_name = matching.method == "names"
    detail = f"{matching.obstacle} {said.detail} {_of_names(compared)}" if by_name else said.detail
    return ComparisonContent(
        verdict=(said.kind, said.title, detail),
        by_name=by_name,
        n_cases=matching.n_cases,
        runs=(_which(compared.before), _which(compared.after)),
        figures=[
            (words, getattr(compared.before, key), getattr(compared.after, key))
            for key, words in FIGURES.items()
            if key != "run"  # said above the table
        ],
        counts={
            change: (getattr(compared.n_verified, field), getattr(compared.n_all, field))
            for change, field in COUNTS.items()
        },
        before=_cards(folders[0], changes, "before"),
        after=_cards(folders[1], changes, "after"),
        pairs=[
            ComparedPair(
                row["change"],
                _latent(row[f"{C.LATENT}_before"]),
                _latent(row[f"{C.LATENT}_after"]),
                None if pd.isna(row["similarity"]) else round(row["similarity"], 3),
                bool(row["with_name"]),
            )
            for row in changes.to_dict("records")
        ],
        lists=lists,
    )


def _of_names(compared: Comparison) -> str:
    names = compared.names
    return (
        f"{len(names.both):,} names are verified in both runs, {len(names.lost):,} only in the "
        f"first and {len(names.new):,} only in the second."
    )


def _which(run: RunFigures) -> str:
    return f"{run.run}: {run.model} on {run.data}, site {run.site}, seed {run.seed}"


def _latent(value: Any) -> int | None:
    return None if pd.isna(value) else int(value)


def _cards(folder: Path, changes: pd.DataFrame, side: str) -> list[ConceptCard]:
    """Cards of the latents that are in the comparison, under the names that they have there."""
    report = corrected(read_report(folder), folder)
    columns = [f"{key}_{side}" for key in (C.LATENT, C.NAME)]
    shown = changes[columns].dropna().drop_duplicates(columns[0])
    concepts = {concept.latent: concept for concept in report.concepts.list}
    return [
        _card(report, concepts[int(latent)], str(name))
        for latent, name in shown.itertuples(index=False)
    ]


def _card(report: Report, concept: Concept, name: str) -> ConceptCard:
    status = REJECTED if concept.correction == REJECTED else concept.status
    promotes = [weight.item for weight in concept.promotes]
    titles = [
        tuple(report.title(item) for item in items[:N_TITLES])
        for items in (follows(concept), promotes)
    ]
    return ConceptCard(
        concept.latent,
        name,
        concept.label,
        status,
        right_words(concept.status, concept.precision, concept.recall),
        *titles,
    )
