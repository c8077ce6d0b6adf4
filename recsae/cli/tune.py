"""The command tune: a method and its strength found from a goal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from recsae.cli.shared.console import PATH, show_json
from recsae.cli.shared.options import all_option, device_option, json_option, trust_option
from recsae.cli.shared.steering import for_cohort, for_users
from recsae.core.errors import InvalidInput


class Percent(click.ParamType):  # type: ignore[type-arg]
    """A part given as ``1%`` or ``0.01``."""

    name = "part"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Between 0 and 1."""
        text = str(value).strip()
        try:
            part = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            part = -1.0
        if not 0 < part < 1:
            self.fail(f"{text!r} is no part: write e.g. 1% or 0.01", param, ctx)
        return part


@click.command()
@click.argument("folder", type=PATH)
@click.option("--more", multiple=True, metavar="NAME", help="More of an attribute or a concept.")
@click.option("--less", multiple=True, metavar="NAME", help="Less of it. Both are repeatable.")
@click.option(
    "--never",
    multiple=True,
    metavar="NAME",
    help="Unlearn it: what still leaks at each loss. Going on to it is no loss. Repeatable.",
)
@click.option(
    "--popularity",
    type=click.Choice(["-", "+"]),
    help="Less (-) or more (+) popular items.",
)
@click.option(
    "--max-ndcg-loss",
    type=Percent(),
    default="1%",
    show_default=True,
    help="How much NDCG@10 may be lost on construction users.",
)
@for_users
@for_cohort
@click.option(
    "--latents",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    help="How many latents may be turned.",
)
@click.option(
    "--method",
    metavar="NAME",
    help="Use this one, whatever reaches most: latents, re-ranking, probability, "
    "calibrated-probability, logit-adjustment, popularity-direction, latents+re-ranking, "
    "class-mean, probe or filter.",
)
@click.option(
    "--candidates",
    type=int,
    metavar="N",
    help="Re-rank within the first N items by score, as behind a retriever.",
)
@click.option("--save", metavar="FILE", help="Keep it as a steering file; a name or a path.")
@click.option("--quick", is_flag=True, help="Without the curves of all methods.")
@all_option
@trust_option
@device_option
@json_option
def tune(
    folder: Path,
    more: tuple[str, ...],
    less: tuple[str, ...],
    never: tuple[str, ...],
    popularity: str | None,
    max_ndcg_loss: float,
    users: str | None,
    cohort: str | None,
    latents: int,
    method: str | None,
    candidates: int | None,
    save: str | None,
    quick: bool,
    everything: bool,
    trust: bool,
    device: str,
    as_json: bool,
) -> None:
    """Get more or less of something, by whichever method reaches most.

    Latents, re-ranking by the attribute, both, and a supervised direction are tried on construction
    users, at most so much NDCG@10 being lost. What the best of them reaches is measured on held-out
    users, at every position of their histories, and it is what --save keeps. Beside it stand the
    curves of all methods, and of some that cannot be kept: re-ranking within 100 items, raw
    neurons, a random direction, and steering through the reconstruction.
    """
    from recsae.cli.shared.tuned import show_tuned
    from recsae.finished.opened import open_run
    from recsae.steering.files import place

    if users is not None and cohort is not None:
        raise InvalidInput("Give one of --users and --cohort.")
    if save:
        place(folder, save)  # a name that cannot be is told before the work
    tuned = open_run(folder, device=device, trust=trust).tune(
        more=more,
        less=less,
        never=never,
        popularity=popularity,
        max_ndcg_loss=max_ndcg_loss,
        users=users,
        cohort=cohort,
        n_latents=latents,
        method=method,
        candidates=candidates,
        compare=not quick,
    )
    path = tuned.steered.save(save) if save else None
    if as_json:
        show_json({**tuned.result.to_dict(), **({"saved": str(path)} if path else {})})
        return
    show_tuned(tuned.result, everything=everything)
    if path:
        click.echo(f"\nSaved: {path}")
