"""RecSAE's own protocol with a language model that predicts the levels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from recsae.core import columns as C
from recsae.evaluation.language.judging import Trial, judge
from recsae.evaluation.language.prompts import LEVEL
from recsae.evaluation.recsae_protocol import score_levels

if TYPE_CHECKING:
    from recsae.capture.cases import Cases
    from recsae.core.llm.client import LanguageClient
    from recsae.core.progress import Progress
    from recsae.evaluation.recsae_protocol import Drawn


def paper_scores(
    client: LanguageClient,
    descriptions: dict[int, str],
    drawn: Drawn,
    cases: Cases,
    n_latents: int,
    progress: Progress | None = None,
) -> dict[int, dict[str, Any]]:
    """Recall, specificity and confidence by latent, given a sentence for each.

    The sequences are those that the attribute labeler is asked about, shown as in the paper: the
    last nine items and the first recommendation. Latents without a high sequence are left out, as
    are those none of whose high sequences got a level.
    """
    high, quiet = drawn.heldout
    latent, row = np.r_[high.latent, quiet.latent], np.r_[high.row, quiet.row]
    is_high = np.arange(len(latent)) < len(high.latent)
    places = {j: np.flatnonzero(latent == j) for j in descriptions if (high.latent == j).any()}
    tried = [
        (descriptions[j], Trial(row[at], is_high[at], np.full(len(at), -1)))
        for j, at in places.items()
    ]
    levels = np.full(len(latent), np.nan)
    said = judge(client, LEVEL, tried, cases, progress, "predicting levels")
    for at, level in zip(places.values(), said, strict=True):
        levels[at] = level
    table = score_levels(drawn, (levels[is_high], levels[~is_high]), n_latents)
    found = {}
    for record in table.to_dict("records"):
        j = int(record.pop(C.LATENT))
        failed = int(np.isnan(levels[places[j]]).sum())
        figures = {key: None if np.isnan(value) else value for key, value in record.items()}
        found[j] = {**figures, "n_asked": len(places[j]), "n_failed": failed}
    return found


def paper_summary(found: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Counts and means over latents, as they are reported for the attribute labeler."""
    confidence = np.array([f["confidence"] for f in found.values()])
    means = {
        f"mean_{key}": _mean([f[key] for f in found.values()])
        for key in (C.RECALL, C.SPECIFICITY, "confidence")
    }
    at = {f"at_0_{n}": int((confidence >= n / 10).sum()) for n in (8, 9)}
    return {"n": len(found), **at, **means}


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
