"""How near a strength comes to the loss that was allowed, on users that it was not set on.

``python benchmarks/strengths.py RUN --attribute categories`` with the folder of a finished ``recsae
run``. For every goal a strength is set on half of the construction users and the loss measured on
the other half, both ways round; held-out users have no part in it. ``off`` is the NDCG@10 that is
kept less what was allowed, in points.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import click
import numpy as np

from steering import NEAR, goals, of_goals


@of_goals
def main(run: Path, attribute: str | None, loss: float, limit: int) -> None:
    """Set strengths on one half and measure on the other, print how far they are off."""
    from recsae.run.open import open_workspace
    from recsae.steering.frontier import strength_at, up_to
    from recsae.steering.steps.goals import goal_of
    from recsae.steering.steps.kinds import Wishes
    from recsae.steering.tuning import baselines, choice, tune
    from recsae.steering.tuning.losses import FURTHEST, steadied

    work = open_workspace(run)
    cases = tune._cases(work, None, tune.IN_FULL)
    off: dict[tuple[str, str], list[float]] = defaultdict(list)
    for name in goals(work, attribute, limit):
        goal = goal_of(work, Wishes(more=(name,)))
        on_confirm = tune._Setting.of(work, goal, cases, 16, tune.IN_FULL)
        by_others = tune._popular_by_others(work, cases.fit)
        on_fit = replace(on_confirm, trying=on_confirm.maker._replace(popular=by_others))
        halves = [
            (setting, setting.scored(half, None, expects=True))
            for setting, half in ((on_confirm, cases.confirm), (on_fit, cases.fit))
        ]
        trial = on_confirm.trial(loss)
        for kind in (baselines.CALIBRATED, baselines.BY_PROBABILITY, baselines.LATENTS):
            made = [
                setting.trying.latents()
                if kind == baselines.LATENTS
                else setting.trying.re_ranking(kind)
                for setting, _ in halves
            ]
            strengths = up_to(trial.end_of(made[0]), choice.N_STRENGTHS)
            for mine, other in ((0, 1), (1, 0)):
                here, there = halves[mine][1], halves[other][1]
                points = here.curve(made[mine], strengths, FURTHEST * loss)
                for how, curve in (
                    ("as expected, times a ratio", steadied(points, loss, here.before)),
                    ("as measured", points),
                ):
                    after = there.outcome(made[other], strength_at(curve, loss))
                    kept = float(after.ndcg.sum() / there.before.ndcg.sum())
                    off[kind, how].append(kept - (1 - loss))
            for (_, half), method in zip(halves, made, strict=True):
                half.forget(method)
    click.echo(
        "| strengths set by losses | | n | off, mean | root mean square | within .3 points |"
    )
    click.echo("|---|---|---:|---:|---:|---:|")
    for (kind, how), found in off.items():
        error = np.array(found)
        click.echo(
            f"| {kind} | {how} | {len(error)} | {100 * error.mean():+.2f} "
            f"| {100 * np.sqrt(np.square(error).mean()):.2f} | {(np.abs(error) <= NEAR).sum()} |"
        )


if __name__ == "__main__":
    main()
