"""The command steer: concepts turned, lists and metrics before and after."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recsae.cli.shared.console import PATH, show_facts, show_json, show_table
from recsae.cli.shared.matching import how_matched, migrated_row
from recsae.cli.shared.options import device_option, json_option
from recsae.cli.shared.steering import asked_for, for_cohort, for_users
from recsae.core.errors import InvalidInput

if TYPE_CHECKING:
    from recsae.run.workspace import Workspace
    from recsae.steering.files import Steering


N_WRONG = 10
EVERYWHERE = "The same at every held-out position that has a next item:"


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
@click.option(
    "--sequence", help="The same for item ids or titles, separated by commas, oldest first."
)
@click.option(
    "--all", "everyone", is_flag=True, help="Metrics over all held-out users (the default)."
)
@click.option("--mask-seen", is_flag=True, help="Leave out items of the history from lists.")
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
    sequence: str | None,
    everyone: bool,
    mask_seen: bool,
    device: str,
    as_json: bool,
) -> None:
    """Turn concepts and see the recommendations change."""
    from recsae.run.open import open_run
    from recsae.steering.effects import metrics_before_after
    from recsae.steering.files import place, save_steering
    from recsae.steering.lists import lists_before_after

    if listing:
        _list(folder, as_json)
        return
    if check:
        _check(open_run(folder, device), as_json)
        return
    if (migrate is None) != (old is None):
        raise InvalidInput("Give --migrate FILE and --from DIR together.")
    if not (settings or files or migrate):
        raise InvalidInput("Nothing is turned: give --set or --with (see --help), or --list.")
    if sum(bool(x) for x in (user, sequence, everyone)) > 1:
        raise InvalidInput("Give one of --user, --sequence and --all.")
    if users and cohort:
        raise InvalidInput("Give one of --users and --cohort.")
    work = open_run(folder, device)
    steering = asked_for(work, settings, files, users, cohort)
    carried: dict[str, Any] = {}
    if migrate and old:
        steering, carried = _carried_over(folder, old, migrate, steering)
    found = (
        lists_before_after(work, steering, user, sequence, mask_seen=mask_seen)
        if user or sequence
        else metrics_before_after(work, steering)
    )
    if save:
        path = place(folder, save)
        save_steering(steering, folder, path)
        found["saved"] = str(path)
    if as_json:
        show_json({**found, **carried})
    else:
        _show(found, carried)


def _show(found: dict[str, Any], carried: dict[str, Any]) -> None:
    if carried:
        click.echo(carried["how"] + "\n")
        rows = carried["latents before"]
        show_table(list(rows[0]), [list(row.values()) for row in rows])
        click.echo("")
    tables = {"": found.pop("table"), EVERYWHERE: found.pop("positions", [])}
    show_facts(found)
    for title, table in tables.items():
        if table:
            click.echo(f"\n{title}" if title else "")
            show_table(list(table[0]), [list(row.values()) for row in table])


def _carried_over(
    folder: Path, old: Path, name: str, steering: Steering
) -> tuple[Steering, dict[str, Any]]:
    """What was asked for after a steering file of another run, and what became of its latents."""
    from recsae.explore.migration import migrate
    from recsae.steering.files import place

    moved = migrate(place(old, name), old, folder)
    if not moved.steering.interventions:
        raise InvalidInput(
            f"None of the {len(moved.latents)} latents of {name!r} has a counterpart in {folder}: "
            "find the concept anew with `recsae concepts --search` or `recsae tune`."
        )
    both = moved.steering.interventions + steering.interventions
    whom = steering if steering.users else moved.steering
    rows = [migrated_row(latent) for latent in moved.latents]
    lost = [latent.name for latent in moved.latents if not latent.counterpart.latents]
    told = {"how": how_matched(moved.matching), "latents before": rows, "left out": lost}
    return whom._replace(interventions=both), told


def _check(work: Workspace, as_json: bool) -> None:
    from recsae.steering.label_check import WAYS, predictability

    found = predictability(work)
    if as_json:
        show_json(found)
        return
    summary = found["summary"]
    click.echo(
        f"{summary['n_tried']} of {summary['n_verified']} verified concepts that speak of items "
        "were turned, one at a time. Shuffled: with the label of another latent.\n"
    )
    header = ["intervention", *summary[next(iter(WAYS))]]
    rows = [[way, *map(_shown, summary[way].values())] for way in WAYS]
    show_table(header, rows)
    wrong = [row for row in found["rows"] if row["agrees"] is False]
    if wrong:
        click.echo("\nWhere the opposite of the label happens:")
        shown = sorted(wrong, key=lambda row: -abs(row["change"]))[:N_WRONG]
        show_table(list(shown[0]), [list(row.values()) for row in shown])


def _shown(value: Any) -> Any:
    return (
        f"{value[0]:.2f} ({value[1]:.2f} to {value[2]:.2f})" if isinstance(value, list) else value
    )


def _list(folder: Path, as_json: bool) -> None:
    from recsae.run.record import Run
    from recsae.steering.files import described, load_steering, steering_files

    Run(folder)  # refuses what is no run
    found = {path.stem: described(load_steering(folder, path)) for path in steering_files(folder)}
    if as_json:
        show_json(found)
    elif found:
        show_facts(found)
    else:
        click.echo("No steering file is kept with this run: make one with --set ... --save NAME.")
