"""What every test shares: one thread per process, the same examples on every run, finished runs."""

import contextlib
import os
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; reaches subprocesses too

import pytest
from hypothesis import settings

settings.register_profile("recsae", deadline=None, derandomize=True)
settings.load_profile("recsae")

EVERYTHING = 2000
"""So many tests are all of them, not a part that somebody runs by hand."""


def pytest_configure(config):
    """One folder of finished runs for all processes of a test session."""
    if "RECSAE_TEST_RUNS" not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="recsae-runs-")
        os.environ["RECSAE_TEST_RUNS"] = folder.name
        config.add_cleanup(folder.cleanup)
        config.add_cleanup(lambda: os.environ.pop("RECSAE_TEST_RUNS"))
    # what tests trust is kept with their runs, never in the list of the person who runs them
    os.environ["XDG_DATA_HOME"] = f"{os.environ['RECSAE_TEST_RUNS']}/data"


def pytest_collection_finish(session):
    """In a run of everything the first two processes begin with half of the finished runs each.

    Two that come to the same run otherwise make one, and one of them waits for the other.
    """
    worker = getattr(session.config, "workerinput", {}).get("workerid")
    if len(session.items) < EVERYTHING or worker not in ("gw0", "gw1"):
        return
    from helpers import report_kit, runs

    first = (runs.planted_run, runs.small_run)
    for make in first if worker == "gw0" else (runs.recbole_run, report_kit.full_run):
        with contextlib.suppress(pytest.skip.Exception):  # there is no RecBole
            make()


@pytest.fixture(scope="session")
def planted_run():
    """Folder of a finished run on planted truth; not to be changed."""
    from helpers import runs

    return runs.planted_run()


@pytest.fixture(scope="session")
def core_run():
    """Folder of a finished run on planted truth, with a core; not to be changed."""
    from helpers import runs

    return runs.core_run()


@pytest.fixture(scope="session")
def small_run():
    """Folder of a finished run on less planted truth, in brief; not to be changed."""
    from helpers import runs

    return runs.small_run()


@pytest.fixture(scope="session")
def recbole_run():
    """Folder of a run that the command line made of a RecBole checkpoint; not to be changed."""
    from helpers import runs

    return runs.recbole_run()


@pytest.fixture(scope="session")
def full_run():
    """Folder of the planted run with all that a report can show; not to be changed."""
    from helpers import report_kit

    return report_kit.full_run()
