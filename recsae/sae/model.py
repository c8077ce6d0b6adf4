"""The sparse autoencoder: raw hidden states in, a few active latents out, and back."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import nn
from torch.nn import functional as F

from recsae.core.distributed import ALONE, Ranks
from recsae.core.errors import ArtifactMismatch, InvalidInput, NotEnoughData
from recsae.core.files import read_json, write_atomically, write_json
from recsae.sae.codes import Code as Code
from recsae.sae.variants import VARIANTS

if TYPE_CHECKING:
    import numpy as np
    import scipy.sparse
    from numpy.typing import NDArray

    from recsae.capture.store import ActivationStore

CONFIG = "cfg.json"
WEIGHTS = "sae.safetensors"
BATCH = 2048
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

    model_config = ConfigDict(extra="forbid", frozen=True)

    n_latents: int | None = Field(None, ge=1)
    """Number of latents; 16 times the hidden size if None."""
    k: int = Field(8, ge=1)
    """Active latents per state; their mean number where it varies."""
    activation: Activation = "matryoshka"
    """How latents are chosen, see :mod:`recsae.sae.variants`."""
    sparsity_weight: float | None = Field(None, gt=0)
    """Only relu and jumprelu: weight of the sparsity penalty; 1 if None, for relu 0.1, from which
    it is adapted."""
    bandwidth: float | None = Field(None, gt=0)
    """Only jumprelu: pre-activations so near to a threshold teach it; 0.5 if None."""
    prefixes: tuple[int, ...] | None = None
    """Only matryoshka: sizes of the nested dictionaries, rising to ``n_latents``; if None a 16th,
    a quarter and all, but none of fewer than 2 k latents, of which hardly any could be inactive."""
    aux_weight: float = Field(1 / 32, ge=0)
    """Weight of the auxiliary loss, in which dead latents reconstruct the residual."""
    aux_k: int | None = Field(None, ge=1)
    """Dead latents used by the auxiliary loss; half the hidden size if None."""
    dead_after: int = Field(20_000, ge=1)
    """A latent that was not active on this many states in a row counts as dead in training."""
    learning_rate: float = Field(5e-3, gt=0)
    """Peak learning rate at batch 1,024; scaled with the square root of the batch."""
    batch_size: int = Field(1024, ge=1)
    """At most; small stores are read in smaller batches, down to 32."""
    n_samples: int = Field(4_000_000, ge=1)
    """States to train on, repeats counted; rounded to whole epochs, at most ``max_epochs``."""
    max_epochs: int = Field(50, ge=1)
    patience: int | None = Field(10, ge=1)
    """Training ends after so many epochs without a lower FVU on states of construction users that
    it does not see, and the best weights are kept; None: it sees all, and its last weights are."""
    warmup: float = Field(0.05, ge=0, lt=1)
    """Share of the steps in which the learning rate rises from 0."""
    seed: int = 0

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

    def resolved(self, width: int) -> SAEConfig:
        """The same with the defaults that depend on hidden size and activation filled in."""
        values = self.model_dump()
        n = values["n_latents"] = self.n_latents or 16 * width
        values["aux_k"] = self.aux_k or max(1, width // 2)
        weight = 0.1 if self.activation == "relu" else 1.0
        nested = (*(n // part for part in (16, 4) if n // part >= 2 * self.k), n)
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


class Codes(NamedTuple):
    """A sparse code of construction and of held-out cases, ``(n, n_latents)`` each."""

    construction: scipy.sparse.csr_matrix
    heldout: scipy.sparse.csr_matrix


class SAE(nn.Module):
    """Sparse autoencoder on centred, scaled hidden states.

    With ``x = (h - mean) / scale``: ``z = TopK(ReLU(W_enc (x - b_dec) + b_enc))`` and
    ``x_hat = z W_dec + b_dec`` (RecSAE, section 3); other activations than TopK are in
    :mod:`recsae.sae.variants`. ``mean (d,)`` and the scalar ``scale`` are kept in the checkpoint,
    so every method takes and gives raw hidden states.

    >>> import torch
    >>> sae = SAE(make_config(n_latents=6, k=2), width=3)
    >>> sae.encode(torch.ones(4, 3)).shape
    torch.Size([4, 6])
    """

    mean: torch.Tensor
    scale: torch.Tensor
    # what some variants keep besides
    threshold: torch.Tensor
    log_threshold: torch.Tensor
    density: torch.Tensor
    penalty: torch.Tensor

    def __init__(self, config: SAEConfig, width: int) -> None:
        super().__init__()
        self.config = config.resolved(width)
        n_latents = self.config.n_latents or 0
        generator = torch.Generator().manual_seed(self.config.seed)
        directions = F.normalize(torch.randn(n_latents, width, generator=generator), dim=1)
        self.W_enc = nn.Parameter(directions.clone())
        self.b_enc = nn.Parameter(torch.zeros(n_latents))
        self.W_dec = nn.Parameter(directions.clone())
        self.b_dec = nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(()))
        self.variant = VARIANTS[self.config.activation]
        self.variant.prepare(self)

    @property
    def n_latents(self) -> int:
        """Number of latents."""
        return int(self.W_dec.shape[0])

    @property
    def width(self) -> int:
        """Hidden size d."""
        return int(self.W_dec.shape[1])

    def fit_input(self, store: ActivationStore) -> None:
        """Take mean and scale from a store: afterwards ``E ||x||^2 = d``."""
        mean = torch.from_numpy(store.mean())
        if not bool(torch.isfinite(mean).all()):
            raise NotEnoughData("Some hidden states are NaN or infinite: nothing can be learned.")
        variance = store.variance()
        if variance <= 0:
            raise NotEnoughData("All hidden states are the same: there is nothing to learn.")
        self.mean.copy_(mean)
        self.scale.fill_((variance / self.width) ** 0.5)

    def normalised(self, states: torch.Tensor) -> torch.Tensor:
        """Raw states ``(n, d)`` as the SAE's input x."""
        return (states - self.mean) / self.scale

    def preactivations(self, x: torch.Tensor) -> torch.Tensor:
        """``W_enc (x - b_dec) + b_enc``, ``(n, n_latents)``."""
        return F.linear(x - self.b_dec, self.W_enc, self.b_enc)

    def encode_sparse(self, states: torch.Tensor) -> Code:
        """The active latents of raw states ``(n, d)``."""
        return self.variant.select(self, self.preactivations(self.normalised(states)))

    def encode(self, states: torch.Tensor) -> torch.Tensor:
        """Activations ``(n, n_latents)`` of raw states ``(n, d)``; most are 0."""
        code = self.encode_sparse(states)
        dense = code.values.new_zeros(len(states), self.n_latents)
        return dense.scatter_add(1, code.indices, code.values)

    def decode(self, activations: torch.Tensor) -> torch.Tensor:
        """Raw states ``(n, d)`` from activations ``(n, n_latents)``."""
        return self.mix(activations) * self.scale + self.mean

    def mix(self, activations: torch.Tensor) -> torch.Tensor:
        """Normalised states ``(n, d)`` from activations ``(n, n_latents)``."""
        return activations @ self.W_dec + self.b_dec

    def decode_sparse(self, code: Code) -> torch.Tensor:
        """Raw states from active latents."""
        return self._decode_sparse(code) * self.scale + self.mean

    def _decode_sparse(self, code: Code) -> torch.Tensor:
        mixed = F.embedding_bag(
            code.indices, self.W_dec, per_sample_weights=code.values, mode="sum"
        )
        return mixed + self.b_dec

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Reconstruction of raw states ``(n, d)``."""
        return self.decode_sparse(self.encode_sparse(states))

    def directions(self) -> torch.Tensor:
        """``(n_latents, d)`` what one unit of each latent adds to a raw state."""
        return self.W_dec.detach() * self.scale

    def save(self, folder: Path, extra: dict[str, Any] | None = None) -> None:
        """Write ``cfg.json`` and ``sae.safetensors`` into a folder."""
        from safetensors.torch import save_file

        weights = {k: v.detach().cpu().contiguous() for k, v in self.state_dict().items()}
        write_atomically(folder / WEIGHTS, lambda p: save_file(weights, p))
        meta = {"config": self.config.model_dump(), "width": self.width, **(extra or {})}
        write_json(folder / CONFIG, meta)

    @classmethod
    def load(cls, folder: Path) -> SAE:
        """Read an SAE that was saved; ArtifactMismatch if the files are damaged or do not fit."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        meta = read_json(Path(folder) / CONFIG)
        try:
            sae = cls(make_config(**meta["config"]), int(meta["width"]))
            sae.load_state_dict(load_file(Path(folder) / WEIGHTS))
        except (
            *(OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError),
            InvalidInput,
        ) as error:
            raise ArtifactMismatch(
                f"The SAE in {folder} is damaged or of another version ({error})."
            ) from error
        return sae.eval()


def sparse_code(
    encode: Callable[[torch.Tensor], Code],
    states: NDArray[np.float32],
    n_latents: int,
    ranks: Ranks = ALONE,
) -> scipy.sparse.csr_matrix:
    """Run an ``encode_sparse`` over states ``(n, d)``: ``(n, n_latents)``, zeros not stored."""
    import numpy as np
    import scipy.sparse

    rows = ranks.share(-(-len(states) // BATCH))  # whole batches: all have the same bits
    parts = []
    with torch.no_grad():
        for part in torch.from_numpy(states[rows.start * BATCH : rows.stop * BATCH]).split(BATCH):
            code = encode(part)
            active = code.values > 0
            index = code.indices[active].numpy().astype(np.int32)
            parts.append((code.values[active].numpy(), index, active.sum(1).numpy()))
    values, indices, counts = (
        np.concatenate(column)
        for column in zip(*(part for own in ranks.gather(parts) for part in own), strict=True)
    )
    bounds = np.r_[0, counts.cumsum()]
    matrix = scipy.sparse.csr_matrix((values, indices, bounds), (len(states), n_latents))
    matrix.sort_indices()
    return matrix
