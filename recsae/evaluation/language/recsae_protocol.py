"""The RecSAE paper's protocol with a language model that predicts the levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from recsae.core import columns as C
from recsae.evaluation.language.judging import Trial, judge
from recsae.evaluation.language.prompts import LEVEL
from recsae.evaluation.recsae_protocol import ProtocolSummary, score_levels

if TYPE_CHECKING:
    from recsae.capture.cases import Cases
    from recsae.core.llm.client import LanguageClient
    from recsae.core.progress import Progress
    from recsae.evaluation.recsae_protocol import Drawn


@dataclass(frozen=True)
class PaperScore:
    """The paper's score of one latent."""

    recall: float | None
    """Share of its high sequences that are predicted to be active."""
    specificity: float | None
    """Share of its inactive sequences that are predicted to be inactive."""
    confidence: float
    """Share of both that is predicted right."""
    n_asked: int
    n_failed: int
    """Sequences without a readable level."""

    def to_dict(self) -> dict[str, Any]:
        """The figures as files have them."""
        return asdict(self)


def paper_scores(
    client: LanguageClient,
    descriptions: dict[int, str],
    drawn: Drawn,
    cases: Cases,
    n_latents: int,
    progress: Progress | None = None,
) -> dict[int, PaperScore]:
    """Scores by latent, given a sentence for each.

    The sequences are those that attribute labels are scored on, shown as in the paper: the
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
    scores = {}
    for record in table.to_dict("records"):
        j = int(record.pop(C.LATENT))
        failed = int(np.isnan(levels[places[j]]).sum())
        figures: dict[str, Any] = {k: None if np.isnan(v) else v for k, v in record.items()}
        scores[j] = PaperScore(**figures, n_asked=len(places[j]), n_failed=failed)
    return scores


def paper_summary(scores: dict[int, PaperScore]) -> ProtocolSummary:
    """Counts and means over latents, as they are reported for attribute labels."""
    confidence = np.array([score.confidence for score in scores.values()])
    return ProtocolSummary(
        n=len(scores),
        at_0_8=int((confidence >= 0.8).sum()),
        at_0_9=int((confidence >= 0.9).sum()),
        mean_recall=_mean([score.recall for score in scores.values()]),
        mean_specificity=_mean([score.specificity for score in scores.values()]),
        mean_confidence=_mean([score.confidence for score in scores.values()]),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
