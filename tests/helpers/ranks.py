"""What several processes do together, for test_distributed: ``ranks.py FOLDER`` in each of them.

The same functions, given :data:`SINGLE_PROCESS`, tell what one process does. ``ranks.py run ...``
is the command line in brief.
"""

import itertools
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.runs import FEWER, in_brief, planted, run_in_brief
from helpers.toy import store
from recsae.capture import store as activations
from recsae.capture.fill import capture
from recsae.cli import main
from recsae.core.distributed import SINGLE_PROCESS, ranks_of_torchrun
from recsae.core.errors import NotEnoughData
from recsae.core.files import read_json
from recsae.sae import gradients
from recsae.sae import train as training
from recsae.sae.codes import sparse_code
from recsae.sae.config import make_config
from recsae.sae.model import SAE
from recsae.sae.quality import quality
from recsae.sae.trainer import Trainer

PATHS = ("compiled", "torch")
SIZES = (1, 2, 20, 1500)
DEAD = [1, 2, 3, 4, 9]


def random_sae(**settings):
    generator = torch.Generator().manual_seed(0)
    config = make_config(n_latents=12, k=3, aux_k=2, aux_weight=10.0, **settings)
    sae = SAE(config, 6).double()
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.normal_(generator=generator)
    return sae, generator


def gradients_of(n, path, ranks, activation="topk"):
    """FVU and gradients of a batch of n states, in which five latents are dead."""
    known = gradients.kernels
    gradients.kernels = known if path == "compiled" else lambda: None
    try:
        sae, generator = random_sae(dead_after=2000, activation=activation)
        trainer = Trainer(sae, 100, ranks)
    finally:
        gradients.kernels = known
    trainer.idle[DEAD] = 5000
    with torch.no_grad():
        sae.b_enc += 20.0  # the living always win
        sae.b_enc[DEAD] -= 20.0
        fvu = trainer.gradients(torch.randn(n, 6, generator=generator, dtype=torch.float64))
    found = {name: p.grad.clone() for name, p in sae.named_parameters()}
    return {"fvu": torch.tensor(fvu), "idle": trainer.idle, **found}


def after_steps(ranks, n_steps=20):
    """Parameters after some steps of 100 states, in single precision."""
    sae = SAE(make_config(n_latents=64, k=4, dead_after=300), 16)
    trainer = Trainer(sae, 100 * n_steps, ranks)
    generator = torch.Generator().manual_seed(1)
    for _ in range(n_steps):
        trainer.train_step(torch.randn(100, 16, generator=generator))
    return {name: p.detach().clone() for name, p in sae.named_parameters()}


def trained(folder, activation, ranks, shared=False):
    """An SAE on a small store that stops early, its steps ``shared``; weights, FVU and epochs."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(12, 8))
    states = np.maximum(rng.normal(size=(1501, 12)) - 1, 0) @ directions
    made = ranks.broadcast_from_main(lambda: store(folder / "store", states, 400).folder)
    states = activations.ActivationStore(made)
    config = make_config(n_latents=24, k=2, n_samples=9_000, patience=2, activation=activation)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training, "worth_sharing", lambda *_: shared)
        sae = training.train_sae(states, config, folder / "sae", ranks=ranks)
    known = read_json(folder / "sae/cfg.json")
    figures = {"epochs": known["epochs"], **quality(sae, states, ranks)}
    figures = {name: torch.tensor(float(value)) for name, value in figures.items()}
    return {**figures, **{name: value.clone() for name, value in sae.state_dict().items()}}


def codes(n, ranks):
    """The sparse code of n states."""
    sae, _ = random_sae()
    states = np.random.default_rng(n).normal(size=(n, 6)).astype(np.float32)
    code = sparse_code(sae.float().encode_sparse, states, sae.n_latents, ranks)
    parts = {"data": code.data, "indices": code.indices, "indptr": code.indptr}
    return {name: torch.from_numpy(part) for name, part in parts.items()}


def captured(folder, ranks):
    """A store of the planted recommender's, in shards of 1,000 positions."""
    capture(planted(), np.arange(len(planted().sequences())), folder, limit=4500, ranks=ranks)


def errors_of(ranks):
    """What each process sees if one of them, the first or the last, has an error."""

    def fail():
        raise NotEnoughData("too few")

    seen = []
    last = {number: (fail if number == ranks.size - 1 else int) for number in range(ranks.size)}
    for act in (lambda: ranks.broadcast_from_main(fail), lambda: ranks.scatter(last)):
        try:
            act()
        except NotEnoughData as error:
            seen.append(str(error))
    return seen


def everything(folder, ranks):
    """All of the above, into a file of this process's own; three processes train no SAE."""
    activations.SHARD = 1000  # not on import: pytest imports every file here
    results = {
        f"gradients {n} {path}": gradients_of(n, path, ranks) for n in SIZES for path in PATHS
    }
    results["matryoshka"] = gradients_of(20, "compiled", ranks, "matryoshka")
    results["steps"] = after_steps(ranks)
    for activation in ("topk", "batch_topk") if ranks.size < 3 else ():
        results[activation] = trained(folder / activation, activation, ranks)
    if ranks.size < 3:
        results["shared"] = trained(folder / "shared", "topk", ranks, shared=True)
    results |= {f"codes {n}": codes(n, ranks) for n in (1, 2047, 5000)}
    results["errors"] = errors_of(ranks)
    captured(folder / "captured", ranks)
    torch.save(results, folder / f"{ranks.rank}.pt")


def alone(folder):
    """What one process makes."""
    before = activations.SHARD
    try:
        everything(folder, SINGLE_PROCESS)
    finally:
        activations.SHARD = before


def together(folder):
    """What several make. ``run``, if there, is a run of one process that lacks some stages."""
    with ranks_of_torchrun() as ranks:
        everything(folder, ranks)
        if (folder / "run").exists():
            run_in_brief(folder / "run", FEWER, ranks)


def command(arguments):
    """``recsae ARGUMENTS`` in brief; DIE=1 kills process 1 at its second shard.

    Process 0 is slow then, so that there is one left for it.
    """
    if "DIE" in os.environ:
        die_at(2) if os.environ["RANK"] == "1" else dawdle(1.0)
    sys.argv = ["recsae", *arguments]
    with in_brief():
        main()


def die_at(write):
    replace, number = Path.replace, itertools.count(1)

    def fatal(self, target):
        if next(number) == write:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(self, target)

    Path.replace = fatal


def dawdle(seconds):
    replace = Path.replace

    def slow(self, target):
        time.sleep(seconds if self.name.endswith(".part") and "safetensors" in self.name else 0)
        replace(self, target)

    Path.replace = slow


def act(arguments):
    command(arguments) if arguments[0] == "run" else together(Path(arguments[0]))


if __name__ == "__main__":
    act(sys.argv[1:])
