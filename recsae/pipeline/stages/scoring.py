"""The stage that tests: concepts against baselines and chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from recsae.concepts.dictionary import ConceptDictionary
from recsae.concepts.labeler import labels_by
from recsae.concepts.said import best_statements, said_code
from recsae.concepts.sides import OTHER_SIDE, other_sides
from recsae.core import columns as C
from recsae.core.intervals import UserEstimate
from recsae.evaluation.attribute_auc import attribute_table
from recsae.evaluation.counts import StatusCounts, count_statuses
from recsae.evaluation.explained import explained_alone
from recsae.evaluation.language.embedding import embedding_scores, fit_vectors
from recsae.evaluation.recsae_protocol import ProtocolSummary, recsae_scores, summarise
from recsae.evaluation.scoring import TestedConcepts, measure_concepts, score_concepts
from recsae.evaluation.share import MeanShare, finite_interval, share_on_halves
from recsae.run.memory import give_back
from recsae.run.workspace import gates_of
from recsae.sae.baselines import BASELINES, GateCode, LinearCode
from recsae.sae.codes import Codes, sparse_code

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.concepts.labeler import Labeler
    from recsae.concepts.wording import Predicate
    from recsae.run.workspace import Workspace

PLAIN = "plain"
"""The SAE without gates, of as many latents, as many of them active."""
AT_RANDOM = "gates"
"""As many gates as the core has, drawn at random among all that the states hold."""
DENSE = ("neurons", "pca")
"""Baselines that are also tested with all their units active wherever they are positive."""
_NO_EXAMPLES = pd.DataFrame()
DENSE_CASES = 10_000
"""Cases at most for those: a dense code has hundreds of active units on each."""


@dataclass(frozen=True)
class CodeFigures:
    """What is measured of the SAE and of each sparse baseline alike."""

    scores: pd.DataFrame
    """Of the concepts, one row per unit."""
    counts: StatusCounts
    label_quality: UserEstimate
    """The F1 of labels weighted by held-out activations."""
    share: MeanShare
    verified_of: tuple[NDArray[np.int64], ...]
    """Latents that are verified on each half of the held-out users."""
    protocol: ProtocolSummary
    parts: dict[str, tuple[MeanShare, UserEstimate]]
    """Share and label quality of the core and of what was found, where there are both."""
    labels: pd.DataFrame
    """What the labels say, and how they stood the test."""


@dataclass(frozen=True)
class Scoring:
    """The scores of the SAE's concepts, and what they are compared with."""

    scores: pd.DataFrame
    counts: dict[str, StatusCounts]
    """Of the SAE and of each sparse baseline, by name."""
    dense: dict[str, StatusCounts]
    """Of the dense baselines."""
    shares: dict[str, MeanShare]
    """Named share, by code."""
    label_quality: dict[str, UserEstimate]
    """The F1 of labels weighted by held-out activations, by code."""
    protocol: dict[str, ProtocolSummary]
    """The RecSAE paper's score, by code."""
    attributes: pd.DataFrame
    """The attribute AUC of every code, one row per attribute."""
    baselines: pd.DataFrame
    """One row per unit of each sparse baseline: its label, and how that stood the test."""

    def to_dict(self) -> dict[str, Any]:
        """All figures but the scores, as ``scoring.json`` has them."""
        return {
            "baselines": {**_dicts(self.counts), "dense": _dicts(self.dense)},
            "named_share": self._shares(),
            "label_quality": self._qualities(),
            "recsae_protocol": _dicts(self.protocol),
            "attributes": _records(self.attributes),
        }

    def _shares(self) -> dict[str, Any]:
        sae = self.shares["sae"]
        ahead = {name: {"sae_ahead": sae.ahead_of(s)} for name, s in self.shares.items()}
        return {name: s.to_dict() | ahead[name] for name, s in self.shares.items()}

    def _qualities(self) -> dict[str, Any]:
        """By code: the value with its interval, and by how much the SAE's is higher."""
        sae = self.label_quality["sae"]
        return {
            name: {
                "value": finite_interval(quality),
                "sae_ahead": finite_interval(sae.minus(quality)),
            }
            for name, quality in self.label_quality.items()
        }


def scoring_stage(work: Workspace) -> Scoring:
    """Test the SAE's concepts, every baseline and chance."""
    best_of = 2 * work.sae.width
    codes: dict[str, Codes] = {"sae": work.sae_codes}
    for name in BASELINES:
        codes[name] = work.encode(work.baseline(name, work.n_active), work.ranks)
    measures = {name: partial(_measure, work, name, codes[name], best_of) for name in codes}
    if work.sae.n_gates:
        at_random = work.encode(GateCode(gates_of(work.core.at_random)), work.ranks)
        measures[PLAIN] = partial(_train_and_measure, work, best_of)
        measures[AT_RANDOM] = partial(_measure, work, AT_RANDOM, at_random, best_of)
    attributes, cases = work.attribute_labeler.attributes, (work.construction, work.heldout)
    jobs: dict[str, Callable[[], Any]] = {
        **{name: measures[name] for name in (PLAIN, *codes, AT_RANDOM) if name in measures},
        "attributes": partial(attribute_table, attributes, *cases, codes),
        "sides": partial(_sides, work),
        "embedding": partial(_embedding, *cases, codes["sae"], work.tested_dictionary),
        **{f"dense {name}": partial(_dense, work, name, best_of) for name in DENSE},
    }
    _ = work.halves, work.head, work.metric, work.tested_dictionary  # which the jobs share
    labeler = work.attribute_labeler
    _ = labeler.halves_of(labeler.sample_of(work.construction))
    results = work.ranks.scatter(jobs, threads=True)
    give_back()
    measured = {name: results[name] for name in measures}
    shares = {name: one.share for name, one in measured.items()}
    quality = {name: one.label_quality for name, one in measured.items()}
    for name, (share, quality_of_part) in results["sae"].parts.items():
        shares[name], quality[name] = share, quality_of_part
    shares |= _words(work, results["sae"].verified_of)
    scores = results["sae"].scores
    scores[C.EMBEDDING_AUC] = results["embedding"]
    heldout = work.heldout.states
    scores[C.EXPLAINS] = explained_alone(codes["sae"].heldout, heldout, work.metric)
    scores = scores.join(results["sides"])
    return Scoring(
        scores,
        counts={name: one.counts for name, one in measured.items()},
        dense={name: results[f"dense {name}"] for name in DENSE},
        shares=shares,
        label_quality=quality,
        protocol={name: one.protocol for name, one in measured.items()},
        attributes=results["attributes"],
        baselines=_of_baselines({n: m.labels for n, m in measured.items() if n != "sae"}),
    )


def _of_baselines(labels: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The labels of all baselines in one table, the code's name first."""
    found = [table.assign(code=name) for name, table in labels.items()]
    return pd.concat(found, ignore_index=True)[["code", *found[0].columns.drop("code")]]


def _kept(dictionary: ConceptDictionary, scores: pd.DataFrame) -> pd.DataFrame:
    """What a run keeps of the units of a baseline: see :attr:`Scoring.baselines`."""
    table = dictionary.table[list(C.LABEL_COLUMNS)]
    return table.merge(scores[[C.LATENT, C.STATUS, C.PRECISION, C.RECALL, C.F1]], on=C.LATENT)


def _dicts(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: figure.to_dict() for name, figure in figures.items()}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in row.items()}
        for row in table.to_dict("records")
    ]


def _scored(
    construction: Cases, heldout: Cases, labeler: Labeler, code: LinearCode, limit: int
) -> tuple[pd.DataFrame, ConceptDictionary]:
    """Scores and concepts of a baseline code, labelled on at most ``limit`` cases."""
    construction = construction.sample(limit)
    heldout = heldout if code.k is not None else heldout.sample(limit)
    n = code.n_latents
    active = sparse_code(code.encode_sparse, construction.states, n)
    dictionary = ConceptDictionary(labels_by(labeler, active, construction), _NO_EXAMPLES)
    tested = sparse_code(code.encode_sparse, heldout.states, n)
    scores = score_concepts(tested, dictionary, heldout, labeler, hard_negatives=False)
    return scores, dictionary


def _measure(work: Workspace, name: str, codes: Codes, best_of: int) -> CodeFigures:
    """All figures of one sparse code."""
    if name == "sae":
        dictionary = work.tested_dictionary
    else:
        asked = work.core.at_random.statements if name == AT_RANDOM else ()
        dictionary = _labelled(work, codes, asked)
    parts = _parts(work) if name == "sae" else {}
    tested = _tested(work, codes, dictionary, hard_negatives=name == "sae", groups=parts)
    protocol = recsae_scores(
        (codes.construction, work.construction),
        (codes.heldout, work.heldout),
        dictionary,
        work.labeler,
        work.config.seed,
    )
    return CodeFigures(
        tested.scores,
        count_statuses(tested.scores, dictionary, best_of),
        tested.label_quality,
        _share(work, codes, tested),
        tested.verified_of,
        summarise(protocol),
        {
            part: (_share(work, codes, tested, only), tested.quality_of[part])
            for part, only in parts.items()
        },
        _kept(dictionary, tested.scores),
    )


def _train_and_measure(work: Workspace, best_of: int) -> CodeFigures:
    """All figures of the SAE without gates: the longest of the jobs."""
    return _measure(work, PLAIN, work.encode(work.plain_sae), best_of)


def _parts(work: Workspace) -> dict[str, slice]:
    """The latents of the core and those that were found, where there are both."""
    c = work.sae.n_gates
    return {"core": slice(0, c), "found": slice(c, None)} if c else {}


def _words(work: Workspace, verified: Sequence[NDArray[np.int64]]) -> dict[str, MeanShare]:
    """What the words of verified labels explain without the activations, and what statements of
    the same vocabulary do that are chosen for it."""
    labeler, labels = work.attribute_labeler, work.tested_dictionary.table
    sample = labeler.sample_of(work.construction)
    latents = np.unique(np.concatenate(verified))
    places = [np.searchsorted(latents, half) for half in verified]
    chosen = best_statements(labeler, sample, work.metric)
    everything = [np.arange(len(chosen))] * len(places)
    found = {}
    for name, table, by, usable in (
        ("words", labels.iloc[latents], work.labeler, places),
        ("statements", chosen, labeler, everything),
    ):
        sides = (sample, work.heldout)
        codes = Codes(*(said_code(table, cases, by) for cases in sides))
        found[name] = share_on_halves(codes, sample, work.halves, usable, work.head)
    return found


def _sides(work: Workspace) -> pd.DataFrame:
    """The statement of each latent's other side and how right it is, one row per latent."""
    codes, labels = work.sae_codes, work.tested_dictionary.table
    other = other_sides(labels, codes.construction, work.construction, work.attribute_labeler)
    dictionary = ConceptDictionary(other, _NO_EXAMPLES)
    tested = score_concepts(
        codes.heldout, dictionary, work.heldout, work.attribute_labeler, hard_negatives=False
    )
    found = pd.concat([other[[C.NAME, C.LABEL]], tested[list(OTHER_SIDE)[2:]]], axis=1)
    found[other[C.ATTRIBUTE].isna()] = None
    return found.rename(columns=OTHER_SIDE)


def _labelled(work: Workspace, codes: Codes, asked: Sequence[Predicate] = ()) -> ConceptDictionary:
    """Labels of a code that nobody looks at: without examples."""
    table = labels_by(work.labeler, codes.construction, work.construction, asked)
    return ConceptDictionary(table, _NO_EXAMPLES)


def _tested(
    work: Workspace,
    codes: Codes,
    dictionary: ConceptDictionary,
    *,
    hard_negatives: bool = False,
    groups: Mapping[str, slice] | None = None,
) -> TestedConcepts:
    return measure_concepts(
        codes.heldout,
        dictionary,
        work.heldout,
        work.labeler,
        hard_negatives=hard_negatives,
        parts=work.users_of_halves,
        groups=groups,
    )


def _share(
    work: Workspace, codes: Codes, tested: TestedConcepts, only: slice = slice(None)
) -> MeanShare:
    """Named share of the verified concepts among some latents."""
    latents = np.arange(codes.heldout.shape[1])[only]
    usable = [half[np.isin(half, latents)] for half in tested.verified_of]
    return share_on_halves(codes, work.construction, work.halves, usable, work.head)


def _dense(work: Workspace, name: str, best_of: int) -> StatusCounts:
    """Counts of a baseline whose units are active everywhere."""
    code = work.baseline(name, None)
    scored = _scored(work.construction, work.heldout, work.labeler, code, DENSE_CASES)
    return count_statuses(*scored, best_of)


def _embedding(
    construction: Cases, heldout: Cases, codes: Codes, dictionary: ConceptDictionary
) -> NDArray[np.float64]:
    """The embedding AUC of each label, ``(n_latents,)``."""
    vectors = fit_vectors(construction)
    scores = embedding_scores(codes.heldout, heldout, dictionary.table, vectors)
    by_latent = scores.set_index(C.LATENT)[C.EMBEDDING_AUC]
    return np.asarray(by_latent.reindex(range(codes.heldout.shape[1])))
