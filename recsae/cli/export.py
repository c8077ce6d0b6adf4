"""The command export: a steered model written for serving."""

from __future__ import annotations

from pathlib import Path

import click

from recsae.cli.shared.console import PATH, show_json
from recsae.cli.shared.options import device_option, json_option, trust_option
from recsae.cli.shared.tables import show_facts
from recsae.core.errors import InvalidInput
from recsae.steering.serving.formats import FORMATS


@click.command()
@click.argument("folder", type=PATH)
@click.option("--with", "files", multiple=True, metavar="FILE", help="A steering file. Repeatable.")
@click.option("--set", "settings", multiple=True, metavar="SETTING", help="As in recsae steer.")
@click.option("--out", type=PATH, required=True, help="An empty folder, or one to make.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(list(FORMATS)),
    help="Also as steered.pt2 (torch) or steered.onnx (onnx). Repeatable.",
)
@trust_option
@device_option
@json_option
def export(
    folder: Path,
    files: tuple[str, ...],
    settings: tuple[str, ...],
    out: Path,
    formats: tuple[str, ...],
    trust: bool,
    device: str,
    as_json: bool,
) -> None:
    """Write the steered model for serving.

    Weights, a loader without recsae, and a recipe.
    """
    from recsae.finished.opened import open_run

    if not (settings or files):
        raise InvalidInput("Nothing is turned: give --with or --set.")
    run = open_run(folder, device=device, trust=trust)
    saved = map(run.load_steering, files)
    record = run.export(out, *saved, *settings, formats=formats).to_dict()
    if as_json:
        show_json(record)
    else:
        show_facts(record)
