"""What RecTools and Lightning change stays inside; what is installed is looked up first."""

import logging
from importlib import metadata

import pytest
import torch

pytest.importorskip("rectools")

from recsae.cli.doctor import checks
from recsae.core.errors import CannotOpenModel
from recsae.recommender.plugins import installed
from recsae_rectools import plugin
from recsae_rectools.boundary import LOGGERS, rectools_boundary
from recsae_rectools.installation import version_of_rectools

pytestmark = pytest.mark.rectools


def test_levels_and_random_numbers_come_back():
    plugin.check()
    before = [logging.getLogger(name).level for name in LOGGERS], torch.get_rng_state()
    with rectools_boundary():
        assert [logging.getLogger(name).level for name in LOGGERS] == [logging.ERROR] * len(LOGGERS)
        torch.rand(3)
    assert [logging.getLogger(name).level for name in LOGGERS] == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


@pytest.mark.parametrize(
    ("versions", "words"),
    [
        ({}, r'RecTools is not installed. Try: pip install "recsae\[rectools\]"'),
        (
            {"rectools": "0.20.1"},
            "RecTools 0.20.1 is installed, and recsae reads the models of 0.19",
        ),
        ({"rectools": "0.19.2"}, "RecTools is installed without PyTorch Lightning. Try"),
    ],
)
def test_what_is_not_installed_is_said(versions, words, monkeypatch):
    def version(name):
        if name in versions:
            return versions[name]
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("recsae_rectools.installation.version", version)
    with pytest.raises(CannotOpenModel, match=words):
        plugin.versions()
    with pytest.raises(CannotOpenModel, match=words), rectools_boundary():
        pass


def test_a_framework_that_is_not_installed_is_no_fault_of_the_installation(monkeypatch):
    def version(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("recsae_rectools.installation.version", version)
    (state,) = (state for state in installed(thorough=True) if state.name == "rectools")
    assert state.state.startswith("missing: RecTools is not installed. Try: pip install")
    rows = {row["check"]: row["state"] for row in checks()}
    assert rows["plug-in rectools"] == "missing"
    assert rows["plug-in torch"] == "works"


def test_the_version_is_said():
    assert plugin.versions() == {"rectools": version_of_rectools()}
    assert version_of_rectools().startswith("0.19.")
