"""The sparse autoencoder: raw hidden states in, a few active latents out, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from recsae.core import layout
from recsae.core.errors import ArtifactMismatch, InvalidInput, NotEnoughData
from recsae.core.files import read_json, write_atomically, write_json
from recsae.sae.codes import Code
from recsae.sae.config import SAEConfig, make_config
from recsae.sae.variants import VARIANTS

if TYPE_CHECKING:
    from recsae.capture.store import ActivationStore

CONFIG = layout.CONFIG_FILE
WEIGHTS = layout.WEIGHTS_FILE


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
