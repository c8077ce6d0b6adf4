"""The command steer: concepts turned, and lists and metrics with and without that."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recsae.cli.shared.console import PATH, show_facts, show_json, show_table
from recsae.cli.shared.matching import how_matched, migrated_row
from recsae.cli.shared.options import device_option, json_option, trust_option
from recsae.cli.shared.steering import for_cohort, for_users
from recsae.core.errors import InvalidInput

if TYPE_CHECKING:
    from recsae.finished.steered import MigratedSteering
    from recsae.steering.label_results import LabelCheck
    from recsae.steering.tuning.results import GoalEffect


N_WRONG = 10
"""How many of the labels that are wrong are shown."""
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
    sequence: str | None,
    everyone: bool,
    mask_seen: bool,
    trust: bool,
    device: str,
    as_json: bool,
) -> None:
    """Turn concepts and see the recommendations change."""
    from recsae.finished.opened import open_run

    if listing:
        _list(folder, as_json)
        return
    if check:
        checked = open_run(folder, device=device, trust=trust).check_labels()
        show_json(checked.to_dict()) if as_json else _show_check(checked)
        return
    _refuse_contradictions(settings, files, migrate, old, user, sequence, everyone, users, cohort)
    run = open_run(folder, device=device, trust=trust)
    parts: list[Any] = [*map(run.load_steering, files), *settings]
    migrated: dict[str, Any] = {}
    if migrate is not None and old is not None:
        moved = run.migrate(migrate, old)
        parts, migrated = [moved.steered, *parts], _migrated(moved)
    steered = run.steer(*parts, users=users, cohort=cohort)
    if user is not None or sequence is not None:
        record = steered.lists(user, sequence, mask_seen=mask_seen).to_dict()
    else:
        record = steered.metrics().to_dict()
    if save:
        record["saved"] = str(steered.save(save))
    if as_json:
        show_json({**record, **migrated})
        return
    if migrated:
        _show_migrated(migrated)
    _show(record)


def _refuse_contradictions(
    settings: tuple[str, ...],
    files: tuple[str, ...],
    migrate: str | None,
    old: Path | None,
    user: str | None,
    sequence: str | None,
    everyone: bool,
    users: str | None,
    cohort: str | None,
) -> None:
    """Refuse options that say nothing, or that cannot go together."""
    if (migrate is None) != (old is None):
        raise InvalidInput("Give --migrate FILE and --from DIR together.")
    if not (settings or files or migrate):
        raise InvalidInput("Nothing is turned: give --set or --with (see --help), or --list.")
    if (user is not None) + (sequence is not None) + everyone > 1:
        raise InvalidInput("Give one of --user, --sequence and --all.")
    if users is not None and cohort is not None:
        raise InvalidInput("Give one of --users and --cohort.")


def _list(folder: Path, as_json: bool) -> None:
    """``--list``: the steering files kept with the run."""
    from recsae.finished.loaded import load_run
    from recsae.steering.files import described

    files = {name: described(one) for name, one in load_run(folder).steering_files().items()}
    if as_json:
        show_json(files)
    elif files:
        show_facts(files)
    else:
        click.echo("No steering file is kept with this run: make one with --set ... --save NAME.")


def _show_check(check: LabelCheck) -> None:
    summary = check.summary
    click.echo(
        f"{summary.n_checked} of {summary.n_verified} verified concepts that speak of items "
        "were turned, one at a time. Shuffled: with the label of another latent.\n"
    )
    tables = {name: one.to_dict() for name, one in summary.by_intervention.items()}
    header = ["intervention", *next(iter(tables.values()))]
    show_table(header, [[name, *map(_cell, row.values())] for name, row in tables.items()])
    wrong = [row for row in check.rows if row.agrees is False]
    if wrong:
        click.echo("\nWhere the opposite of the label happens:")
        worst = sorted(wrong, key=lambda row: -abs(row.change[0]))[:N_WRONG]
        _show_rows([row.to_dict() for row in worst])


def _cell(value: Any) -> Any:
    return (
        f"{value[0]:.2f} ({value[1]:.2f} to {value[2]:.2f})" if isinstance(value, list) else value
    )


def _migrated(moved: MigratedSteering) -> dict[str, Any]:
    """``--migrate``: what became of the latents of a steering file of another run."""
    migration, goal = moved.migration, moved.steered.steering.goal
    rows = [migrated_row(latent) for latent in migration.latents]
    lost = [latent.name for latent in migration.latents if not latent.counterpart.latents]
    record: dict[str, Any] = {"how": how_matched(migration.matching)}
    record |= {"latents before": rows, "left out": lost}
    record["matched"] = f"{100 * migration.matched:.0f} % of what the file does"
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


def _show_migrated(record: dict[str, Any]) -> None:
    click.echo(record["how"] + "\n")
    _show_rows(record["latents before"])
    show_facts({key: record[key] for key in ("matched", "goal") if key in record})
    click.echo("")


def _show(record: dict[str, Any]) -> None:
    """Facts of one list or of metrics, then their tables."""
    tables = {"": record["table"], EVERYWHERE: record.get("positions", [])}
    show_facts({key: value for key, value in record.items() if key not in ("table", "positions")})
    for title, rows in tables.items():
        if rows:
            click.echo(f"\n{title}" if title else "")
            _show_rows(rows)


def _show_rows(rows: list[dict[str, Any]]) -> None:
    show_table(list(rows[0]), [list(row.values()) for row in rows])
