"""The group of all commands, and the entry point.

Imports wait until a command needs them, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import sys

import click

from recsae.cli.compare import compare
from recsae.cli.concepts import concepts
from recsae.cli.demo import demo
from recsae.cli.doctor import doctor
from recsae.cli.explain import explain
from recsae.cli.export import export
from recsae.cli.inspect import inspect
from recsae.cli.plugins import plugins
from recsae.cli.profile import profile
from recsae.cli.report import report
from recsae.cli.run import run
from recsae.cli.shared.console import run_command
from recsae.cli.sites import sites
from recsae.cli.steer import steer
from recsae.cli.tune import tune
from recsae.core.distributed import ranks_of_torchrun


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


for _command in (
    demo,
    run,
    inspect,
    sites,
    concepts,
    profile,
    explain,
    steer,
    tune,
    export,
    compare,
    report,
    plugins,
    doctor,
):
    group.add_command(_command)
