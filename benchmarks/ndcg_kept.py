"""How much NDCG@10 survives the SAE at several k: one SAE for each k and seed, on a run's states.

``python benchmarks/ndcg_kept.py RUN`` with the folder of a finished ``recsae run``. Prints a table:
the value over all held-out positions with its 95 % interval over users, for the first seed, and the
values of all seeds; with how few of its most active latents a sequence keeps 99 % of NDCG@10 (empty
where it does not).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True))
@click.option("--ks", default="8,16,32,64", show_default=True, help="Active latents per sequence.")
@click.option("--latents", default=1024, show_default=True)
@click.option("--seeds", default=3, show_default=True)
def main(run: Path, ks: str, latents: int, seeds: int) -> None:
    """Train on the run's construction states, measure on its held-out ones."""
    from recsae.evaluation.reconstruction import heldout_accuracy
    from recsae.run.open import open_workspace
    from recsae.sae.config import make_config
    from recsae.sae.quality import quality
    from recsae.sae.train import train_sae

    work = open_workspace(run)
    if work.head is None:
        raise click.ClickException("The scores of this model are not linear in its states.")
    click.echo(
        "| k | NDCG@10 kept | all seeds | for 99 % | RBO | tau | FVU | dead | dense | seconds |"
    )
    click.echo("|---:|---|---|---:|---:|---:|---:|---:|---:|---:|")
    for k in map(int, ks.split(",")):
        first: dict[str, Any] = {}
        kept, seconds = [], 0.0
        for seed in range(seeds):
            started = time.perf_counter()
            sae = train_sae(work.construction_store, make_config(k=k, n_latents=latents, seed=seed))
            seconds += time.perf_counter() - started
            found = heldout_accuracy(work.heldout, sae, work.head).to_dict()
            kept.append(found["ndcg_kept"])
            first = first or {**found, **quality(sae, work.heldout_store)}
        low, high = first["ndcg_kept_ci"]
        click.echo(
            f"| {k} | {kept[0]:.4f} ({low:.4f} to {high:.4f}) | "
            f"{', '.join(f'{value:.4f}' for value in kept)} | {first['latents_for_99'] or ''} | "
            f"{first['rbo']:.3f} | {first['kendall']:.3f} | "
            f"{first['fvu']:.4f} | {100 * first['dead_fraction']:.1f} % | "
            f"{100 * first['dense_fraction']:.1f} % | {seconds / seeds:.0f} |"
        )


if __name__ == "__main__":
    main()
