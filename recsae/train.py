"""Training an SAE on a store: seeded, resumable after every epoch, the same bits either way."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from recsae.errors import ArtifactMismatch, NotEnoughData
from recsae.files import digest_of, read_json, write_atomically, write_json
from recsae.gradients import Gradients
from recsae.sae import CONFIG, SAE, Code, SAEConfig
from recsae.topk import top_k

if TYPE_CHECKING:
    from recsae.activations import ActivationStore, Progress

STATE, STATE_META = "training.safetensors", "training.json"
DENSE_SHARE = 0.1
SMALL_PRODUCT = 1 << 18
SMALL_BATCH, STEPS_PER_EPOCH = 32, 64
"""Small stores are read in smaller batches, so that there are steps enough to learn from."""


def train_sae(
    store: ActivationStore,
    config: SAEConfig | None = None,
    folder: Path | None = None,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> SAE:
    """Train an SAE on the states of a store.

    Parameters
    ----------
    store
        States of construction users.
    config
        What to train; defaults as in RecSAE.
    folder
        Where to save the SAE, and its training state after every epoch: called again after having
        been killed, training goes on from there and ends in the same bits.

    Returns
    -------
    SAE
        In evaluation mode, on the CPU.

    Raises
    ------
    NotEnoughData
        The store has fewer states than a latent needs to be learned from.
    """
    config = (config or SAEConfig()).resolved(store.width)
    if len(store) < 2 * config.k:
        raise NotEnoughData(f"{len(store)} hidden states are too few to train an SAE on.")
    made_from = digest_of({"store": store.fingerprint, "config": config.model_dump()})
    if folder is not None and (folder / CONFIG).exists():
        if read_json(folder / CONFIG).get("made_from") == made_from:
            return SAE.load(folder)
        (folder / CONFIG).unlink()
    sae = SAE(config, store.width)
    sae.fit_input(store)
    trainer = Trainer(sae.to(device), len(store))
    started, spent = time.perf_counter(), 0.0
    if folder is not None:
        spent = trainer.resume(folder, made_from)
    for epoch in range(trainer.epoch, trainer.n_epochs):
        with _threads_for(sae):
            for block in store.blocks(seed=_mix(config.seed, epoch)):
                trainer.train_block(block.to(device))
        trainer.epoch = epoch + 1
        if folder is not None and trainer.epoch < trainer.n_epochs:
            trainer.save(folder, made_from, spent + time.perf_counter() - started)
        if progress:
            progress(trainer.step, trainer.n_steps, f"SAE steps, FVU {trainer.fvu:.3f}")
    sae = sae.cpu().eval()
    if folder is not None:
        sae.save(
            folder,
            {
                "made_from": made_from,
                "model": store.manifest["model"],
                "site": store.manifest["site"],
                "epochs": trainer.n_epochs,
                "n_activations_seen": trainer.n_epochs * len(store),
                "seconds": round(spent + time.perf_counter() - started, 2),
            },
        )
        for name in (STATE, STATE_META):
            (folder / name).unlink(missing_ok=True)
    return sae


@contextmanager
def _threads_for(sae: SAE) -> Iterator[None]:
    """One thread where products are small: more would gain little and wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if sae.n_latents * sae.width <= SMALL_PRODUCT else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _mix(seed: int, epoch: int) -> int:
    return seed * 1_000_003 + epoch


class Trainer:
    """Optimiser, schedule and dead-latent tracking of one SAE."""

    def __init__(self, sae: SAE, n_states: int) -> None:
        config = sae.config
        self.sae = sae
        self.batch_size = min(config.batch_size, max(SMALL_BATCH, n_states // STEPS_PER_EPOCH))
        self.n_epochs = min(config.max_epochs, max(1, round(config.n_samples / n_states)))
        self.n_steps = self.n_epochs * math.ceil(n_states / self.batch_size)
        self.peak = config.learning_rate * math.sqrt(self.batch_size / 1024)
        self.optimiser = torch.optim.Adam(sae.parameters(), lr=self.peak, fused=True)
        self._gradients = Gradients(sae)
        self.idle = torch.zeros(sae.n_latents, dtype=torch.int64, device=sae.W_dec.device)
        self.epoch = self.step = 0
        self.fvu = float("nan")

    def train_block(self, block: torch.Tensor) -> None:
        """One pass over states ``(m, d)`` in the order given."""
        for batch in block.split(self.batch_size):
            self.train_step(self.sae.normalised(batch))

    def train_step(self, x: torch.Tensor) -> None:
        """One step on normalised states ``(n, d)``."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.peak * self._schedule()
        with torch.no_grad():
            fvu = self.gradients(x)
            self._project_gradient()
            self.optimiser.step()
            self.sae.W_dec.copy_(F.normalize(self.sae.W_dec, dim=1))
        self.step += 1
        self.fvu = fvu if math.isnan(self.fvu) else 0.99 * self.fvu + 0.01 * fvu

    def gradients(self, x: torch.Tensor) -> float:
        """Set the gradient of the loss and the weighted auxiliary loss; return the FVU."""
        fvu = self._gradients.reconstruct(x)
        dead = self._track(self._gradients.fired, len(x))
        neglected = self.sae.variant.neglected(self.sae, dead)
        if self.sae.config.aux_weight and len(neglected):
            self._add_auxiliary(neglected, x)
        return fvu

    def _track(self, fired: torch.Tensor, n: int) -> torch.Tensor:
        """Indices of the latents that are dead after this batch, in which some have fired."""
        self.idle += n
        self.idle.masked_fill_(fired, 0)
        return torch.nonzero(self.idle > self.sae.config.dead_after).squeeze(1)

    def _add_auxiliary(self, dead: torch.Tensor, x: torch.Tensor) -> None:
        """Let the best dead latents reconstruct the residual ``x - x_hat`` (Gao et al. 2024)."""
        sae, config = self.sae, self.sae.config
        residual = self._gradients.residual(x)
        pre = F.linear(x - sae.b_dec, sae.W_enc[dead], sae.b_enc[dead])
        values, where = top_k(pre, min(config.aux_k or 1, len(dead)))
        self._gradients.add_auxiliary(Code(values.relu(), dead[where]), residual, x)

    def _schedule(self) -> float:
        """Linear warm-up, then linear decay to zero."""
        done = (self.step + 1) / self.n_steps
        warmup = self.sae.config.warmup
        if done < warmup:
            return done / warmup
        return max(0.0, (1 - done) / (1 - warmup) + 1 / self.n_steps)  # blocks end in short batches

    def _project_gradient(self) -> None:
        """Drop the part of the decoder's gradient along each direction: its length stays 1."""
        gradient, decoder = self.sae.W_dec.grad, self.sae.W_dec.detach()
        if gradient is not None:
            gradient -= (gradient * decoder).sum(1, keepdim=True) * decoder

    def save(self, folder: Path, made_from: str, seconds: float) -> None:
        """Keep everything that the next epoch depends on."""
        from safetensors.torch import save_file

        tensors: dict[str, torch.Tensor] = {"idle": self.idle.cpu()}
        for name, value in self.sae.state_dict().items():
            tensors[f"sae.{name}"] = value.detach().cpu().contiguous()
        names = [n for n, _ in self.sae.named_parameters()]
        for index, state in self.optimiser.state_dict()["state"].items():
            for key, value in state.items():
                tensors[f"adam.{names[index]}.{key}"] = torch.as_tensor(value).cpu().contiguous()
        write_atomically(
            folder / STATE, lambda p: save_file(tensors, p, {"epoch": str(self.epoch)})
        )
        meta = {"made_from": made_from, "epoch": self.epoch, "step": self.step}
        write_json(folder / STATE_META, {**meta, "seconds": seconds, "fvu": self.fvu})

    def resume(self, folder: Path, made_from: str) -> float:
        """Go on from a saved state of the same training, if there is one; seconds spent so far.

        A state that is damaged, or half of another one, is worth nothing: training begins again.
        """
        from safetensors import SafetensorError, safe_open

        try:
            meta: dict[str, Any] = read_json(folder / STATE_META)
            with safe_open(folder / STATE, framework="pt") as file:
                if meta["made_from"] != made_from or file.metadata()["epoch"] != str(meta["epoch"]):
                    return 0.0
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (ArtifactMismatch, SafetensorError, OSError):
            return 0.0
        self.idle.copy_(tensors.pop("idle"))
        weights = {k[4:]: v for k, v in tensors.items() if k.startswith("sae.")}
        self.sae.load_state_dict(weights)
        state = self.optimiser.state_dict()
        for index, (name, _) in enumerate(self.sae.named_parameters()):
            prefix = f"adam.{name}."
            state["state"][index] = {
                key.removeprefix(prefix): value
                for key, value in tensors.items()
                if key.startswith(prefix)
            }
        self.optimiser.load_state_dict(state)
        self.epoch, self.step, self.fvu = meta["epoch"], meta["step"], meta["fvu"]
        return float(meta["seconds"])


def quality(sae: SAE, store: ActivationStore) -> dict[str, float]:
    """FVU in raw space, L0, dead share and share of dense latents on a (held-out) store.

    FVU is ``sum ||h - h_hat||^2 / sum ||h - mean||^2`` with the store's own mean, over the whole
    store at once: predicting the mean gives 1. Dead: never active here. Dense: active on more
    than 10 % of the positions.
    """
    error, active = 0.0, 0
    fired = torch.zeros(sae.n_latents, dtype=torch.int64)
    with torch.no_grad():
        for shard in store.shards:
            for states in torch.from_numpy(shard[:].copy()).split(4096):
                code = sae.encode_sparse(states)
                error += float((states - sae.decode_sparse(code)).double().square().sum())
                on = code.indices[code.values > 0]
                active += len(on)
                fired += torch.bincount(on, minlength=sae.n_latents)
    n = len(store)
    return {
        "fvu": error / (store.variance() * n),
        "l0": active / n,
        "dead_fraction": float((fired == 0).float().mean()),
        "dense_fraction": float((fired > DENSE_SHARE * n).float().mean()),
    }
