"""The concepts of a finished run in the forms that Embedding Atlas and Neuronpedia read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from recsae.concepts.corrections import REJECTED
from recsae.core import columns as C
from recsae.report.sharing import remembered, without_people
from recsae.report.tables import corrected
from recsae.report.write import read_report

if TYPE_CHECKING:
    from recsae.report.schema.parts import Concept, Example, ItemWeight
    from recsae.report.schema.report import Report

FIGURES = (C.PRECISION, C.RECALL, C.EXPLAINS, "x", "y")
COLUMNS = (C.LATENT, C.NAME, C.LABEL, C.STATUS, "kind", *FIGURES, "neighbors")
"""Columns of :func:`concept_map`."""


def shown_report(folder: Path) -> Report:
    """The report of a run as its page shows it: names as corrected, users hidden where they are."""
    return without_people(corrected(read_report(folder), folder), remembered(folder))


def concept_map(report: Report, *, placed: bool) -> pd.DataFrame:
    """See :meth:`recsae.finished.loaded.LoadedRun.concept_map`."""
    concepts = [one for one in report.concepts.list if not placed or one.x is not None]
    row_of = {one.latent: row for row, one in enumerate(concepts)}
    rows = [
        (
            *(one.latent, one.name, one.label, _status(one), one.kind),
            *(getattr(one, figure) for figure in FIGURES),
            _neighbors(one, row_of),
        )
        for one in concepts
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(
        {C.LATENT: "int64", **dict.fromkeys(FIGURES, "float64")}
    )


def _neighbors(concept: Concept, row_of: dict[int, int]) -> dict[str, list[Any]]:
    """Rows of the concepts that are active with this one, and 1 - phi, the nearest first."""
    near = sorted(
        (round(1 - other.phi, 4), row_of[other.latent])
        for other in concept.together
        if other.kind == "with" and other.phi is not None and other.latent in row_of
    )
    return {"ids": [row for _, row in near], "distances": [distance for distance, _ in near]}


def features(report: Report) -> list[dict[str, Any]]:
    """See :meth:`recsae.finished.loaded.LoadedRun.features`."""
    titles = {item: known.title for item, known in report.items.items()}
    return [_feature(report, one, titles) for one in report.concepts.list]


def _feature(report: Report, concept: Concept, titles: dict[str, str]) -> dict[str, Any]:
    activations = [example.activation for example in concept.examples]
    return {
        "modelId": report.model.name,
        "layer": report.model.site,
        "index": str(concept.latent),
        C.NAME: concept.name,
        C.STATUS: _status(concept),
        C.PRECISION: concept.precision,
        C.RECALL: concept.recall,
        "explanations": [{"description": concept.label}] if concept.label else [],
        **_weights("pos", concept.promotes, titles),
        **_weights("neg", concept.demotes, titles),
        "frac_nonzero": concept.fire_rate,
        "maxActApprox": max((a for a in activations if a is not None), default=None),
        "activations": [_activation(example, titles) for example in concept.examples],
    }


def _weights(sign: str, items: list[ItemWeight], titles: dict[str, str]) -> dict[str, Any]:
    return {
        f"{sign}_str": [titles.get(entry.item, entry.item) for entry in items],
        f"{sign}_values": [entry.weight for entry in items],
    }


def _activation(example: Example, titles: dict[str, str]) -> dict[str, Any]:
    """One history; what the latent is after its earlier items is not known."""
    last = len(example.items) - 1
    return {
        "user": example.user,
        "tokens": [titles.get(item, item) for item in example.items],
        "values": [None] * last + [example.activation],
        "maxValue": example.activation,
        "maxValueTokenIndex": last,
    }


def _status(concept: Concept) -> str:
    """The status of a concept; one that people reject is ``rejected``, as in a search."""
    return REJECTED if concept.correction == REJECTED else concept.status
