"""Along which direction a gate is turned: ``python benchmarks/knobs.py RUN``.

For each value of the items' own attributes that the core of a run has, the state of every held-out
case is moved along a direction of its gate as far as costs 1 % of NDCG@10, and the share of the
lists' items with the value is compared with that before. The directions: the gate's row of the
decoder (by ridge regression: what it adds besides the other gates), what states gain on average
with each unit of its activation, and its weight (what it reads).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

STRENGTHS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
"""How far a state is moved, in root mean squares of the states around their mean."""
LEAST_KEPT = 0.99
"""Of NDCG@10."""


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True))
@click.option("--cases", default=8_000, show_default=True, help="Held-out cases at most.")
def main(run: Path, cases: int) -> None:
    """Turn the gates of a run, print what each direction reaches."""
    from recsae.concepts.attributes.values import own_columns
    from recsae.run.open import open_workspace

    work = open_workspace(run)
    directions = _directions(work)
    own = {work.attributes.names[column] for column in own_columns(work.attributes)}
    gates: dict[tuple[str, str], list[int]] = {}
    for j, (_, attribute, name, _, negated) in enumerate(work.core.core.statements):
        if (attribute, name) in own and not negated:
            gates.setdefault((attribute, name), []).append(j)
    click.echo(f"| value | {' | '.join(directions)} |\n|---|{'---:|' * len(directions)}")
    times = []
    for value, mine in gates.items():
        row = [
            max(_reached(work, rows[j], value, cases) for j in mine) for rows in directions.values()
        ]
        if min(row) > 0:
            times.append(row)
            click.echo(f"| {': '.join(value)} | {' | '.join(f'{x:.2f}' for x in row)} |")
    logs = np.log(times)
    click.echo(f"| geometric mean | {' | '.join(f'{x:.2f}' for x in np.exp(logs.mean(0)))} |")
    for number, name in enumerate(list(directions)[:-1]):
        ahead = logs[:, -1] - logs[:, number]
        error = 1.96 * ahead.std(ddof=1) / len(ahead) ** 0.5
        low, high = np.exp([ahead.mean() - error, ahead.mean() + error])
        click.echo(f"\nThe weight reaches {low:.2f} to {high:.2f} times what {name} does.")


def _directions(work: Any) -> dict[str, NDArray[np.float64]]:
    import torch

    c, states = work.sae.n_gates, work.construction.states.astype(np.float64)
    with torch.no_grad():
        z = work.sae.gate_preactivations(torch.from_numpy(work.construction.states)).relu()
    active = z.double().numpy()
    gained = (active - active.mean(0)).T @ (states - states.mean(0))
    rows = {
        "decoder": work.sae.decoder()[:c].double().numpy(),
        "gained with it": gained,
        "weight": work.sae.directions()[:c].double().numpy(),
    }
    return {name: row / np.linalg.norm(row, axis=1, keepdims=True) for name, row in rows.items()}


def _reached(
    work: Any, direction: NDArray[np.float64], value: tuple[str, str], limit: int
) -> float:
    """The multiple of a value's share of the lists when states are moved along a direction."""
    import torch

    from recsae.recommender.lists import top_of_states
    from recsae.recommender.metrics import ndcg_of_lists

    cases, has = work.heldout.sample(limit), work.attributes.items_with(*value)
    size = np.sqrt(np.square(cases.states - cases.states.mean(0)).sum(1).mean())
    base = ndcg_of_lists(cases.top_items.astype(np.int64), cases.targets).mean()
    before = has[cases.top_items].mean()
    if not before:
        return 0.0
    kept, share = 1.0, before
    for strength in STRENGTHS:
        moved = torch.from_numpy(cases.states + np.float32(strength * size) * np.float32(direction))
        lists = top_of_states(moved, work.head, cases.catalog, history=cases.seen)
        kept_before, share_before = kept, share
        kept, share = ndcg_of_lists(lists, cases.targets).mean() / base, has[lists].mean()
        if kept < LEAST_KEPT:  # between the two steps, along a straight line
            part = max(0.0, (kept_before - LEAST_KEPT) / (kept_before - kept))
            return float((share_before + part * (share - share_before)) / before)
    return float(share / before)


if __name__ == "__main__":
    main()
