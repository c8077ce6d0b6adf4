"""The console: progress bars, JSON, and errors as one message and an exit code."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import click

from recsae.cli.shared.output import in_json, raw
from recsae.core.distributed import SINGLE_PROCESS, Ranks, Stopped
from recsae.core.errors import RecSAEError
from recsae.core.llm.text import clean
from recsae.core.text import one_line

if TYPE_CHECKING:
    import pandas as pd

PATH = click.Path(path_type=Path)
LONGEST_ERROR = 2000
"""Characters of a message of an error: it may repeat what was typed, which can be of any length."""


def progress_bar() -> Callable[[int, int, str], None] | None:
    """A progress callback that draws a bar on stderr after two seconds; None in a pipe."""
    if not sys.stderr.isatty():
        return None
    from tqdm import tqdm

    bars: dict[str, Any] = {}
    lock = Lock()  # several threads report

    def update(done: int, total: int, what: str) -> None:
        with lock:
            draw(done, total, what)

    def draw(done: int, total: int, what: str) -> None:
        key = what.split(",")[0]
        if key not in bars:
            for bar in bars.values():
                bar.close()
            bars.clear()
            bars[key] = tqdm(total=total, delay=2, leave=False, file=raw(sys.stderr))
        bar = bars[key]
        bar.set_description_str(one_line(what), refresh=False)
        bar.update(done - bar.n)
        if done >= total:
            bar.close()
            bars.pop(key, None)

    return update


def show_json(value: Any) -> None:
    """Print for machines: strict JSON, with null where there is no figure."""
    from recsae.core.files import plain

    utf = (sys.stdout.encoding or "").casefold().startswith("utf")
    text = json.dumps(plain(value), indent=1, ensure_ascii=not utf, default=str)
    click.echo(in_json(text))


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table as JSON holds them; what is unknown or infinite is None."""
    return [
        {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in row.items()
        }
        for row in table.to_dict("records")
    ]


def run_command(command: click.Command, debug: bool, ranks: Ranks = SINGLE_PROCESS) -> int:
    """Run a click command and turn every way of failing into one message and an exit code.

    The command finds the processes that share its work as ``obj``; one of them says why it failed.
    """
    try:
        result = command.main(prog_name="recsae", standalone_mode=False, obj=ranks)
        return int(result) if isinstance(result, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 2
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except (Exception, KeyboardInterrupt) as error:
        typed = isinstance(error, click.ClickException | click.Abort | KeyboardInterrupt)
        if debug and not typed:
            raise
        message, code = _explained(error)
        if ranks.may_speak():
            click.echo(_usage(error) + clean(message, LONGEST_ERROR), err=True)
        return code


def _explained(error: BaseException) -> tuple[str, int]:
    """One message and an exit code."""
    if isinstance(error, click.ClickException):
        return f"Error: {error.format_message()}", 2
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return "Stopped. The same command goes on from here.", 130
    if isinstance(error, RecSAEError | Stopped):
        return f"Error: {error}", error.exit_code
    if isinstance(error, OSError):
        what = f"{error.filename}: " if error.filename else ""
        return f"Error: {what}{error.strerror or error}.", 3
    if isinstance(error, MemoryError):
        return (
            "Error: There is not enough memory here for what was asked: ask for less, such as "
            "fewer --latents, or take a larger machine."
        ), 3
    return (  # the last resort: no traceback unless asked for
        f"Error: something unexpected happened ({type(error).__name__}: {error}). This is a fault "
        "of recsae: --debug shows where."
    ), 3


def _usage(error: BaseException) -> str:
    """How the command is called, where it was called wrongly."""
    if not isinstance(error, click.UsageError) or error.ctx is None:
        return ""
    command = error.ctx.command_path
    return f"{error.ctx.get_usage()}\nTry '{command} --help' for help.\n\n"
