"""Three losses for the same TopK SAE: which keeps most of the recommender's lists?

``python benchmarks/losses.py RUN ...`` with folders of finished ``recsae run``s, for models whose
scores are linear in the state. Prints a table for each.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
import torch
from torch.nn import functional as F

from recsae.sae.variants.topk import TopK

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.store import ActivationStore
    from recsae.sae.config import SAEConfig
    from recsae.sae.model import SAE
    from recsae.sae.variants.base import Weights


class Squared(TopK):
    """``mean (x_hat - x)^2``: what recsae minimises."""

    name = "squared error"
    by_autograd = True


class Cosine(Squared):
    """``1 - cos(h_hat, h)`` of raw states."""

    name = "cosine"

    def fit(self, sae: Weights, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Of what a decoder gives and what it should give, the mean added again."""
        rebuilt, states = (v * sae.scale + sae.mean for v in (sae.mix(z), x))
        return 1 - F.cosine_similarity(rebuilt, states, dim=1).mean()


class OfScores(Squared):
    """``mean (E (h_hat - h))^2``, E the item table centred over items, scaled to the same size."""

    name = "squared error of scores"

    def __init__(self, metric: NDArray[np.float64]) -> None:
        values, vectors = np.linalg.eigh(metric * len(metric) / np.trace(metric))
        root = vectors * np.sqrt(np.maximum(values, 0))
        self.root = torch.from_numpy(root.astype(np.float32))

    def fit(self, sae: Weights, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The error in the coordinates in which its length is that of the scores' error."""
        error: torch.Tensor = (sae.mix(z) - x) @ self.root
        return error.square().mean()


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--ks", default="8,32", show_default=True, help="Active latents per state.")
@click.option("--samples", default=2_000_000, show_default=True, help="States trained on.")
def main(runs: tuple[Path, ...], ks: str, samples: int) -> None:
    """Train with each loss, measure on held-out users."""
    from recsae.evaluation.reconstruction import heldout_accuracy
    from recsae.recommender.score_metric import score_metric
    from recsae.run.open import open_workspace
    from recsae.sae.config import make_config
    from recsae.sae.quality import quality

    for run in runs:
        work = open_workspace(run)
        if work.head is None:
            raise click.ClickException(f"{run}: the scores are not linear in the states.")
        store, recommendable = work.construction_store, work.recommender.catalog.recommendable
        metric = score_metric(work.head, recommendable, store.width)
        described = work.recommender.describe()
        click.echo(f"\n{described['model']} on {described['dataset']}, 1,024 latents\n")
        click.echo("| k | loss | NDCG@10 kept | RBO | FVU | dead |\n|---:|---|---|---:|---:|---:|")
        for k in map(int, ks.split(",")):
            config = make_config(k=k, n_latents=1024, n_samples=samples)
            for loss in (Squared(), Cosine(), OfScores(metric)):
                sae = trained(store, config, loss)
                found = {
                    **heldout_accuracy(work.heldout, sae, work.head).to_dict(),
                    **quality(sae, work.heldout_store),
                }
                low, high = found["ndcg_kept_ci"]
                click.echo(
                    f"| {k} | {loss.name} | {found['ndcg_kept']:.4f} ({low:.4f} to {high:.4f}) | "
                    f"{found['rbo']:.3f} | {found['fvu']:.4f} | "
                    f"{100 * found['dead_fraction']:.1f} % |"
                )


def trained(store: ActivationStore, config: SAEConfig, loss: Squared) -> SAE:
    """An SAE whose loss is another one, from the same start and in the same order."""
    from recsae.sae.model import SAE
    from recsae.sae.trainer import Trainer

    sae = SAE(config, store.width)
    sae.fit_input(store)
    sae.variant = loss
    trainer = Trainer(sae, len(store))
    for epoch in range(trainer.n_epochs):
        for block in store.blocks(epoch):
            trainer.train_block(block)
    return sae.eval()


if __name__ == "__main__":
    main()
