"""Steering by goal: every value of an attribute, latents beside other methods, on held-out users.

``python benchmarks/steering.py RUN --attribute categories`` with the folder of a finished ``recsae
run``. Prints two tables: what is reached at the allowed loss of NDCG@10, and the areas under the
curves of all methods; then what ``recsae tune --popularity -`` reaches.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import numpy as np


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True))
@click.option("--attribute", help="Its values are the goals; default the one of most items.")
@click.option("--loss", default=0.01, show_default=True, help="Of NDCG@10, at most.")
@click.option("--limit", default=20, show_default=True, help="Most frequent values.")
def main(run: Path, attribute: str | None, loss: float, limit: int) -> None:
    """Tune towards each value, print as it goes."""
    from recsae.run.open import open_workspace
    from recsae.steering.steps.goals import goal_of
    from recsae.steering.steps.kinds import Wishes
    from recsae.steering.tuning.tune import tune

    work = open_workspace(run)
    names = _goals(work, attribute, limit)
    click.echo("| more of | share | after | times | NDCG@10 kept | seconds |")
    click.echo("|---|---:|---:|---|---|---:|")
    areas: dict[str, dict[str, float]] = {}
    ratios, moved = [], {}
    for name in names:
        started = time.perf_counter()
        result = tune(work, goal_of(work, Wishes(more=(name,))), loss, method="latents").result
        effect = result.effect
        areas[name] = {row.method: row.area for row in result.methods}
        moved[name] = {row.method: row.others_move for row in result.methods}
        ratios.append(effect.after / effect.before)
        seconds = time.perf_counter() - started
        click.echo(
            f"| {name} | {effect.before:.4f} | {effect.after:.4f} "
            f"| {_interval(effect.ratio, 2)} | {_interval(effect.ndcg_kept, 4)} | {seconds:.0f} |"
        )
    click.echo(f"\nMean of the shares' multiples: {np.mean(ratios):.2f}\n")
    _print_areas(areas, moved)
    _print_popularity(work)
    _print_unlearning(work, names[len(names) // 2])


def _print_popularity(work: Any) -> None:
    from recsae.steering.steps.goals import goal_of
    from recsae.steering.steps.kinds import Wishes
    from recsae.steering.tuning.tune import tune

    result = tune(work, goal_of(work, Wishes(popularity="-")), 0.02, method="latents").result
    kept = _interval(result.effect.ndcg_kept, 4)
    click.echo(f"\nLess popular items, NDCG@10 kept {kept}:\n")
    record = result.to_dict()
    _print_rows(record["popularity"])
    click.echo("\nAt other losses:\n")
    _print_rows(record["strengths"])
    click.echo("\nAverage popularity by other ways, at a loss of at most:\n")
    _print_rows([{k: v for k, v in row.items() if k != "curve"} for row in record["ways"]])


def _print_unlearning(work: Any, name: str) -> None:
    from recsae.steering.steps.goals import goal_of
    from recsae.steering.steps.kinds import Wishes
    from recsae.steering.tuning.tune import tune

    result = tune(work, goal_of(work, Wishes(never=(name,))), 0.05, method="latents").result
    record = result.to_dict()
    click.echo(f"\nNever {name}, what still leaks (NDCG@10 without those who go on to it):\n")
    _print_rows(record["strengths"])
    click.echo("\nOther ways, share at a loss of at most:\n")
    _print_rows([{k: v for k, v in row.items() if k != "curve"} for row in record["ways"]])
    left = f"{result.effect.after:.4f} of {name}"
    click.echo(f"\nSide effects at an allowed loss of 5 %, {left} left:\n")
    _print_rows(record["side effects"])


def _print_rows(rows: list[dict[str, Any]]) -> None:
    header = list(dict.fromkeys(key for row in rows for key in row))
    click.echo(f"| {' | '.join(header)} |\n|---|{'---:|' * (len(header) - 1)}")
    for row in rows:
        cells = (row.get(key) for key in header)
        click.echo(f"| {' | '.join(c if isinstance(c, str) else _figure(c) for c in cells)} |")


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _goals(work: Any, attribute: str | None, limit: int) -> list[str]:
    from recsae.concepts.attributes.values import own_columns

    names = work.attributes.names
    n_items = np.asarray((work.attributes.matrix > 0).sum(0)).ravel()
    plain = own_columns(work.attributes)
    if attribute is None:
        attribute = names[max(plain, key=lambda i: n_items[i])][0]
    mine = [i for i in plain if names[i][0] == attribute]
    chosen = sorted(mine, key=lambda i: -n_items[i])[:limit]
    return [f"{attribute}: {names[i][1]}" for i in chosen]


def _print_areas(areas: dict[str, dict[str, float]], moved: dict[str, dict[str, float]]) -> None:
    methods = list(dict.fromkeys(method for row in areas.values() for method in row))
    click.echo("| area under the curve | " + " | ".join(methods) + " |")
    click.echo("|---|" + "---:|" * len(methods))
    for name, row in areas.items():
        cells = [f"{row[m]:.4f}" if m in row else "" for m in methods]
        click.echo(f"| {name} | " + " | ".join(cells) + " |")
    mean = {m: np.mean([row[m] for row in areas.values() if m in row]) for m in methods}
    click.echo("| mean | " + " | ".join(f"{mean[m]:.4f}" for m in methods) + " |")
    below = {
        m: [row[m] < row[methods[0]] for row in areas.values() if m in row] for m in methods[1:]
    }
    counted = [f"{sum(below[m])} of {len(below[m])}" for m in methods[1:]]
    click.echo("| latents above | | " + " | ".join(counted) + " |")
    others = {m: np.nanmean([row[m] for row in moved.values() if m in row]) for m in methods}
    click.echo("| others move, mean | " + " | ".join(f"{others[m]:.4f}" for m in methods) + " |")


def _interval(values: tuple[float, float, float], digits: int) -> str:
    low, high = (f"{v:.{digits}f}" for v in values[1:])
    return f"{values[0]:.{digits}f} ({low} to {high})"


if __name__ == "__main__":
    main()
