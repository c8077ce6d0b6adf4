"""The pieces of ``report.json``: number types, and one closed model per block of figures.

A figure that could not be computed is ``None``; NaN and infinities become ``None`` on the way
in, so that they are never written.
"""

import math
from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

Code = Literal["sae", "neurons", "random", "pca"]
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


class Example(Part):
    """One sequence on which a concept is active; items are external ids, oldest first."""

    kind: Literal["top", "quantile"]
    quantile: Figure
    user: str
    items: list[str]
    top_recommendation: str
    activation: Figure


class Concept(Part):
    """A latent with its label and the evidence for it."""

    latent: Count
    name: str
    label: str
    labeler: str
    attribute: str | None
    value: str | None
    predicate_site: str | None
    threshold: Figure
    status: Status
    precision: Figure
    recall: Figure
    specificity: Figure
    hard_specificity: Figure
    f1: Figure
    balanced_accuracy: Figure
    ci_low: Figure
    auc: Figure
    average_precision: Figure
    n_pos: Count
    n_neg: Count
    n_users_pos: Count
    chance_percentile: Figure
    fire_rate: Figure
    histogram: Histogram | None
    promotes: list[ItemWeight]
    demotes: list[ItemWeight]
    examples: list[Example]


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
    """What is known of an item, so that each title is stored once."""

    title: str
    attributes: dict[str, list[str]]
