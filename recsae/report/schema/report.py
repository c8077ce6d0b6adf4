"""Everything the report shows, as one validated object: ``report.json`` is ``Report`` written out.

Unknown keys are errors. The number types and the concepts are in ``parts``, what a run may lack is
in ``sections`` and ``goals``.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field

from recsae.report.schema.goals import Goals, Measured
from recsae.report.schema.parts import (
    Code,
    Concepts,
    Count,
    Figure,
    Interval,
    Item,
    LabelValue,
    Metrics,
    Part,
)
from recsae.report.schema.sections import LanguageModel, LeftOut, PaperScore, Stability, Supervised

SCHEMA_VERSION: Literal["1.1"] = "1.1"
ShareSize = Literal["8", "16", "32"]
ShareFigure = Literal["8", "16", "32", "ndcg_kept_32"]
SCHEMA_FILE = Path(__file__).with_name("report.schema.json")


class Model(Part):
    """The recommender that was opened."""

    name: str
    plugin: str
    site: str
    site_meaning: str
    site_share: Figure | None
    """How much of the scores' variance passes through the site; None where it was not tried."""
    one_state_per_user: bool
    hidden_size: Count
    n_items: Count
    checkpoint_sha256: str
    linear_head: bool
    causal: bool


class Data(Part):
    """What it was read on, and how its users were split."""

    name: str
    n_users: Count
    n_construction_users: Count
    n_heldout_users: Count
    n_sequences: Count
    n_construction_positions: Count
    n_heldout_positions: Count
    attributes: list[str]
    title_column: str | None
    notes: list[str]


class CoreFigures(Part):
    """The core: how many statements were asked, and how many the states hold.

    ``n_permuted`` of ``n_permuted_candidates`` statements are held after attributes were permuted
    over the items. ``n_added`` values are said by verified concepts that were found, and by none of
    the core.
    """

    n_candidates: Count
    n_learnable: Count
    n_permuted: Count
    n_permuted_candidates: Count
    n_added: Count


class Autoencoder(Part):
    """The sparse autoencoder and how well it fits; shares are of latents, on held-out users."""

    n_latents: Count
    n_core: Count
    core: CoreFigures | None
    k: Count
    tried: dict[str, Figure | None]
    """Share of NDCG@10 on construction cases that so many active latents, besides open gates,
    keep."""
    activation: str
    fvu: Figure
    l0: Figure
    dead_fraction: Figure
    dense_fraction: Figure
    n_activations_seen: Count
    seconds: Figure
    epochs: Count


class AllUsersAccuracy(Part):
    """The recommender's own evaluation, before and after inserting the reconstruction."""

    base: Metrics
    reconstructed: Metrics
    n_cases: Count


class HeldoutAccuracy(Part):
    """The same on held-out users, at every position and at each user's last item."""

    base: Metrics
    reconstructed: Metrics
    ndcg_kept: Figure
    ndcg_kept_ci: Interval
    last_item_ndcg_kept: Figure
    last_item_ndcg_kept_ci: Interval
    rbo: Figure
    kendall: Figure
    latents_for_99: Count | None
    n_users: Count
    n_positions: Count


class ShortStates(Part):
    """How training states that lack context differ from those behind recommendations."""

    share: Figure
    same_items: Figure
    same_latents: Figure
    n_compared: Count


class Accuracy(Part):
    """How much of the recommender's accuracy survives the autoencoder."""

    metric_note: str
    all_users: AllUsersAccuracy
    heldout: HeldoutAccuracy
    short_states: ShortStates | None


class Protocol(Part):
    """The rules by which concepts were tested."""

    name: str
    min_positives: Count
    min_users: Count
    supported_excludes_verified: bool
    threshold: Figure
    one_sided_level: Figure


class NamedShare(Part):
    """Share of score variance that 8, 16 and 32 verified concepts explain on held-out users.

    ``intervals`` are of 95 %, users being the unit. ``sae_ahead`` is by how much the SAE's share is
    higher, with the interval of the difference: user by user, so it may be sure where those of the
    shares overlap.
    """

    model_config = ConfigDict(populate_by_name=True)

    of_8: Figure = Field(alias="8")
    of_16: Figure = Field(alias="16")
    of_32: Figure = Field(alias="32")
    ndcg_kept_32: Figure
    intervals: dict[ShareFigure, Interval]
    n_verified: Count
    sae_ahead: dict[ShareSize, Measured]


class LabelQuality(Part):
    """The F1 of labels, weighted by the held-out activations that they name.

    ``sae_ahead`` is by how much the SAE's is higher; both with 95 % intervals over users.
    """

    value: Measured
    sae_ahead: Measured


class CodeCounts(Part):
    """What one code (the SAE or a baseline) came to under the default protocol."""

    n_units: Count
    tested: Count
    verified: Count
    supported: Count
    distinct_verified: Count
    distinct_verified_equal_units: Count
    mean_balanced_accuracy: Figure


class Baselines(Part):
    """The SAE and its baselines in one shape; dense codes by name, apart."""

    sae: CodeCounts | None = None
    plain: CodeCounts | None = None
    gates: CodeCounts | None = None
    neurons: CodeCounts | None = None
    random: CodeCounts | None = None
    pca: CodeCounts | None = None
    dense: dict[str, CodeCounts] = Field(default_factory=dict)


class AttributeScore(Part):
    """How well the best single latent of each code tells one attribute."""

    attribute: str
    best_latent: Count | None
    auc_sae: Figure
    auc_neurons: Figure
    auc_random: Figure
    auc_pca: Figure
    auc_supervised: Figure
    prevalence: Figure
    site: str


class Steering(Part):
    """What turning one concept did to held-out users' recommendations.

    ``target_share_times`` and ``ndcg_kept``: what a figure is multiplied by, with its interval.
    """

    target: str
    latent: Count | None
    name: str | None = None
    intervention: str
    target_share_before: Figure
    target_share_after: Figure
    target_share_times: Measured | None = None
    ndcg_before: Figure
    ndcg_after: Figure
    ndcg_kept: Measured | None = None
    n_users: Count
    n_positions: Count | None = None


class Report(Part):
    """Everything the report shows: the content of ``report.json``; newer fields may be missing."""

    schema_version: Literal["1.1"] = SCHEMA_VERSION
    model: Model
    data: Data
    sae: Autoencoder
    accuracy: Accuracy
    concepts: Concepts
    items: dict[str, Item]
    label_values: list[LabelValue] = Field(default_factory=list)
    protocol: Protocol
    named_share: dict[Code, NamedShare]
    label_quality: dict[Code, LabelQuality]
    recsae_protocol: dict[Code, PaperScore]
    baselines: Baselines
    attributes: list[AttributeScore]
    skipped_attributes: list[str]
    left_out: list[LeftOut] = Field(default_factory=list)
    supervised: Supervised | None = None
    stability: Stability | None = None
    language: LanguageModel | None = None
    steering: list[Steering]
    goals: Goals | None = None
    timings: dict[str, Figure]
    cpu_seconds: dict[str, Figure]
    memory: dict[str, Figure]
    versions: dict[str, str]
    seed: int
    created: str

    def title(self, item: str) -> str:
        """Return the title of an item, or its external id where no title is known."""
        known = self.items.get(item)
        return known.title if known and known.title else item

    def to_json(self) -> str:
        """Return the text of ``report.json``: a line for each concept, item and group of facts."""
        plain = self.model_dump(mode="json", by_alias=True)
        return _in_lines(plain) + "\n"


_json = partial(json.dumps, ensure_ascii=False, allow_nan=False)
"""Without indentation, which only the encoder in Python knows: ten times slower."""


def _in_lines(value: Any, depth: int = 0) -> str:
    if isinstance(value, dict) and value and depth < 2:
        parts = (f"{_json(key)}: {_in_lines(each, depth + 1)}" for key, each in value.items())
        return "{\n" + ",\n".join(parts) + "\n}"
    if isinstance(value, list) and value and depth < 3:
        return "[\n" + ",\n".join(map(_json, value)) + "\n]"
    return _json(value)


def schema_text() -> str:
    """Return the JSON Schema of ``report.json`` as it is saved in the package."""
    return json.dumps(Report.model_json_schema(), indent=1, ensure_ascii=False) + "\n"


def write_schema(path: Path = SCHEMA_FILE) -> Path:
    """Save the JSON Schema of ``report.json``.

    Parameters
    ----------
    path
        Where to write; by default the file that ships in the package.

    Returns
    -------
    Path
        The file written.
    """
    path.write_text(schema_text(), encoding="utf-8")
    return path
