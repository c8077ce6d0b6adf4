"""The sparse autoencoder: raw hidden states in, a few active latents out, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from recsae.capture.moments import Moments
from recsae.core import layout
from recsae.core.errors import ArtifactMismatch, InvalidInput, NotEnoughData
from recsae.core.files import (
    cannot_be_read,
    read_json,
    tensor_shapes,
    write_atomically,
    write_json,
)
from recsae.core.notebook.cells import card
from recsae.core.text import one_line
from recsae.sae.codes import Code, above
from recsae.sae.config import SAEConfig, make_config
from recsae.sae.variants import VARIANTS

if TYPE_CHECKING:
    from recsae.capture.store import ActivationStore

CONFIG = layout.CONFIG_FILE
WEIGHTS = layout.WEIGHTS_FILE
GATES = "gate_weight", "gate_bound", "gate_decoder"
"""The buffers that hold the gates, 0 rows of them where there are none."""


class Gates(NamedTuple):
    """c gates of raw states, ``z = relu(weight h - bound)``, and what each adds to one."""

    weight: torch.Tensor  # (c, d)
    bound: torch.Tensor  # (c,)
    decoder: torch.Tensor  # (c, d), rows of unit length


class SAE(nn.Module):
    """Sparse autoencoder on centred, scaled hidden states, beside gates that are given.

    With ``x = (h - mean) / scale``: ``z = TopK(ReLU(W_enc (x - b_dec) + b_enc))`` and
    ``x_hat = z W_dec + b_dec`` (RecSAE, section 3); other activations than TopK are in
    :mod:`recsae.sae.variants`. ``mean (d,)`` and the scalar ``scale`` are kept in the checkpoint,
    so every method takes and gives raw hidden states.

    The first c latents are gates, if there are any: ``z = ReLU(gate_weight h - gate_bound)``, which
    training leaves as they are. The others are trained on what the gates leave of a state, ``h - z
    gate_decoder``, and are called its details.

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

    gate_weight: torch.Tensor
    gate_bound: torch.Tensor
    gate_decoder: torch.Tensor

    def __init__(self, config: SAEConfig, width: int, gates: Gates | None = None) -> None:
        super().__init__()
        self.config = config.resolved(width)
        n_details = self.config.n_latents or 0
        generator = torch.Generator().manual_seed(self.config.seed)
        directions = F.normalize(torch.randn(n_details, width, generator=generator), dim=1)
        self.W_enc = nn.Parameter(directions.clone())
        self.b_enc = nn.Parameter(torch.zeros(n_details))
        self.W_dec = nn.Parameter(directions.clone())
        self.b_dec = nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(()))
        none = Gates(torch.zeros(0, width), torch.zeros(0), torch.zeros(0, width))
        for name, value in zip(GATES, gates or none, strict=True):
            self.register_buffer(name, value.clone())
        self.variant = VARIANTS[self.config.activation]
        self.variant.prepare(self)

    @property
    def kind(self) -> str:
        """How latents are chosen, in a word."""
        return self.config.activation

    @property
    def n_latents(self) -> int:
        """Number of latents, gates and details."""
        return self.n_gates + self.n_details

    @property
    def n_gates(self) -> int:
        """Number c of gates, the first latents."""
        return int(self.gate_bound.shape[0])

    @property
    def n_details(self) -> int:
        """Number of latents that are trained."""
        return int(self.W_dec.shape[0])

    @property
    def width(self) -> int:
        """Hidden size d."""
        return int(self.W_dec.shape[1])

    def __repr__(self) -> str:
        return f"SAE({self.n_latents} latents of width {self.width}, {self.config.activation})"

    def _repr_html_(self) -> str:
        config = self.config
        facts = {
            "latents": self.n_latents,
            "of them gates": self.n_gates or None,
            "width": self.width,
            "activation": config.activation,
            "k": config.k,
            "training samples": config.n_samples,
            "seed": str(config.seed),
        }
        return card("Sparse autoencoder", facts)

    def fit_input(self, store: ActivationStore) -> None:
        """Take mean and scale from what gates leave of a store: afterwards ``E ||x||^2 = d``."""
        moments = store.moments()
        if not bool(np.isfinite(moments.mean).all()):
            raise NotEnoughData("Some hidden states are NaN or infinite: nothing can be learned.")
        if self.n_gates and moments.variance > 0:  # before the scale is known: it is 1
            shards = (torch.from_numpy(shard[:].copy()) for shard in store.shards)
            moments = Moments.merged([Moments.of(self.rest(states).numpy()) for states in shards])
        if moments.variance <= 0:
            raise NotEnoughData("All hidden states are the same: there is nothing to learn.")
        self.mean.copy_(torch.from_numpy(moments.mean))
        self.scale.fill_((moments.variance / self.width) ** 0.5)
        self.gate_weight /= self.scale  # activations are in units of the normalised states
        self.gate_bound /= self.scale

    def start_from(self, directions: torch.Tensor) -> None:
        """Let details begin as unit directions ``(n_details, d)``, encoder and decoder alike."""
        with torch.no_grad():
            self.W_enc.copy_(directions)
            self.W_dec.copy_(directions)

    def gate_preactivations(self, states: torch.Tensor) -> torch.Tensor:
        """``(n, c)`` of raw states ``(n, d)``; a gate is open where it is positive."""
        return F.linear(states, self.gate_weight, -self.gate_bound)

    def rest(self, states: torch.Tensor) -> torch.Tensor:
        """What gates leave of raw states ``(n, d)``."""
        if not self.n_gates:
            return states
        return states - self.gate_preactivations(states).relu() @ self.gate_decoder * self.scale

    def normalised(self, states: torch.Tensor) -> torch.Tensor:
        """What gates leave of raw states ``(n, d)``, as the input x of the details."""
        return (self.rest(states) - self.mean) / self.scale

    def detail_preactivations(self, x: torch.Tensor) -> torch.Tensor:
        """``W_enc (x - b_dec) + b_enc``, ``(n, n_details)``."""
        return F.linear(x - self.b_dec, self.W_enc, self.b_enc)

    def preactivations(self, states: torch.Tensor) -> torch.Tensor:
        """Pre-activations ``(n, n_latents)`` of raw states ``(n, d)``."""
        details = self.detail_preactivations(self.normalised(states))
        if not self.n_gates:
            return details
        return torch.cat([self.gate_preactivations(states), details], 1)

    def encode_sparse(self, states: torch.Tensor) -> Code:
        """The active latents of raw states ``(n, d)``."""
        details = self.variant.select(self, self.detail_preactivations(self.normalised(states)))
        if not self.n_gates:
            return details
        gates = above(self.gate_preactivations(states), 0.0)
        return Code(
            torch.cat([gates.values, details.values], 1),
            torch.cat([gates.indices, details.indices + self.n_gates], 1),
        )

    def encode(self, states: torch.Tensor) -> torch.Tensor:
        """Activations ``(n, n_latents)`` of raw states ``(n, d)``; most are 0."""
        code = self.encode_sparse(states)
        dense = code.values.new_zeros(len(states), self.n_latents)
        return dense.scatter_add(1, code.indices, code.values)

    def encode_plainly(self, states: torch.Tensor) -> torch.Tensor:
        """What ``encode`` gives, by torch's operations alone, so that they can be recorded."""
        details = self.variant.dense(self, self.detail_preactivations(self.normalised(states)))
        return torch.cat([self.gate_preactivations(states).relu(), details], 1)

    def decode(self, activations: torch.Tensor) -> torch.Tensor:
        """Raw states ``(n, d)`` from activations ``(n, n_latents)``."""
        gates, details = activations.split([self.n_gates, self.n_details], 1)
        mixed = self.mix(details)
        if self.n_gates:
            mixed = mixed + gates @ self.gate_decoder
        return mixed * self.scale + self.mean

    def mix(self, details: torch.Tensor) -> torch.Tensor:
        """Normalised states ``(n, d)`` from the details' activations ``(n, n_details)``."""
        return details @ self.W_dec + self.b_dec

    def decode_sparse(self, code: Code) -> torch.Tensor:
        """Raw states from active latents."""
        return self._weighted_sum(code, self._decoder()) * self.scale + self.mean

    def mix_sparse(self, details: Code) -> torch.Tensor:
        """Normalised states from active details."""
        return self._weighted_sum(details, self.W_dec)

    def _decoder(self) -> torch.Tensor:
        """``(n_latents, d)`` of gates and details; rows have unit length."""
        return torch.cat([self.gate_decoder, self.W_dec]) if self.n_gates else self.W_dec

    def _weighted_sum(self, code: Code, decoder: torch.Tensor) -> torch.Tensor:
        mixed = F.embedding_bag(code.indices, decoder, per_sample_weights=code.values, mode="sum")
        return mixed + self.b_dec

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Reconstruction of raw states ``(n, d)``."""
        return self.decode_sparse(self.encode_sparse(states))

    def decoder(self) -> torch.Tensor:
        """``(n_latents, d)`` what one unit of each latent adds to the reconstruction of a raw
        state."""
        return self._decoder().detach() * self.scale

    def directions(self) -> torch.Tensor:
        """``(n_latents, d)`` what is added to a raw state to turn each latent by one unit.

        Of a detail its row of :meth:`decoder`. Of a gate the smallest change of the state by which
        the gate reads one unit more, ``gate_weight / |gate_weight|^2``: gates overlap, so that what
        each adds besides the others is not what goes with its statement.
        """
        details = self.W_dec.detach() * self.scale
        if not self.n_gates:
            return details
        squared = self.gate_weight.square().sum(1, keepdim=True).clamp_min(1e-24)
        return torch.cat([self.gate_weight / squared, details])

    def save(self, folder: str | Path, extra: dict[str, Any] | None = None) -> None:
        """Write ``cfg.json`` and ``sae.safetensors`` into a folder."""
        from safetensors.torch import save_file

        weights = {k: v.detach().cpu().contiguous() for k, v in self.state_dict().items()}
        write_atomically(Path(folder) / WEIGHTS, lambda p: save_file(weights, p))
        size = {"width": self.width, "n_gates": self.n_gates}
        write_json(
            Path(folder) / CONFIG, {"config": self.config.model_dump(), **size, **(extra or {})}
        )

    @classmethod
    def load(cls, folder: str | Path) -> SAE:
        """Read an SAE that was saved; ArtifactMismatch if the files are damaged or do not fit."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        meta = read_json(Path(folder) / CONFIG)
        if isinstance(meta, dict) and "own" in meta:
            raise ArtifactMismatch(
                f"The SAE in {folder} is one that the run was given, {meta['own']}, whose code is "
                f"not here: in Python, recsae.open_run({str(Path(folder).parent)!r}, sae=...) "
                "takes it again, and steers, explains and tunes."
            )
        try:
            with (Path(folder) / WEIGHTS).open("rb"):
                pass
        except OSError as error:
            raise cannot_be_read(Path(folder) / WEIGHTS, error) from error
        try:
            config = make_config(**meta["config"])
            _check_sizes(config, meta, tensor_shapes(Path(folder) / WEIGHTS))
            weights = load_file(Path(folder) / WEIGHTS)
            gates = Gates(*(weights[name] for name in GATES))
            sae = cls(config, meta["width"], gates)
            sae._refuse_others(weights)
            sae.load_state_dict(weights)
        except (
            *(OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError),
            InvalidInput,
        ) as error:
            raise ArtifactMismatch(
                f"The SAE in {folder} is damaged or of another version ({one_line(str(error))})."
            ) from error
        return sae.eval()

    def _refuse_others(self, weights: dict[str, torch.Tensor]) -> None:
        """Raise ValueError for weights that this SAE cannot have."""
        for name, own in self.state_dict().items():
            found = weights[name]
            if found.dtype != own.dtype or found.shape != own.shape:
                raise ValueError(
                    f"{name} is {tuple(found.shape)} {found.dtype}, not {tuple(own.shape)} "
                    f"{own.dtype}"
                )
            if not bool(torch.isfinite(found).all()):
                raise ValueError(f"{name} is not finite everywhere")


def _check_sizes(
    config: SAEConfig, meta: dict[str, Any], shapes: dict[str, tuple[int, ...]]
) -> None:
    """Refuse a configuration that asks for more than its weights are, before it is made."""
    (n_latents, width), (n_gates,) = shapes["W_dec"], shapes["gate_bound"]
    stated = (meta["width"], meta["n_gates"], config.resolved(width).n_latents)
    if stated != (width, n_gates, n_latents):
        raise ValueError(
            f"{CONFIG} speaks of {stated[2]} latents and {stated[1]} gates of width {stated[0]}, "
            f"the weights are {n_latents} and {n_gates} of width {width}"
        )
    if shapes["gate_weight"] != (n_gates, width) or shapes["gate_decoder"] != (n_gates, width):
        raise ValueError("the gates have other sizes than their bounds")
