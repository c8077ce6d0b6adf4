"""Train RecBole's SASRec on any data set in RecBole's atomic files; see ``--help``."""

from __future__ import annotations

from pathlib import Path

import click
import torch

from recsae.core.errors import RecSAEError
from recsae_recbole.demo.train import train_sasrec


@click.command()
@click.argument("dataset")
@click.option("--data-path", type=click.Path(path_type=Path), help="Folder with DATASET/ in it.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Checkpoint to write.")
@click.option("--max-length", default=50, show_default=True, help="Items that the model reads.")
@click.option("--hidden-size", default=64, show_default=True)
@click.option("--layers", default=2, show_default=True)
@click.option("--heads", default=2, show_default=True)
@click.option("--inner-size", default=256, show_default=True)
@click.option("--dropout", default=0.2, show_default=True)
@click.option("--learning-rate", default=2e-3, show_default=True)
@click.option("--batch-size", default=64, show_default=True, help="Windows per step, on average.")
@click.option("--epochs", default=40, show_default=True, help="Length of the schedule.")
@click.option("--patience", default=10, show_default=True)
@click.option("--time-limit", type=float, help="Seconds; the schedule fits into them.")
@click.option("--min-interactions", default=5, show_default=True, help="Of users and of items.")
@click.option("--seed", default=2020, show_default=True)
@click.option("--threads", type=int, help="Threads of torch; its own choice if not given.")
def main(
    dataset: str,
    data_path: Path | None,
    out: Path,
    layers: int,
    heads: int,
    epochs: int,
    time_limit: float | None,
    min_interactions: int,
    threads: int | None,
    **settings: int | float,
) -> None:
    """Train RecBole's SASRec on a data set of RecBole's atomic files; save a RecBole checkpoint.

    The defaults are a middle-sized model: hidden size 64, 2 layers, the last 50 items, users and
    items with at least 5 interactions.

    \b
    python benchmarks/train_sasrec.py ml-1m --data-path DATA --out sasrec-ml-1m.pth
    reads DATA/ml-1m/ml-1m.inter
    """
    if threads:
        torch.set_num_threads(threads)
    interval = f"[{min_interactions},inf)"
    try:
        result = train_sasrec(
            out,
            dataset=dataset,
            data_path=data_path,
            n_layers=layers,
            n_heads=heads,
            max_epochs=epochs,
            time_limit_s=time_limit,
            config_overrides={
                "user_inter_num_interval": interval,
                "item_inter_num_interval": interval,
            },
            progress=lambda done, total, text: click.echo(f"{done}/{total} {text}", err=True),
            **settings,  # type: ignore[arg-type]
        )
    except RecSAEError as error:
        raise click.ClickException(str(error)) from error
    click.echo(
        f"{result.path}: {result.n_users} users, {result.n_items} items, {result.n_targets} "
        f"predictions per epoch; best epoch {result.best_epoch + 1} of {len(result.history)} "
        f"({result.stopped_by}), valid NDCG@10 {result.valid_ndcg:.4f}; "
        f"{result.seconds:.0f} s with {result.n_threads} threads"
    )


if __name__ == "__main__":
    main()
