"""Ways to run a command of the command line in tests, and a finished RecBole run."""

import pytest

from helpers.runs import checkpoint, command, copy_of
from recsae.recommender.plugins import load_recommender
from recsae.report import read_report


@pytest.fixture
def recsae_says(capsys):
    """Run a command in this process: exit code, stdout, stderr."""

    def run(*arguments):
        capsys.readouterr()
        code = command(*arguments)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def says(recsae_says):
    """Run a command that must succeed and keep stderr quiet; its stdout."""

    def run(*arguments):
        code, out, err = recsae_says(*arguments)
        assert (code, err) == (0, ""), err
        return out

    return run


@pytest.fixture
def refuses(recsae_says):
    """Run a command that must fail with one short line on stderr and nothing else; the line."""

    def run(*arguments, code):
        found, out, err = recsae_says(*arguments)
        assert (found, out) == (code, ""), err
        assert err.startswith("Error: ")
        assert err.count("\n") == 1
        assert len(err) < 700
        assert "Traceback" not in err
        assert "unexpected" not in err
        return err

    return run


@pytest.fixture(scope="module")
def recommender():
    return load_recommender(checkpoint(), trust=True)


@pytest.fixture(scope="module")
def report(recbole_run):
    return read_report(recbole_run)


@pytest.fixture
def folder(tmp_path, recbole_run):
    return copy_of(recbole_run, tmp_path / "run")
