"""A random sample of verified concepts with what a person needs to judge each label."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsae.concepts.corrections import REJECTED
from recsae.concepts.labeler import PARTS
from recsae.concepts.sides import OTHER_SIDE
from recsae.concepts.status import VERIFIED
from recsae.concepts.wording import concept_name, reason_of
from recsae.core import columns as C
from recsae.core import layout
from recsae.core.errors import ArtifactMismatch, NotEnoughData
from recsae.core.files import read_parquet
from recsae.explore.concept_facts import ActiveItem, Case, evidence_of, tested_table
from recsae.report.write import report_facts
from recsae.run.record import Run

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class JudgedCase:
    """A case of a latent, and what its label says there."""

    user: str
    activation: float
    titles: tuple[str, ...]
    """Titles of the history's last items, oldest first."""
    recommended: tuple[str, ...]
    """Titles of the first recommendations, best first: three of a drawn case, one of another."""
    label_says_active: bool
    why: str


@dataclass(frozen=True)
class Alternative:
    """Another statement about a latent, with its scores on the same cases."""

    label: str
    precision: float
    recall: float


@dataclass(frozen=True)
class AuditedConcept:
    """A verified concept, its scores with their lower bounds, and what its latent is active on."""

    latent: int
    name: str
    label: str
    precision: float
    precision_low: float
    recall: float
    recall_low: float
    n_active: int
    """Held-out cases on which the latent is active."""
    n_cases: int
    n_users: int
    """Users who have an active case."""
    active_on: tuple[ActiveItem, ...]
    examples: tuple[JudgedCase, ...]
    """Up to five of different users, drawn from all active cases."""
    missed: JudgedCase | None
    """Where the label says active most clearly and the latent is not; None if nowhere."""
    unexpected: JudgedCase | None
    """Where the latent is most active though the label says no; None if nowhere."""
    alternative: Alternative | None
    """The best statement of the side that the label does not speak of."""
    n_items_of: dict[str, int]
    """How many items have each value that the label speaks of."""


@dataclass(frozen=True)
class AuditSheet:
    """The sample, in the order in which it was drawn."""

    n_verified: int
    """Verified concepts of the run that nobody rejected."""
    seed: int
    concepts: tuple[AuditedConcept, ...]

    def __repr__(self) -> str:
        n = len(self.concepts)
        return f"AuditSheet({n} of {self.n_verified} verified concepts, seed {self.seed})"


def audit_sheet(folder: Path, size: int, seed: int = 0) -> AuditSheet:
    """A random sample of a run's verified concepts, to be judged by a person.

    Parameters
    ----------
    size
        How many; all, in random order, where there are fewer. With one seed a smaller sample is
        the beginning of a larger one.
    seed
        Of the sample. The cases shown of a latent were drawn when the run was made.

    Raises
    ------
    ArtifactMismatch
        The folder holds no run, or one without evidence.
    NotEnoughData
        No concept is verified.
    """
    from recsae.evaluation.evidence import TABLES, Evidence

    run = Run(folder)  # says so if there is none
    needed = (layout.CONCEPTS, layout.SCORES, layout.ATTRIBUTES, *TABLES, layout.REPORT)
    lacking = [name for name in needed if not (folder / name).exists()]
    if lacking:
        raise ArtifactMismatch(
            f"The run in {folder} is not finished, or was made before labels could be audited: it "
            f"lacks {lacking[0]}. The command that made it goes on from here."
        )
    with run.reading(*needed):
        table, evidence = tested_table(folder)[1], Evidence.load(folder).by_latent()
        items = report_facts(folder)["items"]
        values = read_parquet(folder / layout.ATTRIBUTES)
    n_items_of = {
        (attribute, value): len(has)
        for attribute, value, has in values[[C.ATTRIBUTE, C.VALUE, "items"]].to_numpy()
    }
    verified = table[table[C.STATUS] == VERIFIED]
    if C.CORRECTION in table:
        verified = verified[verified[C.CORRECTION] != REJECTED]
    if verified.empty:
        raise NotEnoughData(f"No concept of the run in {folder} is verified: none can be audited.")
    titles = {item: known["title"] for item, known in items.items()}
    order = np.random.default_rng(seed).permutation(len(verified))[:size]
    drawn = verified.iloc[order].astype(object)
    names = table.set_index(C.LATENT)[C.NAME]
    rows = drawn.where(drawn.notna(), None).to_dict("records")
    concepts = tuple(
        _audited(row, evidence[row[C.LATENT]], titles, names, n_items_of) for row in rows
    )
    return AuditSheet(len(verified), seed, concepts)


def _audited(
    row: dict[str, Any],
    evidence: dict[str, Any],
    titles: dict[str, str],
    names: pd.Series,
    n_items_of: dict[tuple[str, str], int],
) -> AuditedConcept:
    known = evidence_of(evidence, titles, names)
    said = [(row[attribute], row[value]) for attribute, value, *_ in PARTS]
    label, precision, recall = (row[OTHER_SIDE[c]] for c in (C.LABEL, C.PRECISION, C.RECALL))
    return AuditedConcept(
        latent=row[C.LATENT],
        name=row[C.NAME],
        label=row[C.LABEL],
        precision=row[C.PRECISION],
        precision_low=row[C.PRECISION_LOW],
        recall=row[C.RECALL],
        recall_low=row[C.RECALL_LOW],
        n_active=int(row[C.N_POS]),
        n_cases=int(row[C.N_POS] + row[C.N_NEG]),
        n_users=int(row[C.N_USERS_POS]),
        active_on=known.active_on,
        examples=tuple(_judged(row, case) for case in known.drawn),
        missed=_judged(row, known.missed[0]) if known.missed else None,
        unexpected=_judged(row, known.unexpected[0]) if known.unexpected else None,
        alternative=Alternative(label, precision, recall) if label else None,
        n_items_of={
            concept_name(*one, titles): n_items_of[one] for one in said if n_items_of.get(one)
        },
    )


def _judged(row: dict[str, Any], case: Case) -> JudgedCase:
    level, threshold = case.level or 0, case.threshold or 0
    return JudgedCase(
        user=case.user,
        activation=case.activation,
        titles=case.titles,
        recommended=case.recommended or (case.top_recommendation,),
        label_says_active=level >= threshold,
        why=reason_of(row, level),
    )
