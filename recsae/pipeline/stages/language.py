"""The language stage of a run: explain the best latents, judge the names, compare with attributes.

Whatever stops it, the same call goes on: every answer is kept in ``DIR/language/cache``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from recsae.concepts.status import DEAD, VERIFIED
from recsae.core import columns as C
from recsae.core.llm.client import LanguageClient
from recsae.evaluation.language.embedding import embedding_scores, fit_vectors
from recsae.evaluation.language.explaining import ExplainedLatents, explain
from recsae.evaluation.language.judging import Trial, detection_trial, figures, fuzzing_trial, judge
from recsae.evaluation.language.prompts import DETECT, FUZZ, VERSION
from recsae.evaluation.language.recsae_protocol import paper_scores, paper_summary
from recsae.evaluation.language.sampling import CaseSampler
from recsae.evaluation.recsae_protocol import activation_levels, draw_sequences

if TYPE_CHECKING:
    from recsae.core.llm.settings import LanguageSettings
    from recsae.evaluation.language.embedding import Vectors
    from recsae.run.workspace import Workspace

LABELER = "language model"
ByLatent = dict[int, Any]


def language_stage(
    work: Workspace, settings: LanguageSettings, vectors: Vectors | None = None
) -> dict[str, Any]:
    """Explain and judge the SAE's best latents; JSON-able figures.

    Parameters
    ----------
    work
        A run whose concepts are built and scored.
    vectors
        For the embedding score; :func:`recsae.evaluation.language.embedding.fit_vectors` by
        default.

    Returns
    -------
    dict
        ``model``, ``n_explained``, ``n_failed``, ``failures`` (latent and reason), ``tokens``,
        ``cost``, ``concepts`` and a ``summary``. A concept has latent, name, explanation,
        detection, fuzzing, paper (None where the protocol has no sequence), embedding_auc, and,
        as ``attribute``, the attribute label with its detection and embedding_auc.

    Raises
    ------
    LabelerFailed
        The model cannot be asked. Nothing is lost: the same call goes on.
    """
    client = LanguageClient(settings, work.folder / "language" / "cache", VERSION)
    codes, progress = work.sae_codes, work.progress
    chosen = best_latents(work, settings.concepts)
    known = CaseSampler(codes[0], work.construction, settings.seed)
    levels = activation_levels(codes[0])
    explained = explain(client, chosen, work.tested_dictionary, known, levels, progress)
    sentences = {j: name.explanation for j, name in explained.names.items()}
    drawn = draw_sequences(*codes, work.config.seed)
    n_latents = codes[1].shape[1]
    paper = paper_scores(client, sentences, drawn, work.heldout, n_latents, progress)
    concepts = _concepts(client, work, explained, vectors)
    for concept in concepts:
        concept["paper"] = paper.get(concept[C.LATENT])
    return {
        "model": settings.model,
        "n_explained": len(explained.names),
        "n_failed": len(explained.failures),
        "failures": [{C.LATENT: j, "reason": why} for j, why in explained.failures.items()],
        "tokens": dict(client.tokens),
        "cost": client.cost(),
        "concepts": concepts,
        "summary": {**_summary(concepts), "paper": paper_summary(paper)},
    }


def best_latents(work: Workspace, n: int) -> list[int]:
    """At most n latents: the verified, best bound first, then the others, most active first."""
    table = work.scores.merge(work.tested_dictionary.table[[C.LATENT, C.FIRE_RATE]], on=C.LATENT)
    table = table[(table[C.STATUS] != DEAD) & (table[C.FIRE_RATE] > 0)]
    verified = table[C.STATUS] == VERIFIED
    best = table[verified].sort_values([C.CI_LOW, C.LATENT], ascending=[False, True])
    others = table[~verified].sort_values([C.FIRE_RATE, C.LATENT], ascending=[False, True])
    return [int(j) for j in [*best[C.LATENT], *others[C.LATENT]][:n]]


def label_rows(result: dict[str, Any]) -> pd.DataFrame:
    """Labels of a language stage as rows of a dictionary: latent, name, label, labeler."""
    rows = [(c[C.LATENT], c[C.NAME], c["explanation"], LABELER) for c in result["concepts"]]
    return pd.DataFrame(rows, columns=[C.LATENT, C.NAME, C.LABEL, C.LABELER])


def _concepts(
    client: LanguageClient, work: Workspace, explained: ExplainedLatents, vectors: Vectors | None
) -> list[dict[str, Any]]:
    """What is known of each explained latent, but for the paper's protocol."""
    settings, names = client.settings, explained.names
    test = CaseSampler(work.sae_codes[1], work.heldout, settings.seed)
    ours = {j: name.explanation for j, name in names.items()}
    table = work.tested_dictionary.table.set_index(C.LATENT)[C.LABEL]
    theirs = {j: str(table[j]) for j in names}
    examples = work.tested_dictionary.examples.groupby(C.LATENT)[C.TOP_ITEM]
    shown = {j: examples.get_group(j).to_numpy() for j in names}
    cases = {j: detection_trial(test, j, settings.cases) for j in names}
    marks = {j: fuzzing_trial(test, j, settings.cases) for j in names}
    detected = _judged(client, work, DETECT, ours, cases, shown)
    rival = _judged(client, work, DETECT, theirs, cases)
    fuzzed = _judged(client, work, FUZZ, ours, marks, shown)
    vectors = vectors or fit_vectors(work.construction, seed=settings.seed)
    near, rival_near = (_embedding_aucs(work, said, vectors) for said in (ours, theirs))
    return [
        {
            C.LATENT: j,
            C.NAME: name.name,
            "explanation": name.explanation,
            "detection": detected[j],
            "fuzzing": fuzzed[j],
            C.EMBEDDING_AUC: near[j],
            "attribute": {
                C.LABEL: theirs[j],
                "detection": rival[j],
                C.EMBEDDING_AUC: rival_near[j],
            },
        }
        for j, name in names.items()
    ]


def _judged(
    client: LanguageClient,
    work: Workspace,
    task: str,
    descriptions: dict[int, str],
    trials: dict[int, Trial],
    shown: dict[int, Any] | None = None,
) -> ByLatent:
    """Figures by latent; without ``shown`` the descriptions were written without examples."""
    what = f"judging {'attribute labels' if shown is None else 'names'} ({task})"
    tried = [(text, trials[j]) for j, text in descriptions.items()]
    said = judge(client, task, tried, work.heldout, work.progress, what)
    return {
        j: figures(trials[j], answers, work.heldout, shown[j] if shown else None)
        for j, answers in zip(descriptions, said, strict=True)
    }


def _embedding_aucs(work: Workspace, said: dict[int, str], vectors: Vectors) -> ByLatent:
    if not said:
        return {}
    labels = pd.DataFrame(said.items(), columns=[C.LATENT, C.LABEL])
    table = embedding_scores(work.sae_codes[1], work.heldout, labels, vectors)
    pairs = zip(table[C.LATENT], table[C.EMBEDDING_AUC], strict=True)
    return {int(j): None if np.isnan(auc) else float(auc) for j, auc in pairs}


def _summary(concepts: list[dict[str, Any]]) -> dict[str, Any]:
    """Means, and on how many concepts the judge finds the name or the attribute label better.

    Means are over the concepts for which both have a figure, so that they can be compared.
    """
    names, rivals = (
        np.array([c["detection"]["balanced_accuracy"] for c in side], dtype=float)
        for side in (concepts, [c["attribute"] for c in concepts])
    )
    both = ~np.isnan(names) & ~np.isnan(rivals)
    fuzzed = [c["fuzzing"]["balanced_accuracy"] for c in concepts]
    failed = [c[task]["n_failed"] for c in concepts for task in ("detection", "fuzzing")]
    return {
        "n_compared": int(both.sum()),
        "detection_names": _mean(names[both]),
        "detection_attribute_labels": _mean(rivals[both]),
        "names_better": int((names[both] > rivals[both]).sum()),
        "attribute_labels_better": int((names[both] < rivals[both]).sum()),
        "fuzzing_names": _mean(np.array([f for f in fuzzed if f is not None])),
        "cases_failed": sum(failed),
    }


def _mean(values: Any) -> float | None:
    return float(values.mean()) if len(values) else None
