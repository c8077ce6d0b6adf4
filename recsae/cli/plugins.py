"""The command ``plugins``: which are installed and whether they work."""

from __future__ import annotations

import click

from recsae.cli.shared.console import show_json
from recsae.cli.shared.options import json_option
from recsae.cli.shared.tables import show_rows


@click.command()
@json_option
def plugins(as_json: bool) -> None:
    """The installed plug-ins and labelers, and whether they work.

    A plug-in opens the models of a framework; a labeler says what latents mean.
    """
    from recsae.concepts.attributes.names import BY_ATTRIBUTES
    from recsae.recommender.plugins import PluginState, installed, installed_labelers

    own = PluginState(BY_ATTRIBUTES, *_package(), "ready (where no --labeler is given)", None)
    rows = [
        {"kind": kind, **{k: v for k, v in state._asdict().items() if k != "plugin"}}
        for kind, states in (("plug-in", installed()), ("labeler", [own, *installed_labelers()]))
        for state in states
    ]
    if as_json:
        show_json(rows)
    else:
        show_rows({key: key for key in rows[0]}, rows, top=None)


def _package() -> tuple[str, str]:
    """The name and the version of the package that the command is of."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return "recsae", version("recsae")
    except PackageNotFoundError:  # run from its sources
        return "recsae", "?"
