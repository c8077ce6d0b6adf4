"""Every kind of bad input ends in one sentence."""

import errno
import json
import os

import pytest

pytest.importorskip("recbole")

from helpers import recbole_kit
from helpers.runs import checkpoint, settings
from recsae.concepts.dictionary import ConceptDictionary
from recsae.core import columns as C

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.recbole,
]


QUICK = "latents = 64\nsamples = 20000\n"


# -- bad input: checkpoints ------------------------------------------------------------------------


def bad_checkpoint(kind, folder):
    path = folder / "x.pth"
    if kind == "truncated":
        data = checkpoint().read_bytes()
        path.write_bytes(data[: len(data) // 2])
    elif kind == "text":
        path.write_text("user_id\titem_id\n")
    elif kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        ("missing", "does not exist: give the path of a file"),
        ("folder", "is a folder: give the path of a file"),
        ("truncated", "cut short"),
        ("text", "(no torch file, 16 bytes). Installed plug-ins: recbole (ready"),
        ("empty", "an empty file"),
    ],
)
def test_what_is_no_checkpoint(kind, match, refuses, tmp_path):
    path = bad_checkpoint(kind, tmp_path)
    out = tmp_path / "run"
    assert match in refuses("run", path, "--trust", "--out", out, code=3)
    assert match in refuses("inspect", path, "--trust", code=3)
    assert not out.exists()


def test_a_checkpoint_is_not_trusted_unless_told(refuses, tmp_path):
    for arguments in (("run", checkpoint(), "--out", tmp_path / "run"), ("inspect", checkpoint())):
        assert "--trust" in refuses(*arguments, code=3)
    assert not (tmp_path / "run").exists()


def test_weights_that_are_nan(refuses, tmp_path):
    def spoil(saved):
        saved["state_dict"]["position_embedding.weight"].fill_(float("nan"))

    path = recbole_kit.save_checkpoint(
        tmp_path / "nan.pth", "SASRec", change=spoil, **recbole_kit.TINY
    )
    error = refuses("run", path, "--trust", "--out", tmp_path / "run", code=3)
    assert "NaN or infinite in 'position_embedding.weight'" in error
    assert not (tmp_path / "run").exists()


def test_three_users(refuses, tmp_path):
    data = recbole_kit.write_data(tmp_path / "few", "few", n_users=3)
    settings = {"data_path": str(data.parent), **recbole_kit.SMALL}
    path = recbole_kit.save_checkpoint(tmp_path / "few.pth", "SASRec", "few", **settings)
    error = refuses("run", path, "--trust", "--out", tmp_path / "run", code=3)
    assert "3 users" in error
    assert not (tmp_path / "run").exists()


def test_a_data_set_that_is_not_there(refuses, tmp_path):
    arguments = ("run", checkpoint(), "--trust", "--data-path", tmp_path, "--out", tmp_path / "run")
    assert "ml-100k.inter" in refuses(*arguments, code=3)
    assert not (tmp_path / "run").exists()


# -- bad input: settings ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (("--k", 1025), "k=1025 is larger than the number of latents (1024)"),
        (("--latents", 4), "k=8 is larger than the number of latents (4)"),
        (("--k", 0), "Setting 'k'"),
        (("--latents", -1), "Setting 'latents'"),
        (("--seed", -1), "Setting 'seed'"),
        (("--latents", 10**8), "Setting 'latents': Input should be less than or equal to 1000000"),
        (("--seed", 2**31), "Setting 'seed'"),
        (("--stability", 1000), "Setting 'stability'"),
        (("--site", "sequense"), "Did you mean 'sequence'?"),
        (("--title-column", "movie_titel"), "no title column 'movie_titel'"),
        (("--attribute-columns", "class,genre"), "no attribute column 'genre'"),
        (("--items", "/nowhere.csv"), "/nowhere.csv"),
        (("--config", "/nowhere.toml"), "/nowhere.toml cannot be read: No such file or directory."),
    ],
)
def test_settings_that_cannot_be(options, match, refuses, tmp_path):
    """Said before anything is computed or written."""
    out = tmp_path / "run"
    assert match in refuses("run", checkpoint(), "--trust", "--out", out, *options, code=2)
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("latent = 5", "Setting 'latent': Extra inputs are not permitted (seen: 5). Did you mean"),
        ("seed = 'x'", "Setting 'seed'"),
        ("latents = ", "x.toml cannot be read: Invalid value"),
        ("latents = " + "[" * 100_000, "x.toml cannot be read: maximum recursion depth"),
        ("[sae]\nk = 8", "Setting 'sae'"),
        ("\udcff", "x.toml cannot be read: 'utf-8' codec"),
    ],
)
def test_a_settings_file_that_cannot_be(text, match, refuses, tmp_path):
    file = tmp_path / "x.toml"
    file.write_bytes(text.encode(errors="surrogateescape"))
    arguments = ("run", checkpoint(), "--trust", "--out", tmp_path / "run", "--config", file)
    assert match in refuses(*arguments, code=2)
    assert not (tmp_path / "run").exists()


def test_the_nearest_setting_is_named(refuses, tmp_path):
    (tmp_path / "x.toml").write_text("latent = 5")
    arguments = ("run", checkpoint(), "--out", tmp_path / "run", "--config", tmp_path / "x.toml")
    assert refuses(*arguments, code=2).endswith("Did you mean 'latents'?\n")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "No columns to parse from file"),
        ("id,title\n", "has 0 rows and 2 columns; it needs a header line"),
        ("id\n50\n", "has 1 rows and 1 columns; it needs a header line"),
        ("id,title\n50,a,b\n51,Good, the Bad\n", "more cells than its header line"),
        (
            "id,title\n50,a\n51,Good, the Bad\n",
            "line 3 has 3 cells and the lines before it 2; titles that",
        ),
        ("id,title\n50,a\n50,b\n", "1 repeated ids, '50' among them"),
        ("id,title\nx1,a\nx2,b\n", "is an item of the model"),
        ("id,title\n50,\udcff\n", "Cannot read the item table"),
        ('id,title\n50,"a\n', "Cannot read the item table"),
    ],
)
def test_item_tables_that_cannot_be(text, match, refuses, tmp_path):
    items = tmp_path / "items.csv"
    items.write_bytes(text.encode(errors="surrogateescape"))
    out = tmp_path / "run"
    arguments = ("run", checkpoint(), "--trust", "--out", out, "--items", items)
    assert match in refuses(*arguments, code=2)
    assert not out.exists()


# -- bad input: folders ----------------------------------------------------------------------------


def test_a_folder_of_something_else(refuses, tmp_path):
    (tmp_path / "thesis.txt").touch()
    arguments = ("run", checkpoint(), "--trust", "--out", tmp_path)
    assert "is not empty and holds no run" in refuses(*arguments, code=2)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_of_another_model(refuses, folder, tmp_path):
    before = (folder / "run.json").read_bytes()
    arguments = ("run", recbole_kit.tiny(), "--trust", "--out", folder, "--config", settings())
    assert "holds a run of another model or data set" in refuses(*arguments, code=3)
    assert (folder / "run.json").read_bytes() == before


def test_a_run_of_other_settings(refuses, folder):
    """Before a model is opened; with --replace it is made over, see test_cli."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    arguments = (
        "run",
        checkpoint(),
        "--out",
        folder,
        "--config",
        settings(),
        "--k",
        5,
        "--seed",
        3,
    )
    said = refuses(*arguments, code=2)
    assert (
        "holds a run with other settings (k not given there, 5 here; seed 0 there, 3 here)" in said
    )
    assert "--replace" in said
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_file_instead_of_a_folder(refuses, tmp_path):
    (tmp_path / "run").touch()
    arguments = ("run", checkpoint(), "--trust", "--out", tmp_path / "run")
    assert "cannot be written" in refuses(*arguments, code=3)


ON_RUNS = [("concepts",), ("concepts", "--latent", 1), ("steer", "--set", "1=0"), ("report",)]


@pytest.mark.parametrize("arguments", ON_RUNS, ids=lambda a: " ".join(map(str, a)))
def test_no_run_there(arguments, refuses, tmp_path):
    name, *options = arguments
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert str(folder) in refuses(name, folder, *options, code=3)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", ON_RUNS, ids=lambda a: " ".join(map(str, a)))
def test_an_unfinished_run(arguments, refuses, folder):
    record = json.loads((folder / "run.json").read_text())
    record["stages"] = {"capture": record["stages"]["capture"]}
    (folder / "run.json").write_text(json.dumps(record))
    for file in (*folder.glob("*.parquet"), folder / "report.json"):
        file.unlink()
    name, *options = arguments
    assert "run" in refuses(name, folder, *options, code=3)


def test_a_full_disk(refuses, tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    arguments = ("run", checkpoint(), "--trust", "--out", tmp_path / "run")
    assert "The disk is full" in refuses(*arguments, code=3)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


# -- bad input: users, items, concepts -------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (("--set", "5=0", "--user", "nobody"), "No user has the id 'nobody'."),
        (("--set", "5=0", "--sequence", "Star Warz"), "Did you mean 'Star Wars'"),
        (("--set", "5=0", "--sequence", " , "), "The sequence is empty"),
        (("--set", "999=0"), "There is no latent 999: latents are numbered 0 to "),
        (("--set", "5"), "Cannot read the setting '5'"),
        (("--set", "5=nan"), "Cannot read the setting '5=nan'"),
        (("--set", "5=1e20"), "cannot be turned by 1e+20"),
        (("--set", "5=0", "--user", "1", "--sequence", "50"), "Give one of"),
        (("--set", "5=0", "--users", "1", "--cohort", "item:50"), "Give one of"),
        (("--set", "5=0", "--cohort", "horror"), "Cannot read the cohort 'horror'"),
        (("--with", "nothing"), "There is no steering file"),
        ((), "Nothing is turned: give --set or --with"),
        (("--list", "--set", "5=0"), "--list does not heed --set: give it alone"),
        (("--list", "--check"), "--list does not heed --check"),
        (("--check", "--set", "5=0", "--user", "1"), "--check does not heed --set and --user"),
        (("--check", "--save", "x"), "--check does not heed --save"),
        (("--set", "5=0", "--mask-seen"), "--mask-seen is for one list: give --user or"),
        (("--set", "5=0", "--replace"), "--replace is for --save: give both, or neither"),
        (
            ("--set", "5=0", "--sequence", "50", "--cohort", "item:50"),
            "A --sequence is nobody's, so --cohort says nothing about it",
        ),
        (("--set", "5=0", "--save", "nowhere/x.json"), "There is no folder nowhere to keep x.json"),
    ],
)
def test_steering_that_cannot_be(options, match, refuses, recbole_run):
    assert match in refuses("steer", recbole_run, *options, code=2)


def test_a_concept_that_is_misspelt_is_named_rightly(refuses, recbole_run):
    name = ConceptDictionary.load(recbole_run).table[C.NAME].min()
    said = refuses("steer", recbole_run, "--set", f"{name}x=0", code=2)
    assert f"No concept is named '{name}x'. Did you mean '{name}'" in said


def test_the_nearest_users_are_named(refuses, recommender, recbole_run):
    user = max(recommender.sequences().users, key=len)
    error = refuses("steer", recbole_run, "--set", "5=0", "--user", f"{user}0", code=2)
    assert f"'{user}'" in error.split("Did you mean")[1]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (("--latent", 999), "There is no latent 999: latents are numbered 0 to "),
        (("--status", "good"), "There is no status 'good': it is one of verified"),
    ],
)
def test_concepts_that_are_not_there(options, match, refuses, recbole_run):
    assert match in refuses("concepts", recbole_run, *options, code=2)


def test_wrong_usage(recsae_says, recbole_run):
    for arguments in (("run",), ("steer", recbole_run), ("runn",), ("run", "x", "--k", "many")):
        code, out, err = recsae_says(*arguments)
        assert (code, out) == (2, "")
        assert "Error: " in err
        assert "Traceback" not in err
