"""The group of all commands, and the entry point.

Imports wait until a command needs them, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import nullcontext, suppress

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
from recsae.cli.shared.output import plain_output
from recsae.cli.sites import sites
from recsae.cli.steer import steer
from recsae.cli.tune import tune
from recsae.core.distributed import ranks_of_torchrun
from recsae.core.errors import InvalidInput

COMPLETION = "_RECSAE_COMPLETE"
"""The variable by which a shell asks how a word that is being typed can go on."""


def main() -> None:
    """Entry point of the ``recsae`` command."""
    # threads that wait for work sleep: on a shared machine spinning costs several times the work
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    debug = "--debug" in sys.argv
    sys.argv = [a for a in sys.argv if a != "--debug"]
    # a shell that completes words reads bytes of click's own, none of strangers
    with nullcontext() if COMPLETION in os.environ else plain_output():
        try:
            with ranks_of_torchrun() as ranks:
                code = run_command(group, debug, ranks)
        except Exception:  # with --debug; uncaught, it would be printed past the plain output
            traceback.print_exc()
            code = 1
    sys.exit(code)


WHO = ("user", "users", "cohort")
"""Options that choose users."""


class InOrder(click.Group):
    """Lists commands in the order of the data flow; no option of theirs may be empty."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names as they were added."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; refuse empty values before they are taken for paths or for nothing."""
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None:
            with suppress(click.UsageError):  # the command itself says what is wrong
                _refuse_empty(command, rest)
        return name, command, rest


def _refuse_empty(command: click.Command, arguments: list[str]) -> None:
    """Refuse an option without a value, such as that of a variable that is not set."""
    given = command.make_parser(click.Context(command)).parse_args(list(arguments))[0]
    for parameter in command.params:
        values = given.get(parameter.name)
        for text in values if isinstance(values, list | tuple) else (values,):
            blank_counts = parameter.name == "separator"  # values can be separated by a blank
            if not isinstance(text, str) or (text if blank_counts else text.strip()):
                continue
            name = parameter.opts[0]
            if parameter.name in WHO:
                raise InvalidInput(f"{name} is empty, which is nobody: say who, or leave it out.")
            raise InvalidInput(f"{name} is empty: give a value, or leave it out.")


@click.group(
    cls=InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="recsae")
def group() -> None:
    """Understand and correct recommender models through concepts.

    CHECKPOINT is the file of a trained model, FOLDER what `recsae run --out` made.

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
