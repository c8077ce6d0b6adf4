"""Sections that a run may lack: the supervised yardstick, stability, a language model."""

from typing import Literal

from pydantic import Field

from recsae.report.schema.parts import Count, Figure, Part

Method = Literal["sae", "class_mean", "probe"]
ByMethod = dict[Method, Figure]


class LeftOut(Part):
    """An attribute that no label speaks of, since no probe can learn it from the hidden states.

    ``auc`` is the probe's, at the site where the attribute is known best; ``low`` its lower bound.
    """

    attribute: str
    site: str
    auc: Figure
    low: Figure


class AttributeBeside(Part):
    """One attribute told and controlled by the best latent, by a class mean and by a probe.

    ``lift`` is the change of the attribute's share in the top 10 (before: ``share_before``),
    ``off_target`` the mean change of other attributes' shares, either way. ``auc_of_latents`` is by
    how many latents tell the attribute together.
    """

    attribute: str
    site: str
    prevalence: Figure
    best_latent: Count
    auc: ByMethod
    auc_low: ByMethod
    balanced_accuracy: ByMethod
    explained: ByMethod
    share_before: Figure = None
    lift: ByMethod = Field(default_factory=dict)
    off_target: ByMethod = Field(default_factory=dict)
    ndcg_kept: ByMethod = Field(default_factory=dict)
    auc_of_latents: dict[int, Figure]
    overlap: Figure
    over_split: bool
    occluded_by: str | None
    told_apart_auc: Figure


class Supervised(Part):
    """The SAE's best latents beside directions that were fitted to the answers.

    ``means`` are over attributes, by measure and method. ``explained_together`` is the share of
    score variance that all attributes explain, by method and by the answers themselves.
    """

    rows: list[AttributeBeside]
    means: dict[str, ByMethod]
    explained_together: dict[str, Figure]
    n_latents: Count
    width: Count
    dose: Figure = None
    control_skipped: str | None = None
    rules: dict[str, str]


class Retrained(Part):
    """A dictionary that the run's was compared with; medians of the best similarity."""

    name: str
    kind: Literal["seeds", "halves", "chance"]
    median_cosine: Figure
    median_correlation: Figure


class ComesBack(Part):
    """The share that comes back at one level, among the core, all, or verified ones.

    Means over seeds and over halves of the users, what random directions give, and the share that
    comes back in ``every`` dictionary made again.
    """

    among: Literal["core", "latents", "verified"]
    n: Count
    level: str
    seeds: Figure
    halves: Figure
    chance: Figure
    every: Figure


class Stability(Part):
    """What comes back when the same dictionary is made again (``pipeline.stages.stability``)."""

    thresholds: dict[str, Figure]
    dictionaries: list[Retrained]
    skipped: dict[str, str]
    summary: list[ComesBack]


class Failure(Part):
    """A latent that the language model could not name, and why."""

    latent: Count
    reason: str


class PaperScore(Part):
    """The RecSAE paper's own score; ``at_0_8`` and ``at_0_9`` count latents of that confidence."""

    n: Count
    at_0_8: Count
    at_0_9: Count
    mean_recall: Figure
    mean_specificity: Figure
    mean_confidence: Figure


class JudgedDescriptions(Part):
    """How many names, or attribute labels, are verified by the language model as judge.

    ``decidable``: how many the cases asked could verify. The figures are means over the concepts
    that are compared, of which ``better`` have the higher F1 in this kind.
    """

    verified: Count
    supported: Count
    decidable: Count
    precision: Figure
    precision_low: Figure
    recall: Figure
    recall_low: Figure
    better: Count


class LanguageSummary(Part):
    """Names and attribute labels, judged on the same cases.

    ``n_compared`` of the ``n_judged`` concepts have all figures for both.
    """

    n_judged: Count
    n_compared: Count
    names: JudgedDescriptions
    attribute_labels: JudgedDescriptions
    fuzzing_names: Figure
    cases_failed: Count
    paper: PaperScore | None = None


class LanguageModel(Part):
    """The language model that named and judged; what it said of a latent is with the concept."""

    model: str
    n_explained: Count
    n_failed: Count
    failures: list[Failure]
    tokens: dict[str, int]
    cost: Figure
    summary: LanguageSummary
