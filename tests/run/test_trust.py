"""Which checkpoints the user has trusted on this machine."""

import shutil

import pytest

from helpers.runs import checkpoint, command, copy_of, taken_as_it_is
from recsae.core.errors import CannotOpenModel
from recsae.core.files import read_json, write_json
from recsae.run.open import open_workspace
from recsae.run.trust import is_trusted, remember_trust


@pytest.fixture
def another_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_bytes_are_trusted_not_names(tmp_path, another_machine):
    one, copy, other = (tmp_path / name for name in ("one.pth", "copy.pth", "other.pth"))
    for path in (one, copy):
        path.write_bytes(b"weights")
    other.write_bytes(b"Weights")
    assert not is_trusted(one)
    remember_trust(one)
    remember_trust(one)
    assert (is_trusted(one), is_trusted(copy), is_trusted(other)) == (True, True, False)
    remember_trust(other)
    kept = (tmp_path / "data/recsae/trusted").read_text().split()
    assert len(kept) == len(set(kept)) == 2
    assert all(map(is_trusted, (one, copy, other)))
    one.write_bytes(b"something else")
    assert not is_trusted(one)
    assert not is_trusted(tmp_path / "gone.pth")


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_list_that_cannot_be_read_or_written_trusts_nothing(tmp_path, another_machine, content):
    path = tmp_path / "x.pth"
    path.write_bytes(b"weights")
    if content is None:
        (tmp_path / "data").write_text("no folder")
        remember_trust(path)
    else:
        (tmp_path / "data/recsae").mkdir(parents=True)
        (tmp_path / "data/recsae/trusted").write_bytes(content)
    assert not is_trusted(path)


@pytest.mark.end_to_end
@pytest.mark.recbole
@pytest.mark.parametrize(
    "arguments",
    [
        ("steer", "--set", "1=0"),
        ("explain", "--user", "1"),
        ("profile", "--cohort", "concept:1>0.1"),
        ("tune", "--popularity", "-"),
        ("export", "--set", "1=0", "--out", "never"),
        ("concepts", "--item", "1"),
    ],
)
def test_a_folder_from_somebody_else_runs_no_code(recbole_run, another_machine, arguments, capsys):
    name, *rest = arguments
    assert command(name, recbole_run, *rest) == 3
    said = capsys.readouterr().err
    assert "--trust" in said
    assert f"The run in {recbole_run} was made elsewhere" in said


@pytest.mark.end_to_end
@pytest.mark.recbole
def test_trust_is_remembered_once_it_was_given(recbole_run, another_machine, tmp_path):
    with pytest.raises(CannotOpenModel, match="once with --trust is enough"):
        open_workspace(recbole_run)
    open_workspace(recbole_run, trust=True)
    open_workspace(copy_of(recbole_run, tmp_path / "copy"))


@pytest.mark.end_to_end
@pytest.mark.recbole
@pytest.mark.parametrize("trust", [False, True])
def test_other_models_are_compared_by_name_until_they_are_trusted(
    recbole_run, another_machine, tmp_path, trust, capsys
):
    other = copy_of(recbole_run, tmp_path / "other")
    manifest = read_json(other / "heldout/manifest.json")
    write_json(other / "heldout/manifest.json", {**manifest, "model": "another"})
    taken_as_it_is(other)
    assert command("compare", recbole_run, other, *(["--trust"] if trust else [])) == 0
    said = capsys.readouterr().out.splitlines()[2]  # below the verdict
    if trust:
        assert "held-out positions in common" in said  # the models told which users they are
    else:
        assert f"The run in {recbole_run} was made elsewhere" in said
        assert "once with --trust is enough. So only names are compared." in said


@pytest.mark.end_to_end
@pytest.mark.recbole
def test_a_checkpoint_that_lay_in_the_demo_folder_is_not_trusted(
    another_machine, tmp_path, capsys, monkeypatch
):
    out = tmp_path / "demo"
    out.mkdir()
    shutil.copy(checkpoint(), out / "SASRec-ml-100k-5.pth")
    assert command("demo", "--out", out, "--seed", 5) == 3
    assert "unpickling can run any code" in capsys.readouterr().err
    assert not (out / "run").exists()
    told = []
    monkeypatch.setattr("recsae.cli.demo.make_run", lambda *_, trust, device: told.append(trust))
    assert command("demo", "--out", out, "--seed", 5, "--trust") == 0
    assert told == [True]


@pytest.mark.end_to_end
@pytest.mark.recbole
def test_what_the_demo_trained_is_trusted(another_machine, tmp_path, monkeypatch):
    pytest.importorskip("recbole")
    path, told = tmp_path / "demo/SASRec-ml-100k-5.pth", []

    def train(_, path, *, seed, progress):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"weights")

    monkeypatch.setattr("recsae_recbole.RecBolePlugin.demo_checkpoint", train)
    monkeypatch.setattr("recsae.cli.demo.make_run", lambda *_, trust, device: told.append(trust))
    assert command("demo", "--out", path.parent, "--seed", 5) == 0
    assert told == [True]
    assert is_trusted(path)
    path.write_bytes(b"something else")
    assert command("demo", "--out", path.parent, "--seed", 5) == 0
    assert told == [True, False]
