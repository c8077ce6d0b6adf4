"""What commands print: JSON and progress; and how each way of failing ends."""

import json
import sys
from io import StringIO

import click
import numpy as np
import pandas as pd
import pytest
import tqdm

from recsae.cli.shared.console import (
    progress_bar,
    records,
    run_command,
    show_json,
)
from recsae.core.errors import CannotOpenModel, InvalidInput

# -- JSON ----------------------------------------------------------------------------------------


def test_json_is_for_machines(capsys):
    value = {"title": 'Amélie "x" \x1b', "n": [1, 0.5, None]}
    show_json(value)
    out = capsys.readouterr().out
    assert json.loads(out) == value
    assert "é" in out
    assert "\x1b" not in out


def test_records_hold_nothing_that_json_cannot():
    table = pd.DataFrame({"a": [1.0, np.nan, np.inf], "latents": [(1,), (2,), (3,)]})
    assert [r["a"] for r in records(table)] == [1.0, None, None]


def test_json_has_no_nan(capsys):
    show_json({"a": float("nan"), "b": [(1.0, float("inf"))]})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [[1.0, None]]}


# -- progress --------------------------------------------------------------------------------------


class Terminal(StringIO):
    def isatty(self):
        return True


def test_no_progress_in_a_pipe(monkeypatch):
    monkeypatch.setattr(sys, "stderr", StringIO())
    assert progress_bar() is None


def test_nothing_is_drawn_in_the_first_two_seconds(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    update = progress_bar()
    for done in range(1, 11):
        update(done, 10, "positions captured")
    assert terminal.getvalue() == ""
    assert capsys.readouterr().out == ""


def test_then_a_bar_is_drawn_on_stderr(monkeypatch, capsys):
    made = []

    class Eager(tqdm.tqdm):
        def __init__(self, *args, **options):
            assert options.pop("delay") == 2
            made.append(self)
            super().__init__(*args, **options, mininterval=0, ncols=80)

    monkeypatch.setattr(tqdm, "tqdm", Eager)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    update = progress_bar()
    update(4, 10, "SAE steps, FVU 0.500")
    update(8, 10, "SAE steps, FVU 0.400")  # the same bar: its name is what stands before a comma
    assert len(made) == 1
    assert made[0].n == 8
    update(1, 3, "cases evaluated")
    update(3, 3, "cases evaluated")
    assert len(made) == 2
    assert all(bar.disable for bar in made)  # closed
    assert "FVU 0.400" in terminal.getvalue()
    assert "80%" in terminal.getvalue()
    assert "cases evaluated" in terminal.getvalue()
    assert capsys.readouterr().out == ""
    update(1, 3, "cases evaluated")  # again, as a new one
    assert len(made) == 3


# -- ways of ending --------------------------------------------------------------------------------


def ended(work, capsys, *arguments, debug=False):
    """Exit code, stdout and stderr of a command that does ``work``."""

    @click.command()
    @click.option("--n", type=int)
    def command(n):
        return work()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", ["recsae", *arguments])
        code = run_command(command, debug)
    return code, *capsys.readouterr()


def failing(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InvalidInput("No user has the id '7'."), 2, "Error: No user has the id '7'.\n"),
        (CannotOpenModel("It is gone."), 3, "Error: It is gone.\n"),
        (KeyboardInterrupt(), 130, "\nStopped. The same command goes on from here.\n"),
        (click.Abort(), 130, "Stopped. The same command goes on from here.\n"),
        (FileNotFoundError(2, "No such file", "x.csv"), 3, "Error: x.csv: No such file.\n"),
        (OSError("no number"), 3, "Error: no number.\n"),
        (
            ZeroDivisionError("division by zero"),
            3,
            (
                "Error: something unexpected happened (ZeroDivisionError: division by zero). This "
                "is a fault of recsae: --debug shows where.\n"
            ),
        ),
    ],
)
def test_one_message_and_an_exit_code(error, code, said, capsys):
    assert ended(failing(error), capsys) == (code, "", said)


@pytest.mark.parametrize(
    "error", [InvalidInput("x"), OSError("x"), ZeroDivisionError("x")], ids=lambda e: repr(e)
)
def test_debug_lets_the_traceback_through(error, capsys):
    with pytest.raises(type(error)):
        ended(failing(error), capsys, debug=True)


def test_done(capsys):
    assert ended(lambda: None, capsys) == (0, "", "")
    assert ended(lambda: 3, capsys) == (3, "", "")
    assert ended(lambda: "text", capsys)[0] == 0


def test_wrong_usage(capsys):
    code, out, err = ended(lambda: None, capsys, "--n", "many")
    assert (code, out) == (2, "")
    assert "'many' is not a valid integer" in err
    code, out, err = ended(lambda: None, capsys, "--m")
    assert (code, out) == (2, "")
    assert "No such option" in err


def test_help_is_no_error(capsys):
    code, out, err = ended(lambda: None, capsys, "--help")
    assert (code, err) == (0, "")
    assert "--n INTEGER" in out


def test_a_reader_that_stops_reading(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stderr", StringIO())
    assert ended(failing(BrokenPipeError()), capsys)[0] == 0
