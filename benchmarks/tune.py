"""Wall and CPU seconds of ``recsae tune`` towards one goal, by what it is spent on.

``python benchmarks/tune.py RUN --more NAME [--quick]`` with the folder of a finished ``recsae run``
whose checkpoint is to be trusted. The goal is tuned twice: in one thread, so that parts come one
after another, those that lie within others indented; and in as many as there are. Where other
programs want the cores, CPU seconds are worth more than the wall's.
"""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import click

PARTS = (
    "_cases",
    "_path",
    "scale_of",
    "directions_to",
    "try_methods",
    "_refined",
    "effects_at_losses",
    "steered_lists",
    "method_results",
    "choices",
)
"""Functions that ``recsae.steering.tuning.tune`` calls."""


class Clock:
    """Seconds of parts that lie within each other, in the order in which they end."""

    def __init__(self) -> None:
        self.spent: dict[tuple[str, ...], list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._inside: tuple[str, ...] = ()

    def timed(self, do: Any, name_of: Any) -> Any:
        """Return a function that does the same and notes down how long it took."""

        def timed(*arguments: Any, **options: Any) -> Any:
            outside, self._inside = self._inside, (*self._inside, name_of(*arguments))
            path, wall, cpu = self._inside, time.perf_counter(), time.process_time()
            try:
                return do(*arguments, **options)
            finally:
                self.spent[path][0] += time.perf_counter() - wall
                self.spent[path][1] += time.process_time() - cpu
                self._inside = outside

        return timed

    def watch(self, owner: Any, name: str, name_of: Any = None) -> None:
        """Time a function of a module or a class, by its own name if ``name_of`` gives no other."""
        known = name.strip("_")
        setattr(owner, name, self.timed(getattr(owner, name), name_of or (lambda *_: known)))


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True))
@click.option("--more", multiple=True, help="More of this; else less popular items.")
@click.option("--quick", is_flag=True, help="Without the curves of all methods.")
def main(run: Path, more: tuple[str, ...], quick: bool) -> None:
    """Tune once, print the seconds."""
    clock = Clock()
    opened = clock.timed(_open, lambda *_: "open")(run)
    import torch

    from recsae.steering.tuning import choice, scored, tune

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name in PARTS:
        clock.watch(tune, name)
    clock.watch(tune._Setting, "curves")
    clock.watch(choice.Trial, "of", lambda _, method: f"try {method.name}")
    clock.watch(choice.Trial, "end_of", lambda *_: "its end")
    clock.watch(choice.Trial, "whole_curve", lambda *_: "whole curve")
    clock.watch(scored.Scored, "curve", lambda _, method, *__: f"curve {method.name}")
    clock.watch(scored.Scored, "outcome", lambda _, method, *__: f"lists {method.name}")
    wishes: dict[str, Any] = {"more": more} if more else {"popularity": "-"}
    clock.timed(opened.tune, lambda *_: "tune")(**wishes, compare=not quick)
    parts = {path: list(spent) for path, spent in clock.spent.items()}
    torch.set_num_threads(threads)
    started, cpu = time.perf_counter(), time.process_time()
    opened.tune(**wishes, compare=not quick)
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    click.echo(f"{'wall':>8} {'CPU':>8}")
    for path in sorted(parts, key=lambda path: (path[0] != "open", _order(parts, path))):
        mine = parts[path]
        click.echo(f"{mine[0]:8.2f} {mine[1]:8.2f} {'  ' * (len(path) - 1)} {path[-1]}")
    click.echo(f"{wall:8.2f} {cpu:8.2f}  tune, in {threads} threads")


def _open(run: Path) -> Any:
    from recsae.finished.opened import open_run

    return open_run(run, trust=True)


def _order(parts: dict[tuple[str, ...], list[float]], path: tuple[str, ...]) -> list[int]:
    """Where a part stands: after what it is within, in the order in which parts began to end."""
    known = list(parts)
    return [known.index(path[: n + 1]) for n in range(len(path))]


if __name__ == "__main__":
    main()
