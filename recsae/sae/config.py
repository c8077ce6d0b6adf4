"""The configuration of an SAE, checked before anything is trained."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from recsae.core.errors import InvalidInput
from recsae.core.limits import MAX_FLOAT, MAX_LATENTS, MAX_POSITIONS, MAX_SEED

Activation = Literal["topk", "batch_topk", "feature_choice", "jumprelu", "matryoshka", "relu"]
OWN_SETTINGS = {
    "sparsity_weight": ("relu", "jumprelu"),
    "bandwidth": ("jumprelu",),
    "prefixes": ("matryoshka",),
}
"""Settings that only some activations have."""


class SAEConfig(BaseModel):
    """Everything that changes the numbers of a trained SAE; saved with it.

    Defaults follow RecSAE (arXiv 2411.06112): k = 8, 16 latents per hidden dimension, auxiliary
    loss weighted 1/32.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    n_latents: int | None = Field(None, ge=1, le=MAX_LATENTS)
    """Number of latents; 16 times the hidden size if None."""
    k: int = Field(8, ge=1, le=MAX_LATENTS)
    """Active latents per state; their mean number where it varies."""
    activation: Activation = "matryoshka"
    """How latents are chosen, see :mod:`recsae.sae.variants`."""
    sparsity_weight: float | None = Field(None, gt=0, le=MAX_FLOAT)
    """Only relu and jumprelu: weight of the sparsity penalty; 1 if None, for relu 0.1, from which
    it is adapted."""
    bandwidth: float | None = Field(None, gt=0, le=MAX_FLOAT)
    """Only jumprelu: pre-activations so near to a threshold teach it; 0.5 if None."""
    prefixes: tuple[int, ...] | None = None
    """Only matryoshka: sizes of the nested dictionaries, rising to ``n_latents``; if None a 16th
    (not beside gates, which are coarse enough), a quarter and all, but none of fewer than 2 k
    latents, of which hardly any could be inactive."""
    aux_weight: float = Field(1 / 32, ge=0, le=MAX_FLOAT)
    """Weight of the auxiliary loss, in which dead latents reconstruct the residual."""
    aux_k: int | None = Field(None, ge=1, le=MAX_LATENTS)
    """Dead latents used by the auxiliary loss; half the hidden size if None."""
    dead_after: int = Field(20_000, ge=1, le=MAX_POSITIONS)
    """A latent that was not active on this many states in a row counts as dead in training."""
    learning_rate: float = Field(1e-2, gt=0, le=MAX_FLOAT)
    """Peak learning rate at batch 1,024; scaled with the square root of the batch."""
    batch_size: int = Field(1024, ge=1, le=MAX_POSITIONS)
    """At most; small stores are read in smaller batches, down to 32."""
    n_samples: int = Field(2_000_000, ge=1, le=MAX_POSITIONS)
    """States to train on, repeats counted; rounded to whole epochs, at most ``max_epochs``."""
    max_epochs: int = Field(50, ge=1, le=MAX_POSITIONS)
    patience: int | None = Field(10, ge=1, le=MAX_POSITIONS)
    """Training ends after so many epochs without a lower FVU on states of construction users that
    it does not see, and the best weights are kept; None: it sees all, and its last weights are."""
    warmup: float = Field(0.05, ge=0, lt=1)
    """Share of the steps in which the learning rate rises from 0."""
    seed: int = Field(0, ge=0, le=2 * MAX_SEED)
    """Those of further trainings follow a run's own."""

    @model_validator(mode="after")
    def _k_fits(self) -> SAEConfig:
        if self.n_latents is not None and self.k > self.n_latents:
            raise ValueError(
                f"k={self.k} is larger than the number of latents ({self.n_latents}): "
                "at most all latents can be active"
            )
        return self

    @model_validator(mode="after")
    def _settings_are_the_activations_own(self) -> SAEConfig:
        for name, owners in OWN_SETTINGS.items():
            if getattr(self, name) is not None and self.activation not in owners:
                raise ValueError(
                    f"{name} is a setting of {' and '.join(owners)}, and activation is "
                    f"{self.activation!r}: leave it out"
                )
        sizes = self.prefixes
        if sizes is not None and self.n_latents is not None:
            rising = all(a < b for a, b in pairwise((0, *sizes)))
            if not rising or not sizes or sizes[-1] != self.n_latents:
                raise ValueError(
                    f"prefixes={sizes} must rise from 1 or more to the number of latents "
                    f"({self.n_latents})"
                )
        return self

    def resolved(self, width: int, *, beside_gates: bool = False) -> SAEConfig:
        """The same with the defaults that depend on hidden size and activation filled in."""
        values = self.model_dump()
        n = values["n_latents"] = self.n_latents or 16 * width
        values["aux_k"] = self.aux_k or max(1, width // 2)
        weight = 0.1 if self.activation == "relu" else 1.0
        parts = (4,) if beside_gates else (16, 4)
        nested = (*(n // part for part in parts if n // part >= 2 * self.k), n)
        defaults = {"sparsity_weight": weight, "bandwidth": 0.5, "prefixes": nested}
        for name, owners in OWN_SETTINGS.items():
            if values[name] is None and self.activation in owners:
                values[name] = defaults[name]
        return make_config(**values)


def make_config(**values: Any) -> SAEConfig:
    """SAEConfig, with what is wrong said in one sentence (InvalidInput)."""
    try:
        return SAEConfig(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "configuration"
        message = first["msg"].removeprefix("Value error, ")
        seen = f" (seen: {first['input']!r})" if first["loc"] else ""
        raise InvalidInput(f"SAE {where}: {message}{seen}.") from error
