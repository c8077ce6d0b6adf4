"""The state of a training on disk, so that it can go on after every epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from recsae.core.distributed import SINGLE_PROCESS, Ranks
from recsae.core.errors import ArtifactMismatch
from recsae.core.files import digest_of_file, read_json, write_atomically, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from recsae.sae.model import SAE
    from recsae.sae.trainer import Trainer

STATE = "training.safetensors"
STATE_META = "training.json"
SAE_PART = "sae."
ADAM_PART = "adam."
BEST_PART = "best."


@dataclass
class BestWeights:
    """The weights with the lowest FVU on states that training does not see."""

    fvu: float = math.inf
    epoch: int = 0
    """Epochs after which they were the weights."""
    weights: dict[str, torch.Tensor] = field(default_factory=dict)

    def follow(self, sae: SAE, fvu: float, epoch: int) -> None:
        """Keep these weights if there were no better ones."""
        if fvu < self.fvu or not self.weights:
            self.fvu, self.epoch = fvu, epoch
            self.weights = {name: value.clone() for name, value in sae.state_dict().items()}


@dataclass
class TrainingState:
    """A training under way."""

    trainer: Trainer
    made_from: str
    """Of what states with what settings; a state of another training is not taken up."""
    best: BestWeights = field(default_factory=BestWeights)
    seconds: float = 0.0

    def save(self, folder: Path) -> None:
        """Keep everything that the next epoch depends on."""
        from safetensors.torch import save_file

        trainer = self.trainer
        tensors: dict[str, torch.Tensor] = {"idle": trainer.idle}
        for name, value in trainer.sae.state_dict().items():
            tensors[SAE_PART + name] = value.detach()
        names = [n for n, _ in trainer.sae.named_parameters()]
        for key, values in trainer.optimiser.state.items():
            for name, value in zip(names, values, strict=True):
                tensors[f"{ADAM_PART}{name}.{key}"] = value
        for name, value in self.best.weights.items():
            tensors[BEST_PART + name] = value
        tensors = {key: value.cpu().contiguous() for key, value in tensors.items()}
        epoch = {"epoch": str(trainer.epoch)}
        write_atomically(folder / STATE, lambda p: save_file(tensors, p, epoch))
        best = {"fvu": self.best.fvu, "epoch": self.best.epoch} if self.best.weights else None
        meta = {
            "made_from": self.made_from,
            "epoch": trainer.epoch,
            "step": trainer.step,
            "seconds": self.seconds,
            "fvu": trainer.fvu,
            "best": best,
            "digest": digest_of_file(folder / STATE),
        }
        write_json(folder / STATE_META, meta)

    def resume(self, folder: Path, ranks: Ranks = SINGLE_PROCESS) -> None:
        """Go on from a saved state of the same training, if there is one."""
        saved = ranks.broadcast_from_main(lambda: self._read(folder))
        if saved is None:
            return
        meta, tensors = saved
        trainer = self.trainer
        trainer.idle.copy_(tensors["idle"])
        trainer.sae.load_state_dict(_part(tensors, SAE_PART))
        names = [n for n, _ in trainer.sae.named_parameters()]
        for key, values in trainer.optimiser.state.items():
            for name, value in zip(names, values, strict=True):
                value.copy_(tensors[f"{ADAM_PART}{name}.{key}"])
        trainer.epoch, trainer.step, trainer.fvu = meta["epoch"], meta["step"], meta["fvu"]
        if meta["best"]:
            self.best = BestWeights(**meta["best"], weights=_part(tensors, BEST_PART))
        self.seconds = float(meta["seconds"])

    def _read(self, folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]] | None:
        """A state that is damaged, or half of another one, is worth nothing."""
        from safetensors import SafetensorError, safe_open

        try:
            meta: dict[str, Any] = read_json(folder / STATE_META)
            if meta.get("digest") != digest_of_file(folder / STATE):
                return None
            with safe_open(folder / STATE, framework="pt") as file:
                ours = meta["made_from"] == self.made_from
                if not ours or file.metadata()["epoch"] != str(meta["epoch"]):
                    return None
                return meta, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (ArtifactMismatch, SafetensorError, OSError):
            return None


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
