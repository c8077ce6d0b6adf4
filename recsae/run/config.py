"""Everything that changes a run's results, as one validated configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from recsae.core.limits import MAX_LATENTS, MAX_POSITIONS, MAX_SEED, MAX_TRAININGS
from recsae.core.llm.settings import LanguageSettings


class RunConfig(BaseModel):
    """Everything that changes the results of a run. Read from options or a TOML file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    checkpoint: str | None = None
    """None for a model that was not opened from a file."""
    data_path: str | None = None
    items: str | None = None
    title_column: str | None = None
    attribute_columns: list[str] | None = None
    separator: str | None = Field(None, min_length=1)
    """What separates values in a cell of the item table, "none" if nothing; None: the cells say."""
    site: str | None = None
    latents: int | None = Field(None, ge=1, le=MAX_LATENTS)
    k: int | None = Field(None, ge=1, le=MAX_LATENTS)
    """Active latents besides open gates; None: the fewest that keep the ranking."""
    activation: str = "matryoshka"
    """One of :data:`recsae.sae.variants.VARIANTS`."""
    core: Literal["statements", "none"] = "statements"
    """Whether the first latents are gates for statements that the states hold."""
    attributes_first: list[str] | None = None
    """Attributes of which every value that the states hold gets a gate."""
    samples: int = Field(2_000_000, ge=1, le=MAX_POSITIONS)
    """States that SAE training sees, repeats counted."""
    seed: int = Field(0, ge=0, le=MAX_SEED)
    construction_positions: int = Field(300_000, ge=1, le=MAX_POSITIONS)
    """At most so many positions of construction users are captured."""
    heldout_positions: int = Field(200_000, ge=1, le=MAX_POSITIONS)
    stability: int = Field(2, ge=0, le=MAX_TRAININGS)
    """How often the dictionary is made again: on each half of the users, then with other seeds."""
    labeler: str | None = None
    """Who labels: the name of an entry point of the group ``recsae.labelers``; None: statements on
    the items' attributes."""
    sae: str | None = None
    """What tells an SAE of one's own from others, see :func:`recsae.sae.own.digest_of_sae`; None:
    one is trained."""
    language: LanguageSettings | None = None
    """The language model that names and judges concepts, if any."""
