"""The sparse autoencoder: raw hidden states in, a few active latents out, and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import nn
from torch.nn import functional as F

from recsae.errors import ArtifactMismatch, InvalidInput, NotEnoughData
from recsae.files import read_json, write_atomically, write_json
from recsae.topk import top_k

if TYPE_CHECKING:
    import numpy as np
    import scipy.sparse
    from numpy.typing import NDArray

    from recsae.activations import ActivationStore

CONFIG, WEIGHTS = "cfg.json", "sae.safetensors"
BATCH = 2048


class SAEConfig(BaseModel):
    """Everything that changes the numbers of a trained SAE; saved with it.

    Defaults follow RecSAE (arXiv 2411.06112): k = 8, 16 latents per hidden dimension, auxiliary
    loss weighted 1/32.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    n_latents: int | None = Field(None, ge=1)
    """Number of latents; 16 times the hidden size if None."""
    k: int = Field(8, ge=1)
    """Active latents per sequence."""
    activation: Literal["topk"] = "topk"
    aux_weight: float = Field(1 / 32, ge=0)
    """Weight of the auxiliary loss, in which dead latents reconstruct the residual."""
    aux_k: int | None = Field(None, ge=1)
    """Dead latents used by the auxiliary loss; half the hidden size if None."""
    dead_after: int = Field(200_000, ge=1)
    """A latent that was not active on this many states in a row counts as dead in training."""
    learning_rate: float = Field(5e-3, gt=0)
    """Peak learning rate at batch 1,024; scaled with the square root of the batch."""
    batch_size: int = Field(1024, ge=1)
    """At most; small stores are read in smaller batches, down to 32."""
    n_samples: int = Field(4_000_000, ge=1)
    """States to train on, repeats counted; rounded to whole epochs, at most ``max_epochs``."""
    max_epochs: int = Field(50, ge=1)
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

    def resolved(self, width: int) -> SAEConfig:
        """The same with the defaults that depend on the hidden size filled in."""
        values = self.model_dump()
        values["n_latents"] = self.n_latents or 16 * width
        values["aux_k"] = self.aux_k or max(1, width // 2)
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


class Code(NamedTuple):
    """The active latents of n states: ``values (n, k)``, 0 where fewer are, and ``indices``."""

    values: torch.Tensor
    indices: torch.Tensor


class Codes(NamedTuple):
    """A sparse code of construction and of held-out cases, ``(n, n_latents)`` each."""

    construction: scipy.sparse.csr_matrix
    heldout: scipy.sparse.csr_matrix


class SAE(nn.Module):
    """TopK sparse autoencoder on centred, scaled hidden states.

    With ``x = (h - mean) / scale``: ``z = TopK(ReLU(W_enc (x - b_dec) + b_enc))`` and
    ``x_hat = z W_dec + b_dec`` (RecSAE, section 3). ``mean (d,)`` and the scalar ``scale`` are
    kept in the checkpoint, so every method takes and gives raw hidden states.

    >>> import torch
    >>> sae = SAE(make_config(n_latents=6, k=2), width=3)
    >>> sae.encode(torch.ones(4, 3)).shape
    torch.Size([4, 6])
    """

    mean: torch.Tensor
    scale: torch.Tensor

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

    def encode_topk(self, states: torch.Tensor) -> Code:
        """The active latents of raw states ``(n, d)``."""
        return self._topk(self.preactivations(self.normalised(states)))

    def _topk(self, pre: torch.Tensor) -> Code:
        values, indices = top_k(pre, self.config.k)
        return Code(values.relu(), indices)

    def encode(self, states: torch.Tensor) -> torch.Tensor:
        """Activations ``(n, n_latents)`` of raw states ``(n, d)``; at most k per row are not 0."""
        code = self.encode_topk(states)
        dense = code.values.new_zeros(len(states), self.n_latents)
        return dense.scatter(1, code.indices, code.values)

    def decode(self, activations: torch.Tensor) -> torch.Tensor:
        """Raw states ``(n, d)`` from activations ``(n, n_latents)``."""
        return (activations @ self.W_dec + self.b_dec) * self.scale + self.mean

    def decode_topk(self, code: Code) -> torch.Tensor:
        """Raw states from active latents."""
        return self._decode_topk(code) * self.scale + self.mean

    def _decode_topk(self, code: Code) -> torch.Tensor:
        mixed = F.embedding_bag(
            code.indices, self.W_dec, per_sample_weights=code.values, mode="sum"
        )
        return mixed + self.b_dec

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Reconstruction of raw states ``(n, d)``."""
        return self.decode_topk(self.encode_topk(states))

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
    encode: Callable[[torch.Tensor], Code], states: NDArray[np.float32], n_latents: int
) -> scipy.sparse.csr_matrix:
    """Run an ``encode_topk`` over states ``(n, d)``: ``(n, n_latents)``, zeros not stored."""
    import numpy as np
    import scipy.sparse

    values, indices = [], []
    with torch.no_grad():
        for part in torch.from_numpy(states).split(BATCH):
            code = encode(part)
            values.append(code.values.numpy())
            indices.append(code.indices.numpy().astype(np.int32))
    data, columns = np.concatenate(values), np.concatenate(indices)
    bounds = np.arange(len(data) + 1, dtype=np.int64) * data.shape[1]
    matrix = scipy.sparse.csr_matrix(
        (data.ravel(), columns.ravel(), bounds), (len(data), n_latents)
    )
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix
