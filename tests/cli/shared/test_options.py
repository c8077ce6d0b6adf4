"""Options that commands share: the same words mean the same everywhere."""

import pytest

from recsae.cli.entry import group
from recsae.cli.shared.options import DATA_OPTIONS, typed_data_options
from recsae.run.config import RunConfig


def options_of(name):
    command = group.get_command(None, name)
    return {option.name: (option.opts, option.help) for option in command.params}


@pytest.mark.parametrize("command", ["sites", "inspect"])
def test_whatever_decides_what_a_run_reads_of_the_items_is_taken_before_it_too(command):
    run, other = options_of("run"), options_of(command)
    assert set(DATA_OPTIONS) <= set(RunConfig.model_fields)
    assert {name: other[name] for name in DATA_OPTIONS} == {n: run[n] for n in DATA_OPTIONS}


def test_options_are_typed_again_as_they_were_given():
    given = {"separator": ", ", "attribute_columns": "actors,tags", "latents": 5, "items": None}
    assert typed_data_options(given) == [
        *("--attribute-columns", "actors,tags", "--separator", ", "),
    ]
