"""The stage that tests: concepts against baselines and chance."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from recsae.concepts.dictionary import ConceptDictionary, build_concepts
from recsae.concepts.labeler import MAX_SEARCH_CASES
from recsae.concepts.status import verified_latents
from recsae.core import columns as C
from recsae.evaluation.attribute_auc import attribute_table
from recsae.evaluation.chance import RANDOM_DRAWS, chance_percentiles
from recsae.evaluation.counts import count_statuses, finite
from recsae.evaluation.language.embedding import embedding_scores, fit_vectors
from recsae.evaluation.recsae_protocol import recsae_scores
from recsae.evaluation.scoring import score_concepts
from recsae.evaluation.share import SIZES, named_share
from recsae.run.workspace import Workspace
from recsae.sae.baselines import BASELINES, LinearCode, random_directions
from recsae.sae.codes import Codes, sparse_code

if TYPE_CHECKING:
    from numpy.typing import NDArray


DENSE = ("neurons", "pca")
DENSE_CASES = 20_000


def scoring_stage(work: Workspace) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Test the SAE's concepts, every baseline and chance; the scores and all other figures."""
    best_of = 2 * work.sae.width
    codes: dict[str, Codes] = {"sae": work.sae_codes}
    for name in BASELINES:
        codes[name] = work.encode(work.baseline(name, work.config.k), work.ranks)
    attributes, sides = work.labeler.attributes, (work.construction, work.heldout)
    jobs: dict[str, Callable[[], Any]] = {
        **{name: partial(_measure, work, name, codes[name], best_of) for name in codes},
        **{f"draw {n}": partial(_draw, work, n) for n in range(1, RANDOM_DRAWS)},
        "attributes": partial(attribute_table, attributes, *sides, codes),
        "chance": partial(_chance, work),
        "embedding": partial(_embedding, work, codes["sae"]),
        **{f"dense {name}": partial(_dense, work, name, best_of) for name in DENSE},
    }
    found = work.ranks.scatter(jobs)
    figures: dict[str, Any] = {
        key: {name: found[name][1][key] for name in codes}
        for key in ("baselines", "named_share", "recsae_protocol")
    }
    shares = figures["named_share"]
    if shares["random"]["32"] is not None:  # one draw alone varies by several points
        draws = [found[f"draw {draw}"] for draw in range(1, RANDOM_DRAWS)]
        shares["random"] = _mean_share([shares["random"], *draws])
    figures["baselines"]["dense"] = {name: found[f"dense {name}"] for name in DENSE}
    figures["attributes"] = _records(found["attributes"])
    scores = found["sae"][0]
    scores[C.CHANCE_PERCENTILE] = chance_percentiles(scores, found["chance"])
    scores[C.EMBEDDING_AUC] = found["embedding"]
    return scores, figures


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in row.items()}
        for row in table.to_dict("records")
    ]


def _scored(
    work: Workspace, code: LinearCode, limit: int
) -> tuple[pd.DataFrame, ConceptDictionary]:
    """Scores of a code that is only counted, labelled on at most ``limit`` cases."""
    known = work.construction.sample(limit)
    test = work.heldout if code.k is not None else work.heldout.sample(limit)
    n = code.n_latents
    dictionary = build_concepts(
        sparse_code(code.encode_sparse, known.states, n), known, work.labeler
    )
    tested = sparse_code(code.encode_sparse, test.states, n)
    scores = score_concepts(tested, dictionary, test, work.labeler, hard_negatives=False)
    return scores, dictionary


def _measure(
    work: Workspace, name: str, codes: Codes, best_of: int
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Scores, and all that is reported for the SAE and for each sparse baseline alike."""
    if name == "sae":
        dictionary = work.tested_dictionary
    else:
        dictionary = build_concepts(codes[0], work.construction, work.labeler)
    scores = score_concepts(codes[1], dictionary, work.heldout, work.labeler)
    paper = recsae_scores(
        (codes[0], work.construction),
        (codes[1], work.heldout),
        dictionary,
        work.labeler,
        work.config.seed,
    )
    protocol = {
        "n": len(paper),
        "at_0_8": int((paper["confidence"] >= 0.8).sum()),
        "at_0_9": int((paper["confidence"] >= 0.9).sum()),
        "mean_recall": finite(paper[C.RECALL].mean()),
        "mean_specificity": finite(paper[C.SPECIFICITY].mean()),
        "mean_confidence": finite(paper["confidence"].mean()),
    }
    return scores, {
        "baselines": count_statuses(scores, dictionary, best_of),
        "named_share": share_on_halves(work, codes, dictionary),
        "recsae_protocol": protocol,
    }


def share_on_halves(work: Workspace, codes: Codes, dictionary: ConceptDictionary) -> dict[str, Any]:
    """Named share with concepts verified on one half of the held-out users and measured on the
    other, both ways round, averaged: choosing never flatters, and no user is wasted."""
    found = []
    for (trial_rows, trial_cases), (rows, cases) in (work.halves, work.halves[::-1]):
        if not len(trial_rows) or not len(rows):
            return {**dict.fromkeys(map(str, SIZES)), "ndcg_kept_32": None, "n_verified": 0}
        trial = score_concepts(
            codes[1][trial_rows], dictionary, trial_cases, work.labeler, hard_negatives=False
        )
        verified = verified_latents(trial)
        known, test = (codes[0], work.construction), (codes[1][rows], cases)
        share = named_share(known, test, verified, work.head)
        shares = {str(n): share.shares[n] for n in SIZES}
        found.append({**shares, "ndcg_kept_32": share.ndcg_kept, "n_verified": len(verified)})
    return _mean_share(found)


def _mean_share(shares: list[dict[str, Any]]) -> dict[str, Any]:
    unknown = float("nan")  # no NDCG where scores are not linear in the state
    table = {key: [unknown if s[key] is None else s[key] for s in shares] for key in shares[0]}
    mean = {key: finite(float(np.mean(values))) for key, values in table.items()}
    return {**mean, "n_verified": round(mean["n_verified"] or 0)}


def _draw(work: Workspace, draw: int) -> dict[str, Any]:
    """Named share of one more draw of random directions."""
    seed = work.config.seed + 10 + draw
    store, k = work.construction_store, work.config.k
    codes = work.encode(random_directions(store, k, work.sae.n_latents, seed))
    return share_on_halves(work, codes, build_concepts(codes[0], work.construction, work.labeler))


def _dense(work: Workspace, name: str, best_of: int) -> dict[str, Any]:
    """Counts of a baseline whose units are active everywhere."""
    return count_statuses(*_scored(work, work.baseline(name, None), DENSE_CASES), best_of)


def _embedding(work: Workspace, codes: Codes) -> NDArray[np.float64]:
    """How well the words of each label tell the latent's sequences, ``(n_latents,)``."""
    vectors = fit_vectors(work.construction)
    found = embedding_scores(codes.heldout, work.heldout, work.tested_dictionary.table, vectors)
    by_latent = found.set_index(C.LATENT)[C.EMBEDDING_AUC]
    return np.asarray(by_latent.reindex(range(work.sae.n_latents)))


def _chance(work: Workspace) -> pd.DataFrame | None:
    """Scores of 2,000 random directions, drawn apart from the baseline.

    As many of them are active per state as give them the SAE's mean rate.
    """
    n = work.config.chance_directions
    if n == 0:
        return None
    k = max(1, round(work.config.k * n / work.sae.n_latents))
    code = random_directions(work.construction_store, k, n, work.config.seed + 2)
    return _scored(work, code, MAX_SEARCH_CASES)[0]
