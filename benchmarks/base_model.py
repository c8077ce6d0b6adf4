"""Train the demo's base model and let RecBole's own ``Trainer.evaluate`` say how good it is."""

from __future__ import annotations

import contextlib
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import torch

from recsae_recbole.boundary import recbole_boundary
from recsae_recbole.demo.train import train_sasrec

METRICS = ("recall@10", "ndcg@10", "mrr@10")
# RecBole's trainer, as it is mostly used for SASRec with cross-entropy on ml-100k
RECBOLE_TRAINER = {
    "train_batch_size": 256,
    "learning_rate": 1e-3,
    "epochs": 50,
    "stopping_step": 5,
    "hidden_dropout_prob": 0.2,
    "attn_dropout_prob": 0.2,
    "show_progress": False,
}


@click.command()
@click.option("--seed", "seeds", multiple=True, type=int, default=(2020,), show_default=True)
@click.option("--threads", type=int, help="Threads of torch; its own choice if not given.")
@click.option("--out", type=click.Path(path_type=Path), help="Keep the checkpoints in this folder.")
@click.option("--recbole-trainer", is_flag=True, help="Train with RecBole's trainer as well.")
def main(
    seeds: tuple[int, ...], threads: int | None, out: Path | None, recbole_trainer: bool
) -> None:
    """Train the demo's base model, evaluate it with RecBole, print a Markdown table.

    With --recbole-trainer (a quarter of an hour) the same architecture is also trained by RecBole's
    own trainer, which makes every prefix a sample of its own, and stands beside it.
    """
    if threads:
        torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = (out or Path(scratch)).resolve()
        rows = []
        for seed in seeds:
            path = folder / f"sasrec-{seed}.pth"
            result = train_sasrec(path, seed=seed, progress=_say)
            cells = [
                f"all positions, seed {seed}",
                f"{result.best_epoch + 1}/{len(result.history)}",
            ]
            rows.append([*cells, f"{result.seconds:.0f}", _peak_mib(), *evaluate(path)])
        if recbole_trainer:
            rows.append(_by_recbole(path))
    header = ["trained by", "best epoch / run", "seconds", "peak MiB"]
    header += [f"{split} {metric}" for split in ("valid", "test") for metric in METRICS]
    for row in (header, ["---"] * len(header), *rows):
        click.echo(f"| {' | '.join(row)} |")
    click.echo(f"\n{torch.get_num_threads()} threads, torch {torch.__version__}")


def evaluate(path: Path) -> list[str]:
    """Valid and test metrics of a checkpoint, opened and evaluated by RecBole alone."""
    with _recbole_in_scratch_folder():
        checkpoint = torch.load(path, weights_only=False)
        trainer, _, valid, test = _prepare(checkpoint["config"])
        trainer.model.load_state_dict(checkpoint["state_dict"])
        trainer.model.load_other_parameter(checkpoint["other_parameter"])
        return _metrics(trainer, valid, test)


def _by_recbole(path: Path) -> list[str]:
    with _recbole_in_scratch_folder():
        config = torch.load(path, weights_only=False)["config"]
        for key, value in RECBOLE_TRAINER.items():
            config[key] = value
        started = time.perf_counter()
        trainer, train, valid, test = _prepare(config)

        def said(epoch: int, score: float) -> None:
            _say(epoch + 1, config["epochs"], f"epochs of RecBole's trainer, valid {score:.4f}")

        trainer.fit(train, valid, verbose=False, saved=True, callback_fn=said)
        seconds = time.perf_counter() - started
        checkpoint = torch.load(trainer.saved_model_file, weights_only=False)
        trainer.model.load_state_dict(checkpoint["state_dict"])
        epochs = f"{checkpoint['epoch'] + 1}/{len(trainer.train_loss_dict)}"
        cells = ["RecBole's trainer", epochs, f"{seconds:.0f}", _peak_mib()]
        return [*cells, *_metrics(trainer, valid, test)]


@contextlib.contextmanager
def _recbole_in_scratch_folder() -> Any:
    """RecBole's trainer writes folders where it stands: let it stand where they do no harm."""
    with recbole_boundary(), tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        yield


def _prepare(config: Any) -> tuple[Any, Any, Any, Any]:
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    loaders = data_preparation(config, dataset)
    init_seed(config["seed"], config["reproducibility"])
    model = get_model(config["model"])(config, loaders[0]._dataset).to(config["device"])
    torch.autograd.set_detect_anomaly(False)  # RecBole's import has switched it on
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    return trainer, *loaders


def _metrics(trainer: Any, valid: Any, test: Any) -> list[str]:
    cells = []
    for loader in (valid, test):
        found = trainer.evaluate(loader, load_best_model=False)
        cells += [f"{found[metric]:.4f}" for metric in METRICS]
    return cells


def _peak_mib() -> str:
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}"


def _say(done: int, total: int, text: str) -> None:
    click.echo(f"{done}/{total} {text}", err=True)


if __name__ == "__main__":
    main()
