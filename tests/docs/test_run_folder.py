"""The page about a run's folder names what is there, and all that is there."""

import re

import pytest

pytest.importorskip("recbole")

from helpers.pages import text_of

pytestmark = [pytest.mark.end_to_end, pytest.mark.recbole]


ROWS = re.findall(r"^\| (`.*?) \|", text_of("docs/run-folder.md"), flags=re.MULTILINE)
FILE = re.compile(r"`([\w.]+/?)`")
NAMED = {name for row in ROWS for name in FILE.findall(row)}
ONCE_MADE = {name for row in ROWS if "once made" in row for name in FILE.findall(row)}
ON_REQUEST = {"stability/"}
"""Made by ``--stability``, which the tests' run does without."""


def test_files_of_a_run_are_named(recbole_run):
    assert {"report.html", "report.json", "card.md", "concepts.csv", "sae/"} <= NAMED
    assert {"corrections.toml", "steering/", "hidden.json"} == ONCE_MADE
    for name in NAMED - ONCE_MADE - ON_REQUEST:
        assert (recbole_run / name).exists(), name


def test_no_file_of_a_run_is_left_out(recbole_run):
    there = {path.name + "/" * path.is_dir() for path in recbole_run.iterdir()}
    assert there <= NAMED
