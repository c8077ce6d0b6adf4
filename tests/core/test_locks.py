"""One process at a time in a folder."""

import pytest

from recsae.core.errors import RecSAEError
from recsae.core.locks import alone_in


def test_the_second_is_refused_until_the_first_has_ended(tmp_path):
    with alone_in(tmp_path):
        with pytest.raises(RecSAEError, match="Another recsae works in"), alone_in(tmp_path):
            raise AssertionError("two at once")
        with alone_in(tmp_path / "other"):
            pass
    with alone_in(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_error_lets_go_and_leaves_no_empty_folder(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(ZeroDivisionError), alone_in(folder):
        1 / 0  # noqa: B018
    assert not folder.exists()
    with alone_in(folder):
        (folder / "kept").touch()
    assert (folder / "kept").exists()


def test_what_is_no_folder_is_left_to_who_writes(tmp_path):
    (tmp_path / "file").write_text("mine")
    with alone_in(tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_text() == "mine"
