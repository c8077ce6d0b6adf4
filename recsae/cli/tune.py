"""The command tune: a method and its strength found from a goal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recsae.cli.shared.console import PATH, show_json
from recsae.cli.shared.options import all_option, device_option, json_option, trust_option
from recsae.cli.shared.steering import for_cohort, for_users, replace_option, save_option
from recsae.core.errors import InvalidInput

if TYPE_CHECKING:
    from recsae.finished.calibrated import CalibratedSteering
    from recsae.finished.steered import TunedSteering


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
    "--calibrate",
    metavar="NAME",
    help="Instead: lists with each user's own shares of an attribute's values, or of popularity.",
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
    help="How many latents may be turned; 16 unless said.",
)
@click.option(
    "--method",
    metavar="NAME",
    help="Use this one, whatever reaches most: latents, latents-by-probability, re-ranking, "
    "probability, calibrated-probability, logit-adjustment, popularity-direction, "
    "latents+re-ranking, class-mean, probe or filter; to calibrate greedy or per-user.",
)
@click.option(
    "--candidates",
    type=int,
    metavar="N",
    help="Re-rank within the first N items by score, as behind a retriever; not with a --method "
    "that re-ranks nothing.",
)
@save_option
@replace_option
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
    calibrate: str | None,
    max_ndcg_loss: float,
    users: str | None,
    cohort: str | None,
    latents: int | None,
    method: str | None,
    candidates: int | None,
    save: str | None,
    replace: bool,
    quick: bool,
    everything: bool,
    trust: bool,
    device: str,
    as_json: bool,
) -> None:
    """Get more or less of something, by whichever method reaches most.

    Latents, re-ranking by the attribute and supervised directions are tried on construction users,
    at most so much NDCG@10 being lost. What the best of them reaches is measured on held-out users,
    at every position of their histories, and it is what --save keeps. Beside it stand the curves of
    all methods, of re-ranking within 50, 100 and 500 items with and without latents that find half
    of them, and of some that cannot be kept: raw neurons, a random direction, and steering through
    the reconstruction.

    With --calibrate each user's own history says what there should be in the user's lists: greedy
    calibrated re-ranking and a strength for each user are tried.
    """
    from recsae.cli.shared.calibrated import show_calibrated
    from recsae.cli.shared.tuned import show_tuned
    from recsae.finished.opened import open_run
    from recsae.steering.files import check_place, place
    from recsae.steering.tuning.calibrate import asked_calibration
    from recsae.steering.tuning.request import goal_request

    if users is not None and cohort is not None:
        raise InvalidInput("Give one of --users and --cohort.")
    if replace and not save:
        raise InvalidInput("--replace is for --save: give both, or neither.")
    if save:  # what cannot be is told before the work
        check_place(folder, place(folder, save), replace=replace)
    if calibrate is not None:
        request = goal_request(more, less, never, popularity, max_ndcg_loss)
        chosen = users is not None or cohort is not None
        asked_calibration(calibrate, request, method, candidates, chosen=chosen)
        calibrated = open_run(folder, device=device, trust=trust).calibrate(
            calibrate,
            max_ndcg_loss=max_ndcg_loss,
            method=method,
            candidates=candidates,
            compare=not quick,
        )
        path = calibrated.steered.save(save, replace=replace) if save else None
        _show(calibrated, path, lambda: show_calibrated(calibrated.result), as_json=as_json)
        return
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
    done = bool(tuned.steered.steering.steps)
    path = tuned.steered.save(save, replace=replace) if save and done else None
    _show(tuned, path, lambda: show_tuned(tuned.result, everything=everything), as_json=as_json)
    if save and not done:
        raise InvalidInput(
            f"Nothing was saved in {save!r}: at any strength more is lost than is allowed, so "
            "nothing is done. Allow more with --max-ndcg-loss."
        )


def _show(
    found: TunedSteering | CalibratedSteering,
    path: Path | None,
    show: Callable[[], None],
    *,
    as_json: bool,
) -> None:
    if as_json:
        show_json({**found.result.to_dict(), **({"saved": str(path)} if path else {})})
        return
    show()
    if path:
        click.echo(f"\nSaved: {path}")
