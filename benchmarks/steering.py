"""Steering by goal: every value of an attribute, latents beside the other ways, on held-out users.

``python benchmarks/steering.py RUN --attribute categories`` with the folder of a finished ``recsae
run``. Prints two tables: what is reached at the allowed loss of NDCG@10, and the areas under the
curves of all ways; then what ``recsae tune --popularity -`` reaches.
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
    from recsae.run.open import open_run
    from recsae.steering.tuning.goals import goal_of
    from recsae.steering.tuning.tune import tune

    work = open_run(run)
    names = _goals(work, attribute, limit)
    click.echo("| more of | share | after | times | NDCG@10 kept | seconds |")
    click.echo("|---|---:|---:|---|---|---:|")
    areas: dict[str, dict[str, float]] = {}
    ratios, moved = [], {}
    for name in names:
        started = time.perf_counter()
        found = tune(work, goal_of(work, (name,), ()), loss).found
        areas[name] = {row["way"]: row["area"] for row in found["ways"]}
        moved[name] = {row["way"]: row["others move"] for row in found["ways"]}
        ratios.append(found["after"] / found["before"])
        seconds = time.perf_counter() - started
        click.echo(
            f"| {name} | {found['before']:.4f} | {found['after']:.4f} "
            f"| {_interval(found['times'], 2)} | {_interval(found['NDCG@10 kept'], 4)} "
            f"| {seconds:.0f} |"
        )
    click.echo(f"\nMean of the shares' multiples: {np.mean(ratios):.2f}\n")
    _print_areas(areas, moved)
    _print_popularity(work)
    _print_unlearning(work, names[len(names) // 2])


def _print_popularity(work: Any) -> None:
    from recsae.steering.tuning.popularity import popularity_goal, popularity_of
    from recsae.steering.tuning.tune import tune

    counts = popularity_of(work.construction)
    goal = popularity_goal(counts, work.recommender.catalog.recommendable, more=False)
    found = tune(work, goal, 0.02).found
    click.echo(f"\nLess popular items, NDCG@10 kept {_interval(found['NDCG@10 kept'], 4)}:\n")
    _print_rows(found["popularity"])
    click.echo("\nAt other losses:\n")
    _print_rows(found["strengths"])
    click.echo("\nAverage popularity by other ways, at a loss of at most:\n")
    _print_rows([{k: v for k, v in row.items() if k != "curve"} for row in found["ways"]])


def _print_unlearning(work: Any, name: str) -> None:
    from recsae.steering.tuning.goals import goal_of
    from recsae.steering.tuning.tune import tune

    found = tune(work, goal_of(work, (), (), (name,)), 0.05).found
    click.echo(f"\nNever {name}, what still leaks (NDCG@10 without those who go on to it):\n")
    _print_rows(found["strengths"])
    click.echo("\nOther ways, share at a loss of at most:\n")
    _print_rows([{k: v for k, v in row.items() if k != "curve"} for row in found["ways"]])
    click.echo(f"\nSide effects at an allowed loss of 5 %, {found['after']:.4f} of {name} left:\n")
    _print_rows(found["side effects"])


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
    ways = list(dict.fromkeys(way for row in areas.values() for way in row))
    click.echo("| area under the curve | " + " | ".join(ways) + " |")
    click.echo("|---|" + "---:|" * len(ways))
    for name, row in areas.items():
        cells = [f"{row[way]:.4f}" if way in row else "" for way in ways]
        click.echo(f"| {name} | " + " | ".join(cells) + " |")
    mean = {way: np.mean([row[way] for row in areas.values() if way in row]) for way in ways}
    click.echo("| mean | " + " | ".join(f"{mean[way]:.4f}" for way in ways) + " |")
    below = {
        way: [row[way] < row[ways[0]] for row in areas.values() if way in row] for way in ways[1:]
    }
    counted = [f"{sum(below[way])} of {len(below[way])}" for way in ways[1:]]
    click.echo("| latents above | | " + " | ".join(counted) + " |")
    others = {way: np.nanmean([row[way] for row in moved.values() if way in row]) for way in ways}
    click.echo("| others move, mean | " + " | ".join(f"{others[w]:.4f}" for w in ways) + " |")


def _interval(values: list[float], digits: int) -> str:
    low, high = (f"{v:.{digits}f}" for v in values[1:])
    return f"{values[0]:.{digits}f} ({low} to {high})"


if __name__ == "__main__":
    main()
