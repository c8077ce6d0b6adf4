"""The command ``demo``: a small model on the data that RecBole ships, and a run on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from recsae.cli.run import make_run, ranks_of_command
from recsae.cli.shared.console import PATH, progress_bar
from recsae.cli.shared.options import trust_option
from recsae.core.limits import MAX_SEED


@click.command()
@click.option(
    "--out",
    help="Folder of the model and its run.",
    type=PATH,
    default=Path("recsae-demo"),
    show_default=True,
)
@click.option("--seed", type=click.IntRange(0, MAX_SEED), default=2020, show_default=True)
@trust_option
def demo(out: Path, seed: int, trust: bool) -> None:
    """Train a small model on ml-100k, then run everything on it.

    The data are those that RecBole ships; the model is SASRec.
    """
    from recsae.core.files import absolute
    from recsae.run.config import RunConfig
    from recsae.run.trust import is_trusted

    checkpoint = absolute(out / f"SASRec-ml-100k-{seed}.pth")
    ranks_of_command().broadcast_from_main(lambda: _demo_checkpoint(checkpoint, seed))
    # a small dictionary for a small data set: each latent needs cases enough to be tested
    config = RunConfig(checkpoint=str(checkpoint), latents=256, k=4, samples=2_000_000)
    # one that lay there already may be somebody else's
    make_run(config, out / "run", trust=trust or is_trusted(checkpoint), device="cpu")


def _demo_checkpoint(checkpoint: Path, seed: int) -> None:
    if not checkpoint.exists():
        from recsae.recommender.plugins import get_plugin
        from recsae.run.trust import remember_trust

        maker: Any = get_plugin("recbole")
        maker.check()  # refuses an installation that cannot train, before anything is said
        click.echo("Training SASRec on ml-100k (about a minute) ...", err=True)
        maker.demo_checkpoint(checkpoint, seed=seed, progress=progress_bar())
        remember_trust(checkpoint)
    click.echo(f"Checkpoint: {checkpoint}")
