"""The pieces of ``report.json``: number types, and one closed model per block of figures.

A figure that could not be computed is ``None``; NaN and infinities become ``None`` on the way
in, so that they are never written.
"""

import math
from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

Code = Literal[
    "sae",
    "core",
    "found",
    "words",
    "statements",
    "plain",
    "gates",
    "neurons",
    "random",
    "pca",
]
"""The SAE with its core, each part alone, what its labels say without activations, statements that
are chosen for it, the SAE without a core, gates at random, baselines."""
Status = Literal["verified", "supported", "unsupported", "untested", "dead"]


def _plain(value: Any) -> Any:
    """Turn a NumPy or torch scalar into the Python number it holds."""
    if isinstance(value, bool | int | str) or not hasattr(value, "item"):
        return value
    return value.item() if getattr(value, "ndim", 0) == 0 else value


def _finite(value: Any) -> Any:
    value = _plain(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


Figure = Annotated[float | None, BeforeValidator(_finite)]
"""A measured number, or ``None`` where it could not be computed."""
Count = Annotated[int, BeforeValidator(_plain), Field(ge=0)]
Finite = Annotated[float, BeforeValidator(_plain), Field(allow_inf_nan=False)]
Metrics = dict[str, Figure]
"""Metric name such as ``"ndcg@10"`` to its value."""
Interval = tuple[Figure, Figure]
"""Lower and upper end."""


class Part(BaseModel):
    """Base of every part of the report: closed and frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Histogram(Part):
    """``counts[i]`` activations lie between ``edges[i]`` and ``edges[i + 1]``."""

    edges: list[Finite]
    counts: list[Count]


class ItemWeight(Part):
    """An item (external id) and how far a concept's direction moves its score."""

    item: str
    weight: Figure


class Sequence(Part):
    """A person's last items and what the model recommends; external ids, oldest first."""

    user: str
    items: list[str]
    top_recommendation: str
    activation: Figure


class Example(Sequence):
    """One sequence on which a concept is active."""

    kind: Literal["top", "quantile"]
    quantile: Figure


class CounterExample(Sequence):
    """A held-out sequence on which a label is wrong.

    ``missed``: the label says active and the latent is not; ``unexpected``: the latent is active
    and the label says no. ``level`` is what the label counts there, ``threshold`` from which on it
    says active, ``why`` the same in words.
    """

    kind: Literal["missed", "unexpected"]
    level: int
    threshold: int
    why: str


class Together(Part):
    """Another latent that is active with this one, or in its place, on held-out cases.

    ``lift`` is how many times as often as by chance, ``phi`` the correlation of the activities.
    """

    kind: Literal["with", "instead"]
    latent: Count
    n_together: Count
    lift: Figure
    phi: Figure


class ActiveOn(Part):
    """An item that tells where a latent is active: ``view`` says where in a case it stands."""

    view: Literal["last", "last5", "top1"]
    item: str
    n_active: Count
    """Held-out cases with the item there on which the latent is active."""
    n_cases: Count
    """All held-out cases with the item there."""


class Answers(Part):
    """Cases that a language model was asked about, and how many answers are right."""

    n_asked: Count
    n_parsed: Count
    n_failed: Count
    true_positives: Count
    false_negatives: Count
    true_negatives: Count
    false_positives: Count


class Detected(Answers):
    """How well a language model that knows a sentence tells where a latent is active.

    Precision and recall are of all held-out cases, ``n_active`` and ``n_inactive``; the counts are
    of those that were asked. ``precision_low_at_best`` is what ``precision_low`` would be without
    any mistake.
    """

    status: Literal["verified", "supported", "unsupported", "untested"]
    precision: Figure
    precision_low: Figure
    recall: Figure
    recall_low: Figure
    precision_low_at_best: Figure
    n_active: Count
    n_inactive: Count


class Marked(Answers):
    """How well a language model that knows a sentence tells items that matter from others."""

    balanced_accuracy: Figure
    ci_low: Figure


class PaperJudged(Part):
    """The RecSAE paper's score of one latent, with levels predicted by a language model."""

    recall: Figure
    specificity: Figure
    confidence: Figure
    n_asked: Count
    n_failed: Count


class Rival(Part):
    """The label by attributes, judged like the language model's own."""

    label: str
    detection: Detected
    embedding_auc: Figure


class Explained(Part):
    """What a language model calls a latent, and how well that stands the test."""

    name: str
    explanation: str
    detection: Detected
    fuzzing: Marked
    embedding_auc: Figure
    attribute: Rival
    paper: PaperJudged | None


class OtherSide(Part):
    """The best statement of the side of a concept that its label does not speak of."""

    name: str
    label: str
    precision: Figure
    precision_low: Figure
    recall: Figure
    recall_low: Figure
    f1: Figure


class TurnedUpAndDown(Part):
    """What a latent's label predicts, and the share of the top 10 that its items have.

    ``step`` is by how much the activation is turned, for everybody; ``low`` and ``high`` are the
    interval of ``share_up - share_down``, widened for the number of latents that were turned.
    """

    predicted: Literal["more", "fewer"]
    step: Figure
    share: Figure
    """Without turning anything."""
    share_up: Figure
    share_down: Figure
    low: Figure
    high: Figure


class Concept(Part):
    """A latent with its label and the evidence for it; what a run lacks is empty.

    The label says one predicate, two (``joint``: "and" or "or"), or none: a latent that is active
    nearly everywhere. ``back`` is in which share of the dictionaries made again it comes back,
    by level; ``stable`` is whether its label does in all.
    """

    latent: Count
    name: str
    label: str
    labeler: str
    origin: Literal["core", "found"]
    """Whether the vocabulary was asked for it, or training found it."""
    attribute: str | None
    value: str | None
    predicate_site: str | None
    threshold: Figure
    negated: bool | None = None
    joint: Literal["and", "or"] | None = None
    second_attribute: str | None = None
    second_value: str | None = None
    second_site: str | None = None
    second_threshold: Figure = None
    second_negated: bool | None = None
    third_attribute: str | None = None
    third_value: str | None = None
    third_site: str | None = None
    third_threshold: Figure = None
    third_negated: bool | None = None
    status: Status
    precision: Figure
    precision_low: Figure
    """Lower bound, one-sided at the level of the protocol, users being the unit."""
    recall: Figure
    recall_low: Figure
    specificity: Figure
    hard_specificity: Figure
    f1: Figure
    balanced_accuracy: Figure
    auc: Figure
    average_precision: Figure
    n_pos: Count
    n_neg: Count
    n_users_pos: Count
    embedding_auc: Figure = None
    explains: Figure = None
    """Share of the score variance of held-out cases that it explains by itself."""
    fire_rate: Figure
    """Share of construction cases on which it is active."""
    heldout_fire_rate: Figure = None
    user_share: Figure = None
    """Share of held-out users with any active case."""
    mean_activation: Figure = None
    kind: Literal["item", "theme", "situation", "general"] | None = None
    """Whether the label speaks of single items, of what items are, or of the history's form."""
    side: Literal["follows", "brings"] | None = None
    """Whether the label speaks of the history, or of the recommendations."""
    stable: bool | None = None
    x: Figure = None
    y: Figure = None
    """Where a verified concept is on the map, from -1 to 1: close together are those that do the
    same to the item scores."""
    correction: Literal["renamed", "merged", "rejected"] | None = Field(None, exclude=True)
    """What people said of it; this and the next two are read anew from ``corrections.toml``
    whenever a report is written, and never kept in ``report.json``."""
    tested_as: str | None = Field(None, exclude=True)
    """Its name when it was tested, where people gave another one."""
    rejected_because: str | None = Field(None, exclude=True)
    histogram: Histogram | None
    promotes: list[ItemWeight]
    demotes: list[ItemWeight]
    examples: list[Example]
    recommended: list[str] = Field(default_factory=list)
    """The first items of the model's list on the first of its examples."""
    active_on: list[ActiveOn] = Field(default_factory=list)
    counterexamples: list[CounterExample] = Field(default_factory=list)
    together: list[Together] = Field(default_factory=list)
    other_side: OtherSide | None = None
    back: dict[str, Figure] | None = None
    obeyed: Literal["yes", "no", "cannot be told"] | None = None
    """Whether turning it does what its label says; "no": the opposite happens."""
    turned: TurnedUpAndDown | None = None
    language: Explained | None = None


ConceptList = list[Concept]


class Concepts(Part):
    """All concepts, and how many there are of each kind."""

    tested: Count
    untested: Count
    verified: Count
    supported: Count
    unsupported: Count
    distinct_verified: Count
    list: ConceptList

    @field_validator("list")
    @classmethod
    def _latents_differ(cls, concepts: ConceptList) -> ConceptList:
        twice = [j for j, n in Counter(c.latent for c in concepts).items() if n > 1]
        if twice:
            raise ValueError(f"latent {twice[0]} is listed more than once")
        return concepts


class Item(Part):
    """What is known of an item, so that each title is stored once.

    ``values`` are the places in the report's ``label_values`` of what labels say and is true of it.
    """

    title: str
    attributes: dict[str, list[str]]
    values: list[Count] = Field(default_factory=list)


class LabelValue(Part):
    """A value of an attribute that labels speak of, and how a person says that an item has it."""

    attribute: str
    value: str
    phrase: str
