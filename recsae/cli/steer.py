"""The command steer: concepts turned, and lists and metrics with and without that."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recsae.cli.shared.console import LONGEST_ERROR, PATH, show_json
from recsae.cli.shared.matching import how_matched, migrated_row
from recsae.cli.shared.options import (
    all_option,
    device_option,
    json_option,
    sequence_option,
    trust_option,
    typed_sequence,
)
from recsae.cli.shared.steered import show_check, show_effect, show_list_change, show_migrated
from recsae.cli.shared.steering import for_cohort, for_users, replace_option, save_option
from recsae.cli.shared.tables import show_facts
from recsae.core.errors import ArtifactMismatch, InvalidInput
from recsae.core.llm.text import clean
from recsae.report.words.formats import two_digits

if TYPE_CHECKING:
    from recsae.finished.steered import MigratedSteering
    from recsae.steering.effects import SteeringEffect
    from recsae.steering.tuning.results import GoalEffect

HOW_TO_RUN = ("--trust", "--device", "--json", "--all")
"""Options that never change what is done."""


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
@save_option
@replace_option
@click.option(
    "--migrate", metavar="FILE", help="Carry over a steering file of the run in --from to this one."
)
@click.option("--from", "old", type=PATH, help="The run that the file of --migrate was made for.")
@click.option("--list", "listing", is_flag=True, help="The steering files kept with the run.")
@for_users
@for_cohort
@click.option("--check", is_flag=True, help="Turn every concept: does its label say what happens?")
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
    replace: bool,
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
    from recsae.finished.opened import open_run
    from recsae.steering.files import place
    from recsae.steering.lists import ListChange

    _refuse_unheeded(click.get_current_context())
    if listing:
        _list(folder, as_json)
        return
    if check:
        opened = open_run(folder, device=device, trust=trust)
        turned, checked = opened.check_obeyed(), opened.check_labels()
        if as_json:
            show_json({"obeyed": turned.to_dict(), **checked.to_dict()})
        else:
            from recsae.cli.shared.obeyed import show_obeyed

            show_obeyed(turned, everything=everything)
            show_check(checked, everything=everything)
        return
    _refuse_contradictions(settings, files, migrate, old, user, sequence, users, cohort)
    if save:
        place(folder, save)  # a name that cannot be is told before the model is opened
    run = open_run(folder, device=device, trust=trust)
    parts: list[Any] = [*map(run.load_steering, files), *settings]
    migrated: dict[str, Any] = {}
    if migrate is not None and old is not None:
        moved = run.migrate(migrate, old)
        parts, migrated = [moved.steered, *parts], _migrated(moved)
    steered = run.steer(*parts, users=users, cohort=cohort)
    if save:
        steered.check_saving(save, replace=replace)
    if user is not None or sequence:
        done: ListChange | SteeringEffect = steered.lists(
            user, typed_sequence(sequence), mask_seen=mask_seen
        )
    else:
        done = steered.metrics()
    saved = {"saved": str(steered.save(save, replace=replace))} if save else {}
    if as_json:
        show_json({**done.to_dict(), **saved, **migrated})
        return
    if migrated:
        show_migrated(migrated, everything=everything)
    if isinstance(done, ListChange):
        show_list_change(done)
    else:
        show_effect(done, everything=everything)
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


def _refuse_unheeded(ctx: click.Context) -> None:
    """Refuse options beside which others that are given say nothing."""
    typed = click.core.ParameterSource.COMMANDLINE
    given = [
        parameter.opts[0]
        for parameter in ctx.command.params
        if isinstance(parameter, click.Option)
        and ctx.get_parameter_source(str(parameter.name)) == typed
    ]
    for alone in ("--list", "--check"):
        others = [name for name in given if name not in (alone, *HOW_TO_RUN)]
        if alone in given and others:
            raise InvalidInput(
                f"{alone} does not heed {' and '.join(others)}: give it alone, or leave it out."
            )
    one_list = {"--user", "--sequence"} & set(given)
    if "--mask-seen" in given and not one_list:
        raise InvalidInput("--mask-seen is for one list: give --user or --sequence with it.")
    if "--replace" in given and "--save" not in given:
        raise InvalidInput("--replace is for --save: give both, or neither.")
    chosen = {"--users", "--cohort"} & set(given)
    if "--sequence" in given and chosen and "--save" not in given:
        raise InvalidInput(
            f"A --sequence is nobody's, so {chosen.pop()} says nothing about it: leave one out, or "
            "keep the steering with --save."
        )


def _list(folder: Path, as_json: bool) -> None:
    """``--list``: the steering files kept with the run; exit code 3 if one is damaged."""
    from recsae.finished.loaded import load_run
    from recsae.steering.files import described

    kept, damaged = load_run(folder).steering_files()
    said = {name: described(one) for name, one in kept.items()}
    if as_json:
        show_json({"kept": said, "damaged": damaged})
    elif said:
        show_facts(said)
    elif not damaged:
        click.echo("No steering file is kept with this run: make one with --set ... --save NAME.")
    for why in damaged.values():
        click.echo(f"Error: {clean(why, LONGEST_ERROR)}", err=True)
    if damaged:
        click.get_current_context().exit(ArtifactMismatch.exit_code)


def _migrated(moved: MigratedSteering) -> dict[str, Any]:
    """``--migrate``: what became of the latents of a steering file of another run."""
    migration, goal = moved.migration, moved.steered.steering.goal
    rows = [migrated_row(latent) for latent in migration.latents]
    lost = [latent.name for latent in migration.latents if not latent.counterpart.latents]
    record: dict[str, Any] = {"how": how_matched(migration.matching)}
    record |= {"latents before": rows, "left out": lost}
    record["matched"] = f"{two_digits(migration.matched)} of what the file does"
    if moved.promise is not None and goal is not None:
        record["goal"] = _promise(moved.promise, goal.max_loss)
    return record


def _promise(effect: GoalEffect, allowed: float) -> dict[str, Any]:
    """What a steering was tuned for, measured on the run that it was carried over to."""
    return {
        "before": effect.before,
        "after": effect.after,
        "NDCG@10 kept": effect.ndcg_kept[0],
        "allowed loss": allowed,
    }
