"""What the SAE beside the core should be: how many latents, how many active, of which kind.

``python benchmarks/details.py RUN`` with the folder of a finished ``recsae run``. Trains on the
run's construction states beside its core, one setting after another, and prints for held-out users:
NDCG@10 kept, active latents, FVU, the F1 of labels weighted by activations (of all latents, and of
those that were found), verified ones among these, and the share of the details, counted and by
activations, that the same training on half of the users and with another seed has too (correlation
above .7).
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import numpy as np
import torch

from recsae.concepts.dictionary import ConceptDictionary
from recsae.concepts.status import VERIFIED
from recsae.core import columns as C
from recsae.evaluation.scoring import measure_concepts
from recsae.pipeline.stages.stability import half_of
from recsae.run.active import ndcg_kept
from recsae.run.open import open_workspace
from recsae.run.workspace import Workspace, gates_of
from recsae.sae.codes import Codes, sparse_code
from recsae.sae.matching import ALIKE
from recsae.sae.model import SAE
from recsae.sae.quality import quality
from recsae.sae.train import train_sae

SAMPLES = 1_000_000
MAX_ALIKE = 20_000  # held-out cases on which activations are correlated
MIN_ACTIVE = 10  # of those, for a detail to be looked for


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True))
@click.option("--samples", default=SAMPLES, show_default=True)
@click.option("--trust", is_flag=True, help="Open the checkpoint although it may run code.")
def main(run: Path, samples: int, trust: bool) -> None:
    """Vary one setting of the run's SAE at a time."""
    work = open_workspace(run, trust=trust)
    base = work.sae.config.model_copy(update={"n_samples": samples})
    click.echo(
        "| setting | NDCG kept | L0 | FVU | label quality | of found | verified of found | "
        "come back | by activation | CPU s |"
    )
    click.echo("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name, change, from_seed in _settings(base.n_latents or 0, base.k):
        config = base.model_copy(update={"prefixes": None, **change})
        with _start(from_seed):
            click.echo("| " + " | ".join([name, *_row(work, config)]) + " |")


def _settings(latents: int, k: int) -> list[tuple[str, dict[str, Any], bool]]:
    """Name, what differs from the run's configuration, and whether the seed says where to start."""
    return [
        (f"{latents} latents, k = {k}", {}, False),
        ("random start", {}, True),
        *(
            (f"{latents // part} latents", {"n_latents": latents // part}, False)
            for part in (2, 4, 8)
        ),
        *((f"k = {other}", {"k": other}, False) for other in (4, 8, 16, 32) if other != k),
        *((kind, {"activation": kind}, False) for kind in ("topk", "batch_topk")),
        ("a 16th as well", {"prefixes": (latents // 16, latents // 4, latents)}, False),
    ]


def _start(from_seed: bool) -> AbstractContextManager[Any]:
    """Let trainings begin at the directions that the seed gives."""
    if not from_seed:
        return nullcontext()
    return patch("recsae.sae.train.starting_directions", lambda sae, *_: sae.W_dec.detach().clone())


def _row(work: Workspace, config: Any) -> list[str]:
    started = time.process_time()
    c, store = work.sae.n_gates, work.construction_store
    sae = _trained(work, store, config)
    codes = Codes(
        *(
            sparse_code(sae.encode_sparse, cases.states, sae.n_latents)
            for cases in (work.construction, work.heldout)
        )
    )
    seconds = time.process_time() - started
    asked = work.core.core.statements
    labels = work.labeler.label(codes.construction, work.construction, asked)
    tested = measure_concepts(
        *(codes.heldout, ConceptDictionary(labels, labels[:0]), work.heldout, work.labeler),
        hard_negatives=False,
        groups={"found": slice(c, None)},
    )
    own = _activations(sae, work, c)
    weight, often = own.sum(0), (own > 0).sum(0) >= MIN_ACTIVE
    back = []
    for half in (0, 1):
        users = half_of(store, work.recommender.sequences().users, half)
        change = {"seed": config.seed + 1 + half, "n_samples": config.n_samples // 2}
        other = _activations(_trained(work, users, config.model_copy(update=change)), work, c)
        alike = (_unit(own).T @ _unit(other)).max(1) > ALIKE
        back.append([alike[often].mean(), (weight * alike).sum() / weight.sum()])
    counted, by_weight = np.mean(back, 0)
    kept, figures = ndcg_kept(sae, work.heldout, work.head), quality(sae, work.heldout_store)
    verified = int((tested.scores[C.STATUS][c:] == VERIFIED).sum())
    return [
        *("–" if kept is None else f"{kept:.3f}", f"{figures['l0']:.1f}", f"{figures['fvu']:.3f}"),
        *(f"{tested.label_quality.value:.3f}", f"{tested.quality_of['found'].value:.3f}"),
        *(str(verified), f"{counted:.2f}", f"{by_weight:.2f}", f"{seconds:.0f}"),
    ]


def _trained(work: Workspace, store: Any, config: Any) -> SAE:
    return train_sae(store, config, gates=gates_of(work.core.core), items=work.item_table)


def _activations(sae: SAE, work: Workspace, c: int) -> np.ndarray[Any, Any]:
    """``(n, n_details)`` on some held-out cases."""
    states = work.heldout.sample(MAX_ALIKE).states
    with torch.no_grad():
        return np.asarray(sae.encode(torch.from_numpy(states))[:, c:])


def _unit(activations: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    centred = activations - activations.mean(0)
    return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=0), 1e-9))


if __name__ == "__main__":
    main()
