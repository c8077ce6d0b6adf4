"""An empty choice is nobody and nothing: it is never taken for everybody, or for a folder."""

import json

import click
import pytest

pytest.importorskip("recbole")

from helpers.runs import checkpoint
from recsae.cli.entry import group
from recsae.core.errors import InvalidInput
from recsae.finished.opened import open_run
from recsae.recommender.plugins import load_recommender

pytestmark = [pytest.mark.end_to_end, pytest.mark.recbole]

OPTIONS = [
    (name, option.opts[0], option.name)
    for name, command in group.commands.items()
    for option in command.params
    if isinstance(option, click.Option) and not option.is_flag
]
WHO = {"user", "users", "cohort"}


@pytest.mark.parametrize("text", ["", "  ", "\t\n"])
@pytest.mark.parametrize(("command", "option", "name"), OPTIONS)
def test_no_option_of_any_command_may_be_empty(refuses, tmp_path, command, option, name, text):
    text = "" if name == "separator" else text  # blanks can separate values
    said = refuses(command, tmp_path / "none", option, text, code=2)
    if name in WHO:
        assert said == f"Error: {option} is empty, which is nobody: say who, or leave it out.\n"
    else:
        assert said == f"Error: {option} is empty: give a value, or leave it out.\n"


@pytest.mark.parametrize(
    "command", [n for n, c in group.commands.items() if c.params[0].nargs == 1]
)
def test_no_argument_may_be_empty(refuses, command):
    """A path that is empty would be the folder in which one happens to be."""
    argument = group.commands[command].params[0]
    if isinstance(argument, click.Argument):
        assert "is empty: give a value" in refuses(command, "", code=2)


def test_one_of_several_settings_may_not_be_empty(refuses, recbole_run):
    assert "--set is empty" in refuses("steer", recbole_run, "--set", "3=0", "--set", "", code=2)


@pytest.mark.parametrize("command", ["steer", "tune"])
@pytest.mark.parametrize("users", [",", " , ,\n", "FILE"])
def test_a_list_without_users_is_nobody(refuses, recbole_run, tmp_path, command, users):
    (tmp_path / "users.txt").write_text("\n \n")
    users = tmp_path / "users.txt" if users == "FILE" else users
    what = ("--set", "3=0") if command == "steer" else ("--popularity", "-")
    assert "There is no user in the list" in refuses(
        command, recbole_run, *what, "--users", users, code=2
    )


def test_a_rule_that_fits_nobody_is_nobody(refuses, recbole_run):
    rule = "concept:3>1"  # no share is larger than 1
    said = refuses("steer", recbole_run, "--set", "3=0", "--cohort", rule, code=2)
    assert said == "Error: The cohort 'concept:3>1' has no users.\n"


def test_empty_text_in_python_is_nobody_too(recbole_run):
    run = open_run(recbole_run)
    with pytest.raises(InvalidInput, match="There is no user in the list"):
        run.steer("3=0", users="")
    with pytest.raises(InvalidInput, match="There is no user in the list"):
        run.steer("3=0", users=[])
    with pytest.raises(InvalidInput, match="Cannot read the cohort ''"):
        run.steer("3=0", cohort="")


def test_a_steering_file_for_nobody_is_refused(says, refuses, folder):
    says("steer", folder, "--set", "3=0", "--users", "71", "--user", "71", "--save", "one")
    path = folder / "steering" / "one.json"
    content = json.loads(path.read_text())
    assert content["users"] == ["71"]
    path.write_text(json.dumps({**content, "users": []}))
    said = refuses("steer", folder, "--with", "one", code=2)
    assert "is no steering file: 'users' is [], and must have an entry at least" in said


def test_a_blank_separates_values_where_it_is_asked_for():
    assert load_recommender(checkpoint(), trust=True, separator=" ").catalog.separated_by
