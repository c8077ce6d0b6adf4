"""The folder of a run that may be read and not written, with people's corrections in it."""

import errno
import os
from pathlib import Path

import pytest

pytest.importorskip("recbole")

from recsae.finished.loaded import load_run
from recsae.run.open import open_workspace

pytestmark = [pytest.mark.end_to_end, pytest.mark.recbole]

WRITES = ("touch", "mkdir", "unlink", "rmdir", "rename", "replace", "write_text", "write_bytes")


@pytest.fixture
def read_only(folder, monkeypatch):
    """A run with a correction whose direction is not kept yet; whoever writes into it may not.

    Tests may run as root, whom no mode of a folder keeps from writing.
    """
    (folder / "corrections.toml").write_text('[rename]\n3 = "Mine"\n')

    def forbidden(real):
        def write(self, *arguments, **options):
            inside = Path(self).is_relative_to(folder) and self != folder
            if inside and not (real.__name__ == "mkdir" and self.is_dir()):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
            return real(self, *arguments, **options)

        return write

    for name in WRITES:
        monkeypatch.setattr(Path, name, forbidden(getattr(Path, name)))
    return folder


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "arguments",
    [
        ("concepts",),
        ("concepts", "--latent", "3"),
        ("concepts", "--item", "50"),
        ("concepts", "--audit", "3"),
        ("steer", "--set", "Mine=0", "--user", "273"),
        ("steer", "--list"),
        ("explain", "--user", "273"),
        ("profile", "--user", "273"),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_it_is_read_with_its_corrections(says, read_only, arguments):
    before = contents(read_only)
    name, *options = arguments
    out = says(name, read_only, *options)
    if name == "concepts" and not options:
        assert "Mine" in out
    assert contents(read_only) == before


def test_in_python_too(read_only, recbole_run):
    assert load_run(read_only).concepts["name"][3] == "Mine"
    assert open_workspace(read_only).dictionary.find("Mine") == [3]
    assert load_run(recbole_run).concepts["name"][3] != "Mine"


@pytest.mark.parametrize(
    "arguments",
    [
        ("report",),
        ("steer", "--set", "3=0", "--user", "273", "--save", "mine"),
        ("export", "--set", "3=0", "--out", "INSIDE"),
    ],
    ids=" ".join,
)
def test_what_would_write_is_refused_in_a_sentence(refuses, read_only, arguments):
    before = contents(read_only)
    name, *options = arguments
    options = [str(read_only / "out") if option == "INSIDE" else option for option in options]
    assert "cannot be written: Permission denied." in refuses(name, read_only, *options, code=3)
    assert contents(read_only) == before
