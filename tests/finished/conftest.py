"""The planted run opened in Python, and the name of one of its verified concepts."""

import pytest

from helpers.runs import planted, planted_open
from recsae.finished.opened import OpenRun
from recsae.run.record import Run
from recsae.run.workspace import Workspace


@pytest.fixture(scope="module")
def run():
    return OpenRun(planted_open())


@pytest.fixture(scope="module")
def name(run):
    return run.search(status="verified")["name"].iloc[0]


@pytest.fixture
def opened_in():
    """A copy of the planted run, attached to the planted recommender."""
    return lambda folder: OpenRun(Workspace(Run(folder), planted(), finished=True))
