"""The command steer: concepts turned, and lists and metrics with and without that."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recsae.cli.shared.console import PATH, show_json
from recsae.cli.shared.matching import how_matched, migrated_row
from recsae.cli.shared.opened import opened
from recsae.cli.shared.options import (
    all_option,
    device_option,
    json_option,
    sequence_option,
    trust_option,
)
from recsae.cli.shared.steered import show_check, show_effect, show_list_change, show_migrated
from recsae.cli.shared.steering import for_cohort, for_users, requested_steering
from recsae.cli.shared.tables import show_facts
from recsae.core.errors import InvalidInput
from recsae.report.words.formats import two_digits

if TYPE_CHECKING:
    from recsae.run.workspace import Workspace
    from recsae.steering.effects import SteeringEffect
    from recsae.steering.files import Steering
    from recsae.steering.tuning.results import GoalEffect


@click.command()
@click.argument("folder", type=PATH)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="SETTING",
    help="'Horror=0' switches off, '203=x2' doubles, '203=1.5' sets, '203+=2sd' adds two of its "
    "standard deviations, 'Horror>=q50' raises to its median at least, '<=' caps; '@active' at the "
    "end: only where it is active. Repeatable.",
)
@click.option(
    "--with",
    "files",
    multiple=True,
    metavar="FILE",
    help="A steering file, or the name of one kept with the run; before --set. Repeatable.",
)
@click.option("--save", metavar="FILE", help="Keep all this as a steering file; a name or a path.")
@click.option(
    "--migrate", metavar="FILE", help="Carry over a steering file of the run in --from to this one."
)
@click.option("--from", "old", type=PATH, help="The run that the file of --migrate was made for.")
@click.option("--list", "listing", is_flag=True, help="The steering files kept with the run.")
@for_users
@for_cohort
@click.option(
    "--check", is_flag=True, help="Turn every verified concept: does its label say what happens?"
)
@click.option("--user", help="One user's list before and after.")
@sequence_option
@click.option("--mask-seen", is_flag=True, help="Leave out items of the history from lists.")
@all_option
@trust_option
@device_option
@json_option
def steer(
    folder: Path,
    settings: tuple[str, ...],
    files: tuple[str, ...],
    save: str | None,
    migrate: str | None,
    old: Path | None,
    listing: bool,
    users: str | None,
    cohort: str | None,
    check: bool,
    user: str | None,
    sequence: tuple[str, ...],
    mask_seen: bool,
    everything: bool,
    trust: bool,
    device: str,
    as_json: bool,
) -> None:
    """Turn concepts and see the recommendations change."""
    from recsae.steering.effects import metrics_before_after
    from recsae.steering.lists import ListChange, lists_before_after

    if listing:
        _list(folder, as_json)
        return
    if check:
        from recsae.steering.label_check import predictability

        with opened(folder, device, trust=trust) as work:
            checked = predictability(work)
        if as_json:
            show_json(checked.to_dict())
        else:
            show_check(checked, everything=everything)
        return
    _refuse_contradictions(settings, files, migrate, old, user, sequence, users, cohort)
    migrated: dict[str, Any] = {}
    with opened(folder, device, trust=trust) as work:
        steering = requested_steering(work, settings, files, users, cohort)
        if migrate is not None and old is not None:
            steering, migrated = _migrate(work, old, migrate, steering, trust)
        if user is not None or sequence:
            done: ListChange | SteeringEffect = lists_before_after(
                work, steering, user, sequence or None, mask_seen=mask_seen
            )
        else:
            done = metrics_before_after(work, steering)
    saved = {"saved": _save(steering, work, save)} if save else {}
    if as_json:
        show_json({**done.to_dict(), **saved, **migrated})
        return
    if migrated:
        show_migrated(migrated)
    if isinstance(done, ListChange):
        show_list_change(done)
    else:
        show_effect(done)
    show_facts(saved)


def _refuse_contradictions(
    settings: tuple[str, ...],
    files: tuple[str, ...],
    migrate: str | None,
    old: Path | None,
    user: str | None,
    sequence: tuple[str, ...],
    users: str | None,
    cohort: str | None,
) -> None:
    """Refuse options that say nothing, or that cannot go together."""
    if (migrate is None) != (old is None):
        raise InvalidInput("Give --migrate FILE and --from DIR together.")
    if not (settings or files or migrate):
        raise InvalidInput("Nothing is turned: give --set or --with (see --help), or --list.")
    if user is not None and sequence:
        raise InvalidInput("Give one of --user and --sequence.")
    if users is not None and cohort is not None:
        raise InvalidInput("Give one of --users and --cohort.")


def _list(folder: Path, as_json: bool) -> None:
    """``--list``: the steering files kept with the run."""
    from recsae.run.tables import load_run
    from recsae.steering.files import described, load_steering, steering_files

    load_run(folder)  # refuses what is no run
    files = {path.stem: described(load_steering(folder, path)) for path in steering_files(folder)}
    if as_json:
        show_json(files)
    elif files:
        show_facts(files)
    else:
        click.echo("No steering file is kept with this run: make one with --set ... --save NAME.")


def _migrate(
    work: Workspace, old: Path, name: str, steering: Steering, trust: bool
) -> tuple[Steering, dict[str, Any]]:
    """``--migrate``: put a steering file of another run before what was given here.

    Returns the steering, and what became of the file's latents.
    """
    from recsae.explore.migration import check_promise, migrate
    from recsae.steering.files import place

    moved = migrate(place(old, name), old, work.folder, trust=trust)
    promise = check_promise(work, moved.steering)
    both = moved.steering.interventions + steering.interventions
    intended = moved.steering if steering.users is None else steering
    rows = [migrated_row(latent) for latent in moved.latents]
    lost = [latent.name for latent in moved.latents if not latent.counterpart.latents]
    record: dict[str, Any] = {"how": how_matched(moved.matching)}
    record |= {"latents before": rows, "left out": lost}
    record["matched"] = f"{two_digits(moved.matched)} of what the file does"
    if promise is not None and moved.steering.goal is not None:
        record["goal"] = _promise(promise, moved.steering.goal.max_loss)
    goal = None if steering.interventions else moved.steering.goal
    return intended._replace(interventions=both, goal=goal), record


def _promise(effect: GoalEffect, allowed: float) -> dict[str, Any]:
    """What a steering was tuned for, measured on the run that it was carried over to."""
    return {
        "before": effect.before,
        "after": effect.after,
        "NDCG@10 kept": effect.ndcg_kept[0],
        "allowed loss": allowed,
    }


def _save(steering: Steering, work: Workspace, name: str) -> str:
    """``--save``: keep the steering as a file; returns its path."""
    from recsae.steering.files import place, save_steering

    path = place(work.folder, name)
    save_steering(steering, work.folder, path, run=work.run)
    return str(path)
