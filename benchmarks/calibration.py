"""Calibration to each user's own history: the error that both methods leave, on held-out users.

``python benchmarks/calibration.py RUN`` with the folder of a finished ``recsae run``. Prints a
table for each attribute: the calibration error before and after at losses of 0.5, 1 and 2 % of
NDCG@10.
"""

from __future__ import annotations

import time
from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True))
@click.option("--attribute", "attributes", multiple=True, help="Default popularity. Repeatable.")
@click.option("--candidates", type=int, help="Items to choose from.")
@click.option("--trust", is_flag=True, help="Allow unpickling the model.")
def main(run: Path, attributes: tuple[str, ...], candidates: int | None, trust: bool) -> None:
    """Calibrate by each attribute, print as it goes."""
    from recsae.run.open import open_workspace
    from recsae.steering.tuning.calibrate import calibrate

    work = open_workspace(run, trust=trust)
    for attribute in attributes or ("popularity",):
        started = time.process_time()
        result = calibrate(work, attribute, 0.01, candidates=candidates).result
        seconds = time.process_time() - started
        click.echo(f"\n{result.attribute}: {len(result.values)} values, {seconds:.0f} s of CPU\n")
        click.echo(
            "| method | loss | error before | after | times | worst quarter | NDCG@10 kept |"
        )
        click.echo("|---|---:|---:|---:|---|---|---|")
        for row in result.at_losses:
            error, worst = row.effect.error, row.effect.worst
            cells = [
                row.method,
                f"{100 * row.allowed_loss:g} %",
                f"{error.before:.3f}",
                f"{error.after:.3f}",
                _interval(error.ratio),
                _interval(worst.ratio),
                _interval(row.effect.ndcg_kept, 4),
            ]
            click.echo(f"| {' | '.join(cells)} |")
        _print_chosen(result.effect.to_dict(), result.done)


def _print_chosen(effect: dict[str, object], done: str) -> None:
    click.echo(f"\nChosen, on all held-out cases: {done}\n")
    for key, value in effect.items():
        click.echo(f"- {key}: {value}")


def _interval(values: tuple[float, float, float], digits: int = 3) -> str:
    value, low, high = (f"{one:.{digits}f}" for one in values)
    return f"{value} ({low} to {high})"


if __name__ == "__main__":
    main()
