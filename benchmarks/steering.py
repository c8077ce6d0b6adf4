"""Steering by goal: every value of an attribute, by the method that reaches most.

``python benchmarks/steering.py RUN --attribute categories`` with the folder of a finished ``recsae
run``. Prints what is recommended and reached at the allowed loss of NDCG@10, what each method
reaches, what latents add behind a retriever, and the areas under the curves; then what ``recsae
tune --popularity -`` reaches, and ``--never`` one of the values.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

NEAR = 0.003
"""A held-out loss is as it was allowed if it differs by no more than this."""


def of_goals(main: Callable[..., None]) -> click.Command:
    """A command on a run whose goals are the values of an attribute."""
    for option in (
        click.option("--limit", default=20, show_default=True, help="Most frequent values."),
        click.option("--loss", default=0.01, show_default=True, help="Of NDCG@10, at most."),
        click.option(
            "--attribute", help="Its values are the goals; default the one of most items."
        ),
        click.argument("run", type=click.Path(path_type=Path, exists=True)),
    ):
        main = option(main)
    return click.command()(main)


@of_goals
def main(run: Path, attribute: str | None, loss: float, limit: int) -> None:
    """Tune towards each value, print as it goes."""
    from recsae.run.open import open_workspace
    from recsae.steering.steps.goals import goal_of
    from recsae.steering.steps.kinds import Wishes
    from recsae.steering.tuning.tune import tune

    work = open_workspace(run)
    names = goals(work, attribute, limit)
    click.echo("| more of | share | recommended | after | times | NDCG@10 kept | seconds |")
    click.echo("|---|---:|---|---:|---|---|---:|")
    results = {}
    for name in names:
        started = time.perf_counter()
        result = tune(work, goal_of(work, Wishes(more=(name,))), loss).result
        effect, results[name] = result.effect, result
        seconds = time.perf_counter() - started
        click.echo(
            f"| {name} | {effect.before:.4f} | {result.recommended} | {effect.after:.4f} "
            f"| {_interval(effect.ratio, 2)} | {_interval(effect.ndcg_kept, 4)} | {seconds:.0f} |"
        )
    _print_reached(list(results.values()), loss)
    _print_behind(list(results.values()))
    _print_areas(results)
    _print_popularity(work)
    _print_unlearning(work, names[len(names) // 2])


def _print_reached(results: list[Any], loss: float) -> None:
    """What every method reaches at the strength that construction users allow."""
    times, kept, most = defaultdict(list), defaultdict(list), 0
    for result in results:
        reached = {one.method: one.effect for one in result.choices}
        most += reached[result.recommended].after >= max(one.after for one in reached.values())
        for method, effect in reached.items():
            times[method].append(effect.ratio[0])
            kept[method].append(effect.ndcg_kept[0])
    click.echo("\n| method | goals | times, mean | NDCG@10 kept, mean |\n|---|---:|---:|---:|")
    for method in sorted(times, key=lambda one: -np.mean(times[one])):
        click.echo(
            f"| {method} | {len(times[method])} | {np.mean(times[method]):.2f} "
            f"| {np.mean(kept[method]):.4f} |"
        )
    lost = np.array([1 - one.effect.ndcg_kept[0] for one in results])
    click.echo(
        f"\nWhat is recommended reaches most of all methods on held-out users for {most} of "
        f"{len(results)} goals. Its loss is within {NEAR:.1%} of NDCG@10 of the allowed {loss:.1%} "
        f"for {(np.abs(lost - loss) <= NEAR).sum()}, more than that for "
        f"{(lost - loss > NEAR).sum()}, less for {(loss - lost > NEAR).sum()}.\n"
    )


def _print_behind(results: list[Any]) -> None:
    """What it adds to re-ranking few candidates that latents find half of them."""
    from recsae.steering.tuning.baselines import THEN, WITHIN

    found: dict[int, list[tuple[Any, Any]]] = defaultdict(list)
    for result in results:
        both: dict[bool, dict[int, Any]] = {False: {}, True: {}}
        for one in result.methods:
            name, within, n = one.method.partition(WITHIN)
            if within:
                both[name.startswith(THEN)][int(n)] = one
        for n in both[False].keys() & both[True].keys():
            found[n].append((both[False][n], both[True][n]))
    click.echo("| behind a retriever of | goals | with latents above at 1 % | by area |")
    click.echo("|---|---:|---:|---:|")
    for n in sorted(found):
        at_loss = sum(b.at_loss[0.01] > a.at_loss[0.01] for a, b in found[n])
        by_area = sum(b.area > a.area for a, b in found[n])
        click.echo(f"| {n} | {len(found[n])} | {at_loss} | {by_area} |")
    click.echo("")


def _print_popularity(work: Any) -> None:
    from recsae.steering.steps.goals import goal_of
    from recsae.steering.steps.kinds import Wishes
    from recsae.steering.tuning.tune import tune

    result = tune(work, goal_of(work, Wishes(popularity="-")), 0.02).result
    kept = _interval(result.effect.ndcg_kept, 4)
    click.echo(f"\nLess popular items by {result.recommended}, NDCG@10 kept {kept}:\n")
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


def goals(work: Any, attribute: str | None, limit: int) -> list[str]:
    """The most frequent values of an attribute, by their full names."""
    from recsae.concepts.attributes.values import own_columns

    names = work.attributes.names
    n_items = np.asarray((work.attributes.matrix > 0).sum(0)).ravel()
    plain = own_columns(work.attributes)
    if attribute is None:
        attribute = names[max(plain, key=lambda i: n_items[i])][0]
    mine = [i for i in plain if names[i][0] == attribute]
    chosen = sorted(mine, key=lambda i: -n_items[i])[:limit]
    return [f"{attribute}: {names[i][1]}" for i in chosen]


def _print_areas(results: dict[str, Any]) -> None:
    areas = {name: {row.method: row.area for row in one.methods} for name, one in results.items()}
    moved = [{row.method: row.others_move for row in one.methods} for one in results.values()]
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
    others = {m: np.nanmean([row[m] for row in moved if m in row]) for m in methods}
    click.echo("| others move, mean | " + " | ".join(f"{others[m]:.4f}" for m in methods) + " |")


def _interval(values: tuple[float, float, float], digits: int) -> str:
    low, high = (f"{v:.{digits}f}" for v in values[1:])
    return f"{values[0]:.{digits}f} ({low} to {high})"


if __name__ == "__main__":
    main()
