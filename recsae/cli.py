"""The command line. Imports wait until a command needs them, so that ``--help`` answers at once."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recsae.console import progress_bar, run_command, show_facts, show_json, show_table
from recsae.distributed import ALONE, Ranks, ranks_of_torchrun
from recsae.errors import InvalidInput

if TYPE_CHECKING:
    from recsae.run import RunConfig

PATH = click.Path(path_type=Path)


def main() -> None:
    """Entry point of the ``recsae`` command."""
    # threads that wait for work sleep: on a shared machine spinning costs several times the work
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    debug = "--debug" in sys.argv
    sys.argv = [a for a in sys.argv if a != "--debug"]
    with ranks_of_torchrun() as ranks:
        code = run_command(group, debug, ranks)
    sys.exit(code)


class InOrder(click.Group):
    """Lists commands in the order of the data flow."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names as they were added."""
        return list(self.commands)


@click.group(
    cls=InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="recsae")
def group() -> None:
    """Understand and correct recommender models through concepts.

    Every command takes --debug, which shows a traceback where something fails.
    """


@group.command()
@click.option("--out", type=PATH, default=Path("recsae-demo"), show_default=True)
@click.option("--seed", type=int, default=2020, show_default=True)
def demo(out: Path, seed: int) -> None:
    """Train a small SASRec on the ml-100k that RecBole ships, then run everything on it."""
    from recsae.run import RunConfig

    checkpoint = (out / f"SASRec-ml-100k-{seed}.pth").resolve()
    _ranks().from_first(lambda: _demo_checkpoint(checkpoint, seed))
    # a small dictionary for a small data set: each latent needs cases enough to be tested
    config = RunConfig(checkpoint=str(checkpoint), latents=256, k=4, samples=2_000_000)
    _run(config, out / "run", trust=True, device="cpu")


def _demo_checkpoint(checkpoint: Path, seed: int) -> None:
    if not checkpoint.exists():
        from recsae.plugin import get_plugin

        click.echo("Training SASRec on ml-100k (one to three minutes) ...", err=True)
        maker: Any = get_plugin("recbole")
        maker.demo_checkpoint(checkpoint, seed=seed, progress=progress_bar())
    click.echo(f"Checkpoint: {checkpoint}")


@group.command()
@click.argument("checkpoint", type=PATH)
@click.option(
    "--out", type=PATH, required=True, help="Folder of the run; goes on where it was stopped."
)
@click.option(
    "--trust", is_flag=True, help="Allow unpickling: it can run code from the file's author."
)
@click.option(
    "--data-path", type=PATH, help="Folder of the data set, if not where the checkpoint says."
)
@click.option("--items", type=PATH, help="CSV of titles and attributes; first column the item id.")
@click.option("--title-column", help="Column of the titles.")
@click.option("--attribute-columns", help="Columns of attributes, separated by commas.")
@click.option("--latents", type=int, help="Number of latents; default 16 per hidden dimension.")
@click.option("--k", type=int, help="Active latents per sequence; default 8.")
@click.option(
    "--activation",
    help="How latents are chosen: topk (the default), batch_topk, feature_choice, jumprelu, "
    "matryoshka or relu.",
)
@click.option("--seed", type=int, help="Seed of everything random; default 0.")
@click.option(
    "--site", help="Where to read the hidden states; default the sequence representation."
)
@click.option("--device", default="cpu", show_default=True, help="Where the model runs.")
@click.option("--config", "config_file", type=PATH, help="TOML file with any of these settings.")
def run(
    checkpoint: Path, out: Path, trust: bool, device: str, config_file: Path | None, **options: Any
) -> None:
    """Open CHECKPOINT, train an SAE, build and test concepts, write the report."""
    from recsae.settings import read_settings

    config = read_settings(checkpoint, options, config_file)
    _run(config, out, trust=trust, device=device)


def _ranks() -> Ranks:
    """The processes that share the run, if torchrun started several."""
    return click.get_current_context().obj or ALONE


def _run(config: RunConfig, out: Path, *, trust: bool, device: str) -> None:
    from recsae.run import Run

    page, ranks = out / "report.html", _ranks()
    known = (out / "run.json").exists
    if ranks.from_first(lambda: known() and Run(out, config).is_finished()):
        if ranks.is_first:
            click.echo(f"Nothing to do: every stage of {out} is done and nothing has changed.")
            click.echo(f"Report: {page}")
        return
    from recsae.pipeline import run_pipeline
    from recsae.settings import open_recommender

    if sys.stderr.isatty() and ranks.is_first:
        click.echo(f"Opening {config.checkpoint} ...", err=True)
    recommender = open_recommender(config, trust=trust, device=ranks.device(device))
    progress = progress_bar() if ranks.is_first else None
    finished = run_pipeline(recommender, out, config, progress=progress, ranks=ranks)
    if not ranks.is_first:
        return
    _summary(out)
    seconds = finished.seconds()
    stages = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
    peak = max(finished.peak_mb().values())
    click.echo(f"Time: {sum(seconds.values()):.0f} s ({stages}); peak memory {peak:.0f} MB")
    click.echo(f"Report: {page}")


def _summary(out: Path) -> None:
    from recsae.report import read_report
    from recsae.report.words import headlines, verdict

    report = read_report(out)
    judgement = verdict(report)
    click.echo(f"\n{judgement.title}. {judgement.detail}\n")
    for line in headlines(report):
        click.echo(f"  {line.figure}  {line.says}")
    click.echo("")


@group.command()
@click.argument("checkpoint", type=PATH)
@click.option("--trust", is_flag=True, help="Allow unpickling.")
@click.option("--data-path", type=PATH, help="Folder of the data set.")
@click.option("--items", type=PATH, help="CSV of titles and attributes.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def inspect(
    checkpoint: Path, trust: bool, data_path: Path | None, items: Path | None, as_json: bool
) -> None:
    """Say what CHECKPOINT is, where it can be read, and what would be done."""
    from recsae.plugin import load_recommender

    recommender = load_recommender(checkpoint, trust=trust, data_path=data_path, items=items)
    from recsae.inspection import inspection, states_of

    facts = inspection(recommender)
    if as_json:
        show_json(facts)
        return
    sites = facts.pop("sites")
    show_facts(facts)
    click.echo("\nSites, the first being the default:")
    show_table(
        ("site", "width", "states", "share of scores", "what it is"),
        [(s["name"], s["width"], states_of(s), s["share"], s["meaning"]) for s in sites],
    )


@group.command()
@click.argument("folder", type=PATH)
@click.option("--search", help="Only concepts whose name or label contains this.")
@click.option("--latent", type=int, help="Everything about one latent.")
@click.option("--status", help="Only concepts of this status, e.g. verified.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def concepts(
    folder: Path, search: str | None, latent: int | None, status: str | None, as_json: bool
) -> None:
    """The concept dictionary of a run, best first."""
    from recsae.inspection import concept_rows, latent_facts

    if latent is not None:
        facts = latent_facts(folder, latent)
        show_json(facts) if as_json else show_facts(facts)
        return
    rows = concept_rows(folder, search, status)
    if as_json:
        show_json(rows)
    elif rows:
        show_table(list(rows[0]), [list(row.values()) for row in rows])
    else:
        click.echo("No concept fits.")


@group.command()
@click.argument("folder", type=PATH)
@click.option(
    "--set",
    "settings",
    multiple=True,
    required=True,
    metavar="CONCEPT=VALUE",
    help="'Horror=0' switches off, '203=x2' doubles, '203=1.5' sets. Repeatable.",
)
@click.option("--user", help="One user's list before and after.")
@click.option(
    "--sequence", help="The same for item ids or titles, separated by commas, oldest first."
)
@click.option(
    "--all", "everyone", is_flag=True, help="Metrics over all held-out users (the default)."
)
@click.option("--mask-seen", is_flag=True, help="Leave out items of the history from lists.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def steer(
    folder: Path,
    settings: tuple[str, ...],
    user: str | None,
    sequence: str | None,
    everyone: bool,
    mask_seen: bool,
    device: str,
    as_json: bool,
) -> None:
    """Turn concepts and see the recommendations change."""
    from recsae.whatif import lists_before_after, metrics_before_after, open_run

    if sum(bool(x) for x in (user, sequence, everyone)) > 1:
        raise InvalidInput("Give one of --user, --sequence and --all.")
    opened = open_run(folder, device)
    interventions = opened.interventions(settings)
    if user or sequence:
        found = lists_before_after(opened, interventions, user, sequence, mask_seen=mask_seen)
    else:
        found = metrics_before_after(opened, interventions)
    if as_json:
        show_json(found)
        return
    table = found.pop("table")
    show_facts(found)
    click.echo("")
    show_table(list(table[0]), [list(row.values()) for row in table])


@group.command()
@click.argument("folder", type=PATH)
@click.option("--redact-users", is_flag=True, help="Call users user 1, user 2, ...")
def report(folder: Path, redact_users: bool) -> None:
    """Rebuild report.html, card.md and concepts.csv from report.json."""
    from recsae.report import write_report
    from recsae.run import RECORD, Run

    click.echo(f"Report: {write_report(None, folder, redact_users=redact_users)}")
    if (folder / RECORD).exists():
        Run(folder).keep("report")  # so that `recsae run` does not undo the redaction


@group.command()
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def plugins(as_json: bool) -> None:
    """The installed plug-ins, their versions and whether they work."""
    from recsae.plugin import installed

    rows = [state._asdict() for state in installed()]
    rows = [{k: v for k, v in row.items() if k != "plugin"} for row in rows]
    if as_json:
        show_json(rows)
    elif rows:
        show_table(list(rows[0]), [list(row.values()) for row in rows])


@group.command()
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def doctor(as_json: bool) -> int:
    """Check the installation; exit code 3 if something does not work."""
    from recsae.inspection import checks

    rows = checks()
    if as_json:
        show_json(rows)
    else:
        show_table(["check", "state", "seen"], [[r["check"], r["state"], r["seen"]] for r in rows])
    return 3 if any(row["state"] == "fails" for row in rows) else 0
