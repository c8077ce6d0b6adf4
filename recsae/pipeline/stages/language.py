"""The stage in which a language model explains the best latents and judges names and labels.

It is shown what people are shown of a latent, of construction users alone, and names and labels are
verified on held-out users by the two bounds that labels are verified by.

Whatever stops it, the same call goes on: every answer is kept in ``DIR/language/cache``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from recsae.concepts.status import DEAD, SUPPORTED, THRESHOLD, VERIFIED
from recsae.core import columns as C
from recsae.core import layout
from recsae.core.llm.client import LanguageClient
from recsae.evaluation.active_on import active_items
from recsae.evaluation.counts import finite
from recsae.evaluation.language.detection import (
    Detection,
    DetectionTrial,
    detect,
    detection,
    detection_trial,
)
from recsae.evaluation.language.embedding import embedding_scores, fit_vectors
from recsae.evaluation.language.explaining import ExplainedLatents, explain
from recsae.evaluation.language.judging import Judgement, Trial, fuzzing_trial, judge, judgement
from recsae.evaluation.language.prompts import FUZZ, VERSION
from recsae.evaluation.language.recsae_protocol import PaperScore, paper_scores, paper_summary
from recsae.evaluation.language.sampling import CaseSampler
from recsae.evaluation.recsae_protocol import ProtocolSummary, activation_levels, draw_sequences

if TYPE_CHECKING:
    from collections.abc import Sequence

    import scipy.sparse
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.concepts.dictionary import ConceptDictionary
    from recsae.core.llm.settings import LanguageSettings
    from recsae.evaluation.language.embedding import Vectors
    from recsae.run.workspace import Workspace

LABELER = "language model"
Aucs = dict[int, float | None]


@dataclass(frozen=True)
class JudgedLabel:
    """An attribute label, judged by the language model."""

    label: str
    detection: Detection
    embedding_auc: float | None

    def to_dict(self) -> dict[str, Any]:
        """The label as files have it."""
        return {
            C.LABEL: self.label,
            "detection": self.detection.to_dict(),
            C.EMBEDDING_AUC: self.embedding_auc,
        }


@dataclass(frozen=True)
class ExplainedConcept:
    """A latent that the language model named, and how good the name is."""

    latent: int
    name: str
    explanation: str
    """One sentence."""
    detection: Detection
    fuzzing: Judgement
    embedding_auc: float | None
    attribute: JudgedLabel
    """The attribute label of the same latent."""
    paper: PaperScore | None
    """None where the paper's protocol has no sequence."""

    def to_dict(self) -> dict[str, Any]:
        """The concept as files have it."""
        return {
            C.LATENT: self.latent,
            C.NAME: self.name,
            "explanation": self.explanation,
            "detection": self.detection.to_dict(),
            "fuzzing": self.fuzzing.to_dict(),
            C.EMBEDDING_AUC: self.embedding_auc,
            "attribute": self.attribute.to_dict(),
            "paper": self.paper.to_dict() if self.paper else None,
        }


@dataclass(frozen=True)
class JudgedDescriptions:
    """How good names, or attribute labels, are at saying where their latents are active."""

    verified: int
    supported: int
    decidable: int
    """Those that the cases asked could verify: without a mistake, the lower bound of the precision
    would reach the threshold."""
    precision: float | None
    """Means over the concepts that are compared."""
    precision_low: float | None
    recall: float | None
    recall_low: float | None
    better: int
    """Concepts of these that the description has the higher F1 of."""


@dataclass(frozen=True)
class LanguageSummary:
    """Names beside attribute labels, judged on the same cases."""

    n_judged: int
    """Concepts with a name and a label."""
    n_compared: int
    """Those of which both have a precision, a recall and the bounds of these."""
    names: JudgedDescriptions
    attribute_labels: JudgedDescriptions
    fuzzing_names: float | None
    """Mean balanced accuracy of fuzzing, over all that have one."""
    cases_failed: int
    """Cases without a readable answer."""
    paper: ProtocolSummary

    def to_dict(self) -> dict[str, Any]:
        """The figures as files have them."""
        return {**asdict(self), "paper": self.paper.to_dict()}


@dataclass(frozen=True)
class LanguageResult:
    """Everything that a language model said of a run, and how good it is."""

    model: str
    concepts: list[ExplainedConcept]
    failures: dict[int, str]
    """Latents without a name, and why."""
    tokens: dict[str, int]
    cost: float | None
    """In the currency of the settings' prices; None where it is not known."""
    summary: LanguageSummary

    def to_dict(self) -> dict[str, Any]:
        """The figures as ``language.json`` has them."""
        return {
            "model": self.model,
            "n_explained": len(self.concepts),
            "n_failed": len(self.failures),
            "failures": [{C.LATENT: j, "reason": why} for j, why in self.failures.items()],
            "tokens": self.tokens,
            "cost": self.cost,
            "concepts": [concept.to_dict() for concept in self.concepts],
            "summary": self.summary.to_dict(),
        }


def language_stage(
    work: Workspace, settings: LanguageSettings, vectors: Vectors | None = None
) -> LanguageResult:
    """Explain and judge the SAE's best latents.

    Parameters
    ----------
    work
        A run whose concepts are built and scored.
    vectors
        For the embedding score; :func:`recsae.evaluation.language.embedding.fit_vectors` by
        default.

    Raises
    ------
    LabelerFailed
        The model cannot be asked. Nothing is lost: the same call goes on.
    """
    client = LanguageClient(settings, work.folder / layout.ANSWERS, VERSION)
    codes, progress = work.sae_codes, work.progress
    chosen = best_latents(work.label_scores, work.tested_dictionary, settings.concepts)
    sampler = CaseSampler(codes.construction, work.construction, settings.seed)
    levels = activation_levels(codes.construction)
    active_on = active_items(codes.construction, work.construction)
    explained = explain(
        client, chosen, work.tested_dictionary, sampler, levels, active_on, progress
    )
    sentences = {j: name.explanation for j, name in explained.names.items()}
    drawn = draw_sequences(*codes, work.config.seed)
    n_latents = codes.heldout.shape[1]
    paper = paper_scores(client, sentences, drawn, work.heldout, n_latents, progress)
    concepts = _concepts(client, work, explained, vectors, paper)
    return LanguageResult(
        model=settings.model,
        concepts=concepts,
        failures=explained.failures,
        tokens=dict(client.tokens),
        cost=client.cost(),
        summary=_summary(concepts, paper_summary(paper)),
    )


def best_latents(scores: pd.DataFrame, dictionary: ConceptDictionary, n: int) -> list[int]:
    """At most n latents: the verified, best bound first, then the others, most active first."""
    table = scores.merge(dictionary.table[[C.LATENT, C.FIRE_RATE]], on=C.LATENT)
    table = table[(table[C.STATUS] != DEAD) & (table[C.FIRE_RATE] > 0)]
    verified = table[C.STATUS] == VERIFIED
    best = table[verified].sort_values([C.F1, C.LATENT], ascending=[False, True])
    others = table[~verified].sort_values([C.FIRE_RATE, C.LATENT], ascending=[False, True])
    return [int(j) for j in [*best[C.LATENT], *others[C.LATENT]][:n]]


def label_rows(concepts: list[ExplainedConcept]) -> pd.DataFrame:
    """Names and explanations as rows of a dictionary: latent, name, label, labeler."""
    rows = [(c.latent, c.name, c.explanation, LABELER) for c in concepts]
    return pd.DataFrame(rows, columns=[C.LATENT, C.NAME, C.LABEL, C.LABELER])


def _concepts(
    client: LanguageClient,
    work: Workspace,
    explained: ExplainedLatents,
    vectors: Vectors | None,
    paper: dict[int, PaperScore],
) -> list[ExplainedConcept]:
    """Judge each explained latent's name, and beside it its attribute label."""
    settings, names = client.settings, explained.names
    code = work.sae_codes.heldout
    sampler = CaseSampler(code, work.heldout, settings.seed)
    ours = {j: name.explanation for j, name in names.items()}
    table = work.tested_dictionary.table.set_index(C.LATENT)[C.LABEL]
    theirs = {j: str(table[j]) for j in names}
    examples = work.tested_dictionary.examples.groupby(C.LATENT)[C.TOP_ITEM]
    shown = {j: examples.get_group(j).to_numpy() for j in names}
    trials = {j: detection_trial(sampler, j, settings.cases, settings.active) for j in names}
    marks = {j: fuzzing_trial(sampler, j, settings.marks) for j in names}
    detected = _detected(client, work, "names", ours, trials, shown)
    theirs_detected = _detected(client, work, "attribute labels", theirs, trials)
    fuzzed = _fuzzed(client, work, ours, marks, shown)
    vectors = vectors or fit_vectors(work.construction, seed=settings.seed)
    auc, their_auc = (_embedding_aucs(code, work.heldout, x, vectors) for x in (ours, theirs))
    return [
        ExplainedConcept(
            latent=j,
            name=name.name,
            explanation=name.explanation,
            detection=detected[j],
            fuzzing=fuzzed[j],
            embedding_auc=auc[j],
            attribute=JudgedLabel(theirs[j], theirs_detected[j], their_auc[j]),
            paper=paper.get(j),
        )
        for j, name in names.items()
    ]


def _detected(
    client: LanguageClient,
    work: Workspace,
    what: str,
    descriptions: dict[int, str],
    trials: dict[int, DetectionTrial],
    shown: dict[int, NDArray[np.int64]] | None = None,
) -> dict[int, Detection]:
    """Detection by latent; without ``shown`` the descriptions were written without examples."""
    what = f"judging {what} (detect)"
    answered = detect(client, descriptions, trials, work.heldout, work.progress, what)
    return {
        j: detection(trials[j], answers, work.heldout, shown[j] if shown else None)
        for j, answers in answered.items()
    }


def _fuzzed(
    client: LanguageClient,
    work: Workspace,
    descriptions: dict[int, str],
    trials: dict[int, Trial],
    shown: dict[int, NDArray[np.int64]],
) -> dict[int, Judgement]:
    """Fuzzing by latent."""
    tried = [(text, trials[j]) for j, text in descriptions.items()]
    answered = judge(client, FUZZ, tried, work.heldout, work.progress, "judging names (fuzz)")
    return {
        j: judgement(trials[j], answers, work.heldout, shown[j])
        for j, answers in zip(descriptions, answered, strict=True)
    }


def _embedding_aucs(
    code: scipy.sparse.csr_matrix, cases: Cases, descriptions: dict[int, str], vectors: Vectors
) -> Aucs:
    """Embedding AUCs of descriptions by latent; None where there are too few active cases."""
    if not descriptions:
        return {}
    labels = pd.DataFrame(descriptions.items(), columns=[C.LATENT, C.LABEL])
    table = embedding_scores(code, cases, labels, vectors)
    pairs = zip(table[C.LATENT], table[C.EMBEDDING_AUC], strict=True)
    return {int(j): None if np.isnan(auc) else float(auc) for j, auc in pairs}


def _summary(concepts: list[ExplainedConcept], paper: ProtocolSummary) -> LanguageSummary:
    """Means and counts over concepts."""
    names = [concept.detection for concept in concepts]
    labels = [concept.attribute.detection for concept in concepts]
    pairs = [(a, b) for a, b in zip(names, labels, strict=True) if _complete(a) and _complete(b)]
    fuzzed = [concept.fuzzing.balanced_accuracy for concept in concepts]
    return LanguageSummary(
        n_judged=len(concepts),
        n_compared=len(pairs),
        names=_counted(names, pairs),
        attribute_labels=_counted(labels, [(b, a) for a, b in pairs]),
        fuzzing_names=_mean([f for f in fuzzed if f is not None]),
        cases_failed=sum(c.detection.n_failed + c.fuzzing.n_failed for c in concepts),
        paper=paper,
    )


def _complete(found: Detection) -> bool:
    return None not in (found.precision, found.precision_low, found.recall, found.recall_low)


def _counted(
    found: list[Detection], pairs: list[tuple[Detection, Detection]]
) -> JudgedDescriptions:
    """Counts of one kind of descriptions, and means over pairs with one of the other kind."""
    best = [one.precision_low_at_best for one in found]
    ours = [one for one, _ in pairs]
    return JudgedDescriptions(
        verified=sum(one.status == VERIFIED for one in found),
        supported=sum(one.status == SUPPORTED for one in found),
        decidable=sum(low is not None and low >= THRESHOLD for low in best),
        precision=_mean([one.precision for one in ours]),
        precision_low=_mean([one.precision_low for one in ours]),
        recall=_mean([one.recall for one in ours]),
        recall_low=_mean([one.recall_low for one in ours]),
        better=sum((one.f1 or 0) > (other.f1 or 0) for one, other in pairs),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """None without any value."""
    return finite(np.mean(np.array(values, dtype=float))) if values else None
