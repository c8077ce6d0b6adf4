"""One training step of a TopK SAE as recsae, as autograd and as other libraries do it."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch.nn import functional as F

from recsae.sae.config import make_config
from recsae.sae.model import SAE
from recsae.sae.trainer import Trainer

ENDLESS = 10**12  # states, so that the learning rate stays what it is
AUX_WEIGHT = 1 / 32
NEVER = 10**12


class Size(NamedTuple):
    """Hidden size, number of latents and how many are active."""

    d: int
    n_latents: int
    k: int

    def __str__(self) -> str:
        return f"d={self.d}, {self.n_latents:,} latents, k={self.k}"

    def flop(self) -> int:
        """Of a sparse step, per state: the encoder's product, four times k columns."""
        return 2 * self.d * self.n_latents + 8 * self.k * self.d


class Peer(Protocol):
    """An SAE in training."""

    def step(self, x: torch.Tensor) -> None:
        """Learn from normalised states ``(n, d)``."""

    def reconstruct(self, x: torch.Tensor) -> torch.Tensor:
        """``(n, d)`` of ``(n, d)``."""


def initial(size: Size, **config: Any) -> SAE:
    """The SAE that everything starts from: tied, rows of length 1."""
    values = {"activation": "topk", "n_latents": size.n_latents, "k": size.k, **config}
    return SAE(make_config(**values), size.d)


class Recsae:
    """recsae's own step.

    With ``auxiliary``, latents that did not fire in a batch count as dead, so that the auxiliary
    loss has work in every step; otherwise none is ever dead, as in the libraries' first steps.
    """

    def __init__(self, size: Size, rate: float, batch: int, auxiliary: bool = False) -> None:
        config = {
            "learning_rate": rate * math.sqrt(1024 / batch),
            "batch_size": batch,
            "warmup": 0.0,
            "dead_after": 1 if auxiliary else NEVER,
            "aux_weight": AUX_WEIGHT if auxiliary else 0.0,
        }
        self.sae = initial(size, **config)
        self.trainer = Trainer(self.sae, ENDLESS)
        self.step = self.trainer.train_step

    @torch.no_grad()
    def reconstruct(self, x: torch.Tensor) -> torch.Tensor:
        """Mean 0 and scale 1: raw states are normalised ones."""
        return self.sae(x)


class Autograd:
    """The reference algorithm from the equations of RecSAE (arXiv 2411.06112), section 3.

    ``z = TopK(ReLU(W_enc (x - b) + b_enc))``, ``x_hat = z W_dec + b``, mean squared error, the
    residual from dead latents as auxiliary loss; dense products, ``torch.topk``, Adam as torch
    chooses it.
    """

    def __init__(self, size: Size, rate: float, batch: int, auxiliary: bool = False) -> None:
        self.k, self.auxiliary = size.k, auxiliary
        start = initial(size)
        self.W_enc, self.b_enc, self.W_dec, self.b = (
            p.detach().clone().requires_grad_()
            for p in (start.W_enc, start.b_enc, start.W_dec, start.b_dec)
        )
        self.idle = torch.zeros(size.n_latents, dtype=torch.int64)
        parameters = [self.W_enc, self.b_enc, self.W_dec, self.b]
        self.optimiser = torch.optim.Adam(parameters, lr=rate)

    def _code(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pre = F.linear(x - self.b, self.W_enc, self.b_enc).relu()
        return pre, keep_largest(pre, self.k)

    def step(self, x: torch.Tensor) -> None:
        """Forward, backward, Adam, decoder rows of length 1, idle latents counted."""
        pre, z = self._code(x)
        x_hat = z @ self.W_dec + self.b
        loss = (x_hat - x).square().mean()
        fired = (z > 0).any(0)
        self.idle = torch.where(fired, 0, self.idle + len(x))
        if self.auxiliary and not bool(fired.all()):
            residual = (x - x_hat).detach()
            dead = pre.masked_fill(fired, 0)
            aux_k = min(x.shape[1] // 2, int((~fired).sum()))
            guess = keep_largest(dead, aux_k) @ self.W_dec
            loss = loss + AUX_WEIGHT * (guess - residual).square().sum() / residual.square().sum()
        self.optimiser.zero_grad()
        loss.backward()
        unit_decoder(self.W_dec, self.optimiser.step)

    @torch.no_grad()
    def reconstruct(self, x: torch.Tensor) -> torch.Tensor:
        """By the dense code."""
        return self._code(x)[1] @ self.W_dec + self.b


def keep_largest(pre: torch.Tensor, k: int) -> torch.Tensor:
    """All but the k largest entries of each row ``(n, m)`` set to 0."""
    best = pre.topk(k, dim=1)
    return torch.zeros_like(pre).scatter(1, best.indices, best.values)


def unit_decoder(W_dec: torch.Tensor, update: Callable[[], Any]) -> None:
    """Update without the gradient along each row ``(m, d)``; then rows have length 1 again."""
    with torch.no_grad():
        if W_dec.grad is not None:
            W_dec.grad -= (W_dec.grad * W_dec).sum(1, keepdim=True) * W_dec
        update()
        W_dec.copy_(F.normalize(W_dec, dim=1))


class SaeLens:
    """sae-lens: TopKTrainingSAE in its own SAETrainer, which clips gradients."""

    def __init__(self, size: Size, rate: float, batch: int) -> None:
        from sae_lens import SAETrainer, TopKTrainingSAE, TopKTrainingSAEConfig
        from sae_lens.config import SAETrainerConfig

        self.sae = TopKTrainingSAE(
            TopKTrainingSAEConfig(k=size.k, d_in=size.d, d_sae=size.n_latents)
        )
        start = initial(size)
        self.sae.W_enc.data = start.W_enc.data.T.contiguous()
        self.sae.W_dec.data = start.W_dec.data.clone()
        config = SAETrainerConfig(ENDLESS, batch, lr=rate, lr_end=rate)
        self.trainer = SAETrainer(config, self.sae, iter(()))

    def step(self, x: torch.Tensor) -> None:
        """As ``SAETrainer.fit`` does it, without its progress bar and logs."""
        self.trainer.step(x)
        self.trainer.n_training_steps += 1

    @torch.no_grad()
    def reconstruct(self, x: torch.Tensor) -> torch.Tensor:
        """By its forward."""
        return self.sae(x)


class DictionaryLearning:
    """dictionary_learning: its TopKTrainer, which clips gradients."""

    def __init__(self, size: Size, rate: float, batch: int) -> None:
        from dictionary_learning.trainers.top_k import TopKTrainer

        self.trainer = TopKTrainer(
            steps=ENDLESS, activation_dim=size.d, dict_size=size.n_latents, k=size.k, layer=0,
            lm_name="", lr=rate, warmup_steps=0, device="cpu",
        )  # fmt: skip
        start = initial(size)
        self.trainer.ae.encoder.weight.data = start.W_enc.data.clone()
        self.trainer.ae.decoder.weight.data = start.W_dec.data.T.contiguous()
        self.n_steps = 0

    def step(self, x: torch.Tensor) -> None:
        """From the second step on: the first one sets the decoder's bias to a median."""
        self.n_steps += 1
        self.trainer.update(self.n_steps, x)

    @torch.no_grad()
    def reconstruct(self, x: torch.Tensor) -> torch.Tensor:
        """By its forward."""
        return self.trainer.ae(x)


class Overcomplete:
    """overcomplete: TopKSAE, which has no decoder bias, in the steps of its ``train_sae``."""

    def __init__(self, size: Size, rate: float, batch: int) -> None:
        without_vision("overcomplete")
        from overcomplete.sae import TopKSAE
        from overcomplete.sae.trackers import DeadCodeTracker

        self.sae = TopKSAE(size.d, size.n_latents, top_k=size.k)
        start = initial(size)
        self.sae.encoder.final_block[0].weight.data = start.W_enc.data.clone()
        self.sae.encoder.final_block[0].bias.data.zero_()
        self.sae.dictionary._weights.data = start.W_dec.data.clone()
        self.sae.train()
        self.dead = DeadCodeTracker(size.n_latents, "cpu")
        self.optimiser = torch.optim.Adam(self.sae.parameters(), lr=rate, fused=True)

    def step(self, x: torch.Tensor) -> None:
        """Mean squared error, clipped gradients, the caller's Adam."""
        self.optimiser.zero_grad()
        _, z, x_hat = self.sae(x)
        self.dead.update(z)
        (x - x_hat).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(self.sae.parameters(), 1.0)
        self.optimiser.step()

    @torch.no_grad()
    def reconstruct(self, x: torch.Tensor) -> torch.Tensor:
        """By its forward."""
        return self.sae(x)[2]


class Sparsify:
    """sparsify: SparseCoder in the steps of its trainer, but with Adam in one piece.

    Its trainer's own choices of optimiser are sign descent, Muon and Adam of 8 bits.
    """

    def __init__(self, size: Size, rate: float, batch: int) -> None:
        from sparsify.config import SparseCoderConfig
        from sparsify.sparse_coder import SparseCoder

        self.sae = SparseCoder(size.d, SparseCoderConfig(num_latents=size.n_latents, k=size.k))
        start = initial(size)
        self.sae.encoder.weight.data = start.W_enc.data.clone()
        self.sae.W_dec.data = start.W_dec.data.clone()
        self.idle = torch.zeros(size.n_latents, dtype=torch.int64)
        self.optimiser = torch.optim.Adam(self.sae.parameters(), lr=rate, fused=True)

    def step(self, x: torch.Tensor) -> None:
        """FVU, decoder rows of length 1, idle latents counted."""
        out = self.sae(x, dead_mask=self.idle > NEVER)
        (out.fvu + AUX_WEIGHT * out.auxk_loss).backward()
        fired = torch.zeros(len(self.idle), dtype=torch.bool)
        fired[out.latent_indices.flatten()] = True
        self.idle += len(x)
        self.idle[fired] = 0
        self.sae.remove_gradient_parallel_to_decoder_directions()
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.sae.set_decoder_norm_to_unit_norm()

    @torch.no_grad()
    def reconstruct(self, x: torch.Tensor) -> torch.Tensor:
        """By its forward."""
        return self.sae(x).sae_out


def without_vision(name: str) -> None:
    """Make a package's modules importable one by one, without what its ``__init__`` imports.

    overcomplete's imports vision models, whose wheels want a torch for CUDA.
    """
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ImportError(name)
    if name not in sys.modules:
        sys.modules[name] = importlib.util.module_from_spec(spec)


LIBRARIES: dict[str, tuple[str, Callable[[Size, float, int], Peer]]] = {
    "sae-lens": ("sae-lens", SaeLens),
    "dictionary_learning": ("dictionary-learning", DictionaryLearning),
    "overcomplete": ("overcomplete", Overcomplete),
    "sparsify": ("eai-sparsify", Sparsify),
}
"""Name in the table: the distribution and what does the step."""
