"""The command ``run``: from a checkpoint to a report."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recsae.cli.shared.console import PATH, progress_bar
from recsae.cli.shared.options import data_options, device_option, trust_option
from recsae.core import layout
from recsae.core.distributed import SINGLE_PROCESS, Ranks

if TYPE_CHECKING:
    from recsae.run.config import RunConfig


@click.command()
@click.argument("checkpoint", type=PATH)
@click.option(
    "--out", type=PATH, required=True, help="Folder of the run; goes on where it was stopped."
)
@trust_option
@data_options
@click.option(
    "--core",
    help="What the first latents are: statements about items and histories that the states hold "
    "(statements, the default), or none, which is the plain SAE of RecSAE.",
)
@click.option(
    "--attributes-first",
    metavar="NAMES",
    help="Attributes, separated by commas, of which every value that the states hold gets a "
    "latent of the core.",
)
@click.option(
    "--latents",
    type=int,
    help="Number of latents that are trained; default 16 per hidden dimension.",
)
@click.option(
    "--k",
    type=int,
    help="How many of those are active per sequence; default the fewest of 4, 8, 16 and 32 that "
    "keep 95 % of NDCG@10 on construction users.",
)
@click.option(
    "--activation",
    help="How latents are chosen: matryoshka (the default), topk, batch_topk, feature_choice, "
    "jumprelu or relu.",
)
@click.option("--seed", type=int, help="Seed of everything random; default 0.")
@click.option(
    "--site", help="Where to read the hidden states; default the sequence representation."
)
@click.option(
    "--stability",
    type=int,
    metavar="N",
    help="Make the dictionary again N times, on each half of the users (the default, 2) and then "
    "with other seeds, and mark what comes back.",
)
@click.option(
    "--labeler",
    metavar="NAME",
    help="Who labels the latents, one that a package brings; default: statements on attributes.",
)
@click.option("--llm-base-url", help="OpenAI-compatible server whose model names and judges too.")
@click.option("--llm-model", help="Its model; the key is read from OPENAI_API_KEY.")
@click.option(
    "--replace", is_flag=True, help="Make a run of other settings over, where they reach."
)
@device_option
@click.option(
    "--memory",
    metavar="SIZE",
    help="What the run may take, such as 2GB; one that needs more is refused before it begins. "
    "Default: what is free.",
)
@click.option("--config", "config_file", type=PATH, help="TOML file with any of these settings.")
def run(
    checkpoint: Path,
    out: Path,
    trust: bool,
    replace: bool,
    device: str,
    memory: str | None,
    config_file: Path | None,
    **options: Any,
) -> None:
    """Train an SAE on CHECKPOINT, name and test its concepts.

    Everything goes into one folder, with a report.
    """
    from recsae.run.memory import bytes_of
    from recsae.run.settings import read_settings

    config = read_settings(checkpoint, options, config_file)
    limit = None if memory is None else bytes_of(memory)
    make_run(config, out, trust=trust, device=device, replace=replace, memory=limit)


def ranks_of_command() -> Ranks:
    """The processes that share the run, if torchrun started several."""
    return click.get_current_context().obj or SINGLE_PROCESS


def make_run(
    config: RunConfig,
    out: Path,
    *,
    trust: bool,
    device: str,
    replace: bool = False,
    memory: int | None = None,
) -> None:
    """Do the stages of the run in ``out`` that are not done, and print its headlines."""
    from recsae.pipeline.plan import STAGES, is_finished, run_pipeline

    page, ranks = out / layout.PAGE, ranks_of_command()
    if ranks.broadcast_from_main(lambda: is_finished(out, config)):
        if ranks.is_main_process:
            click.echo(f"Nothing to do: every stage of {out} is done and nothing has changed.")
            click.echo(f"Report: {page}")
        return
    from recsae.run.record import Run
    from recsae.run.settings import open_recommender

    if not replace:  # before a model is opened, which takes time and trust
        ranks.broadcast_from_main(lambda: Run(out, config).refuse_other_settings())
    if sys.stderr.isatty() and ranks.is_main_process:
        click.echo(f"Opening {config.checkpoint} ...", err=True)
    recommender = open_recommender(config, trust=trust, device=ranks.device(device), memory=memory)
    finished = run_pipeline(
        recommender,
        out,
        config,
        progress=progress_bar() if ranks.is_main_process else None,
        done=_say_done if ranks.is_main_process else None,
        ranks=ranks,
        replace=replace,
        memory=memory,
    )
    if not ranks.is_main_process:
        return
    _summary(out)
    seconds, cpu = (
        sum(figure(STAGES).values()) for figure in (finished.seconds, finished.cpu_seconds)
    )
    peak = max(finished.peak_mb(STAGES).values())
    click.echo(f"Time: {seconds:.0f} s, {cpu:.0f} CPU s; peak memory {peak:.0f} MB")
    click.echo(f"Report: {page}")


def stage_line(stage: str, record: Mapping[str, Any]) -> str:
    """What a stage that was done took."""
    seconds, cpu, peak = (record[key] for key in ("seconds", "cpu_seconds", "peak_mb"))
    return f"{stage}: {seconds:.1f} s, {cpu:.1f} CPU s, {peak:,.0f} MB"


def _say_done(stage: str, record: Mapping[str, Any]) -> None:
    """A line for a stage that was done, beside what the command prints."""
    click.echo(stage_line(stage, record), err=True)


def _summary(out: Path) -> None:
    from recsae.report.words.headlines import headlines, verdict
    from recsae.report.write import read_report

    report = read_report(out)
    judgement = verdict(report)
    click.echo(f"\n{judgement.title}. {judgement.detail}\n")
    for line in headlines(report):
        click.echo(f"  {line.figure}  {line.says}{f' ({line.interval})' if line.interval else ''}")
    click.echo("")
