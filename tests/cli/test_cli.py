"""Every command on a RecBole checkpoint; every kind of bad input ends in one sentence."""

import csv
import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("recbole")

import recsae
from helpers import recbole_kit
from helpers.browser import CHROMIUM, browse, requests
from helpers.runs import RECBOLE, checkpoint, command, copy_of, first_output, settings
from recsae.recommender.plugins import load_recommender
from recsae.report import read_report
from recsae.run.record import Run

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.recbole,
    pytest.mark.browser,
    pytest.mark.processes,
]


QUICK = "latents = 64\nsamples = 20000\nchance_directions = 0\n"


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


def new_process(*arguments, after="pass"):
    """``recsae ARGUMENTS`` in a process of its own; ``after`` runs at the end of it."""
    code = (
        "import sys\nfrom recsae.cli import main\n"
        f"sys.argv = {['recsae', *map(str, arguments)]!r}\n"
        f"try:\n    main()\nfinally:\n    {after}\n"
    )
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


# -- run -------------------------------------------------------------------------------------------


def test_a_run_says_what_it_found_and_where(report, recbole_run):
    out, err = first_output()
    assert err == ""  # no progress in a pipe
    assert out.rstrip().endswith(f"Report: {recbole_run / 'report.html'}")
    assert "peak memory" in out
    assert "verified" in out
    assert report.sae.n_latents == RECBOLE["latents"]
    assert report.protocol.n_chance_directions == RECBOLE["chance_directions"]
    assert report.data.name == "ml-100k"
    assert report.data.attributes == ["decade", "class"]
    assert (report.data.n_users, report.model.n_items) == (202, 234)


def test_a_second_run_does_nothing_and_loads_nothing(recbole_run):
    show = "print(sorted({'torch', 'recbole', 'pandas', 'numpy'} & set(sys.modules)))"
    arguments = ("run", checkpoint(), "--out", recbole_run, "--config", settings())
    done = new_process(*arguments, after=show)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"Nothing to do: every stage of {recbole_run} is done and nothing has changed.",
        f"Report: {recbole_run / 'report.html'}",
        "[]",
    ]
    assert done.stderr == ""


def test_options_win_over_the_file(folder, says, tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text(QUICK + 'attribute_columns = ["class"]\nseed = 7\n')
    says(
        "run", checkpoint(), "--trust", "--out", folder, "--config", file, "--latents", 32, "--k", 4
    )
    config = Run(folder).config
    assert (config.latents, config.k, config.seed, config.samples) == (32, 4, 7, 20_000)
    assert config.attribute_columns == ["class"]
    assert read_report(folder).data.attributes == ["class"]
    assert read_report(folder).seed == 7


def test_progress_is_drawn_on_stderr_alone(folder, capsys, monkeypatch, tmp_path):
    """On a terminal too, stdout has the same lines."""
    import tqdm

    class Eager(tqdm.tqdm):
        def __init__(self, *args, **options):
            super().__init__(*args, **{**options, "delay": 0, "mininterval": 0})

    monkeypatch.setattr(tqdm, "tqdm", Eager)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    file = tmp_path / "settings.toml"
    file.write_text(QUICK)
    code = command("run", checkpoint(), "--trust", "--out", folder, "--config", file)
    out, err = capsys.readouterr()
    assert code == 0
    assert "SAE steps" in err
    assert "cases evaluated" in err
    assert "%|" not in out
    assert "\r" not in out
    assert "steps" not in out


# -- inspect, concepts -----------------------------------------------------------------------------


def test_inspect(says):
    out = says("inspect", checkpoint(), "--trust")
    assert "model: SASRec" in out
    assert "title_column: movie_title" in out
    assert "sequence" in out
    facts = json.loads(says("inspect", checkpoint(), "--trust", "--json"))
    assert (facts["users"], facts["items"], facts["max_length"]) == (202, 234, 20)
    assert facts["sites"][0]["width"] == 64
    assert facts["linear head"] == "verified"
    assert facts["attributes"] == ["decade", "class"]
    assert len(facts["would capture"]) == 2


def test_inspect_with_an_items_file(says, tmp_path):
    items = tmp_path / "items.csv"
    items.write_text("id,title,brand\n50,Star,Lucas\n")
    facts = json.loads(says("inspect", checkpoint(), "--trust", "--items", items, "--json"))
    assert facts["attributes"] == ["brand"]
    assert any("233 of 234 items are not in the item table" in note for note in facts["notes"])


def test_concepts(says, report, recbole_run):
    out = says("concepts", recbole_run).splitlines()
    assert out[0].split() == [
        *("latent", "name", "label", "status", "balanced_accuracy", "ci_low"),
        *("precision", "recall", "n_pos", "fire_rate"),
    ]
    assert len(out) == 129
    rows = json.loads(says("concepts", recbole_run, "--json"))
    assert len(rows) == 128
    verified = json.loads(says("concepts", recbole_run, "--status", "verified", "--json"))
    assert len(verified) == report.concepts.verified > 0
    name = verified[0]["name"]
    found = json.loads(says("concepts", recbole_run, "--search", name.upper(), "--json"))
    assert found
    assert all(name in row["name"] + row["label"] for row in found)
    assert says("concepts", recbole_run, "--search", "zzz") == "No concept fits.\n"
    assert json.loads(says("concepts", recbole_run, "--search", "zzz", "--json")) == []


def test_one_latent(says, report, recbole_run):
    facts = json.loads(says("concepts", recbole_run, "--latent", 5, "--json"))
    concept = next(c for c in report.concepts.list if c.latent == 5)
    assert (facts["latent"], facts["label"]) == (5, concept.label)
    assert len(facts["promotes"]) == len(facts["demotes"]) == 5
    assert f"label: {concept.label}" in says("concepts", recbole_run, "--latent", 5)


# -- steer -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def concept(report):
    """Name of a verified concept about an attribute."""
    return next(
        c.name for c in report.concepts.list if c.status == "verified" and c.attribute is not None
    )


def test_steer_one_user(says, recommender, concept, recbole_run):
    user = recommender.sequences().users[3]
    found = json.loads(
        says("steer", recbole_run, "--set", f"{concept}=5", "--user", user, "--json")
    )
    assert found["changed"] == [f"{concept} = 5"]
    table = found["table"]
    assert [row["place"] for row in table] == list(range(1, 11))
    assert [row["before"] for row in table] != [row["after"] for row in table]
    out = says("steer", recbole_run, "--set", f"{concept}=5", "--user", user)
    assert out.splitlines()[0] == "history: " + ", ".join(found["history"])
    assert all(row["after"] in out for row in table)


def test_seen_items_are_left_out_on_request(says, recommender, concept, recbole_run):
    sequences, catalog = recommender.sequences(), recommender.catalog
    row = max(range(60), key=lambda r: seen_among_top(says, recommender, concept, r))
    user = sequences.users[row]
    history = {catalog.external_ids[i] for i in sequences[row][:-1]}
    arguments = ("steer", recbole_run, "--set", f"{concept}=5", "--user", user, "--json")
    plain, masked = (json.loads(says(*arguments, *more)) for more in ((), ("--mask-seen",)))
    assert shown_ids(plain) & history
    assert not shown_ids(masked) & history


def shown_ids(found):
    cells = [row[side] for row in found["table"] for side in ("before", "after")]
    return {cell.rsplit("(", 1)[1].rstrip(")") for cell in cells}


def seen_among_top(says, recommender, concept, row):
    """How many of a user's ten best items are in the history."""
    from recsae.recommender.sequences import pad

    history = recommender.sequences()[row][:-1].tolist()
    scores = recommender.score(pad([history], 20))[0]
    return len(set(scores.topk(10).indices.tolist()) & set(history))


def test_steer_a_sequence_typed_in(says, recommender, concept, recbole_run):
    catalog = recommender.catalog
    first, second = catalog.external_ids[7], catalog.titles[9]
    typed = f'{first},"{second}"'
    found = json.loads(says("steer", recbole_run, "--set", "5=off", "--sequence", typed, "--json"))
    assert found["history"] == [catalog.titles[7], second]


def test_steering_is_kept_and_used_again(says, concept, tmp_path, recbole_run):
    """A file with a setting after it does what both settings do."""
    run, file = recbole_run, tmp_path / "both.json"
    kept = json.loads(says("steer", run, "--set", f"{concept}=0", "--save", file, "--json"))
    assert kept.pop("saved") == str(file)
    assert kept == json.loads(says("steer", run, "--with", file, "--json"))
    both = json.loads(says("steer", run, "--with", file, "--set", "5+=1sd", "--json"))
    typed = ("--set", f"{concept}=0", "--set", "5+=1sd")
    assert both == json.loads(says("steer", run, *typed, "--json"))


def test_kept_steering_is_listed(says, concept, tmp_path, recbole_run):
    run = copy_of(recbole_run, tmp_path / "run")
    assert "No steering file is kept" in says("steer", run, "--list")
    says("steer", run, "--set", "5=off", "--save", "without five")
    assert "without five: 5 ablated (for everybody)" in says("steer", run, "--list")
    listed = json.loads(says("steer", run, "--list", "--json"))
    assert listed == {"without five": "5 ablated (for everybody)"}
    assert "5 ablated" in says("steer", run, "--with", "without five")


def test_steer_a_cohort(says, concept, recommender, tmp_path, recbole_run):
    users = [str(u) for u in recommender.sequences().users]
    (tmp_path / "ids").write_text("\n".join(users))
    arguments = ("steer", recbole_run, "--set", "5=off", "--json")
    everybody = json.loads(says(*arguments))
    listed = json.loads(says(*arguments, "--users", tmp_path / "ids"))
    assert listed.pop("for") == f"{len(users):,} users"
    assert listed == everybody
    some = json.loads(says(*arguments, "--cohort", f"concept:{concept}>0.01"))
    assert 0 < some["held-out users"] <= everybody["held-out users"]


def test_steer_everybody(says, concept, report, recbole_run):
    arguments = ("steer", recbole_run, "--set", f"{concept}=0", "--set", "5=x2")
    found = json.loads(says(*arguments, "--all", "--json"))
    assert found == json.loads(says(*arguments, "--json"))
    assert found["changed"] == [f"{concept} ablated", "5 x2"]
    assert found["held-out users"] == report.data.n_heldout_users
    measures = {row["measure"] for row in found["table"]}
    assert {"recall@10", "ndcg@10"} <= measures
    assert any(m.startswith("share of ") for m in measures)
    assert "held-out users: " in says(*arguments, "--all")


# -- report ----------------------------------------------------------------------------------------


def test_report_again_gives_the_same_files(says, folder):
    pages = ("report.html", "card.md", "concepts.csv", "report.json")
    before = {name: (folder / name).read_bytes() for name in pages}
    for name in pages[:3]:
        (folder / name).write_text("spoiled")
    assert says("report", folder) == f"Report: {folder / 'report.html'}\n"
    assert {name: (folder / name).read_bytes() for name in pages} == before


def test_user_ids_are_hidden_on_request_and_stay_hidden(says, folder, recommender, recbole_run):
    """A run that is asked for again does not bring them back."""
    says("report", folder, "--redact-users")
    page = (folder / "report.html").read_text()
    users = users_shown(page)
    assert len(users) > 100
    assert all(re.fullmatch(r"user \d+", user) for user in users)
    assert set(users_shown((recbole_run / "report.html").read_text())) <= set(
        recommender.sequences().users
    )
    again = says("run", checkpoint(), "--out", folder, "--config", settings())
    assert again.startswith("Nothing to do")
    assert (folder / "report.html").read_text() == page


def users_shown(page):
    """Users in the data of a page."""
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(data[1])["users"]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install chromium to run this")
def test_the_page_of_a_real_run_in_a_browser(tmp_path, recbole_run):
    log = tmp_path / "net.json"
    page = recbole_run / "report.html"
    dom, logged = browse(page.as_uri(), tmp_path, f"--log-net-log={log}")
    assert "CONSOLE" not in logged, logged
    assert requests(log) == set()
    assert dom.count('class="row"') == 25
    assert "SASRec" in dom


# -- hostile items ---------------------------------------------------------------------------------

SCRIPT = "<script>alert(1)</script>"
HOSTILE = [SCRIPT, '=HYPERLINK("http://x.test")', "+1", "-1+cmd|' /C calc'!A0", "@SUM(1)", "\tx"]


@pytest.fixture(scope="module")
def hostile_run(tmp_path_factory, recommender):
    """A run on items whose titles and categories are code for browsers and spreadsheets."""
    folder = tmp_path_factory.mktemp("hostile")
    with (folder / "items.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "title", "category"])
        for i, item in enumerate(recommender.catalog.external_ids[1:]):
            writer.writerow([item, f"{HOSTILE[i % 6]} {i}", HOSTILE[i % 4].replace(" ", "_")])
    (folder / "settings.toml").write_text(QUICK)
    arguments = ("--items", folder / "items.csv", "--config", folder / "settings.toml")
    done = command("run", checkpoint(), "--trust", "--out", folder / "run", *arguments)
    assert done == 0
    return folder / "run"


def test_hostile_titles_are_text_everywhere(hostile_run):
    report = read_report(hostile_run)
    assert any(SCRIPT in item.title for item in report.items.values())
    assert any(SCRIPT in c.label for c in report.concepts.list)
    page = (hostile_run / "report.html").read_text()
    assert SCRIPT not in page
    assert "alert(1)" in page
    assert SCRIPT not in (hostile_run / "card.md").read_text()
    with (hostile_run / "concepts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 64
    names = [row["name"] for row in rows]
    assert any("HYPERLINK" in name or "cmd|" in name or "+1" in name for name in names)
    for name in names:
        assert not name.startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install chromium to run this")
def test_hostile_titles_do_nothing_in_a_browser(hostile_run, tmp_path):
    log = tmp_path / "net.json"
    dom, logged = browse((hostile_run / "report.html").as_uri(), tmp_path, f"--log-net-log={log}")
    assert "CONSOLE" not in logged, logged
    assert requests(log) == set()
    assert "&lt;script&gt;alert(1)" in dom


# -- beside the pipeline ---------------------------------------------------------------------------


def test_plugins(says):
    out = says("plugins")
    assert out.split()[:4] == ["name", "package", "version", "state"]
    rows = {row["name"]: row for row in json.loads(says("plugins", "--json"))}
    assert rows["recbole"]["state"] == "ready (recbole 1.2.1)"
    assert set(rows["recbole"]) == {"name", "package", "version", "state"}


def test_doctor(recsae_says):
    code, out, err = recsae_says("doctor", "--json")
    rows = json.loads(out)
    assert err == ""
    assert code == (3 if any(row["state"] == "fails" for row in rows) else 0)
    states = {row["check"]: row["state"] for row in rows}
    assert states["torch"] == states["parquet"] == states["plug-in recbole"] == "works"
    assert recsae_says("doctor")[1].startswith("check ")


def test_doctor_fails_where_something_does(recsae_says, monkeypatch):
    fails = [{"check": "torch", "state": "fails", "seen": "not installed"}]
    monkeypatch.setattr("recsae.cli.doctor.checks", lambda: fails)
    assert recsae_says("doctor")[0] == 3


def test_version_and_help(says):
    assert recsae.__version__ in says("--version")
    out = says("--help")
    names = ("demo", "run", "inspect", "concepts", "steer", "report", "plugins", "doctor")
    places = [out.index(f"\n  {name} ") for name in names]
    assert places == sorted(places)
    assert says("-h") == out
    for name in names:
        assert says(name, "--help").startswith(f"Usage: recsae {name}")


def test_without_a_command_help_is_shown(recsae_says):
    code, out, err = recsae_says()
    assert code == 2
    assert "Usage: recsae" in out + err


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
        (("--site", "sequense"), "Did you mean 'sequence'?"),
        (("--title-column", "movie_titel"), "no title column 'movie_titel'"),
        (("--attribute-columns", "class,genre"), "no attribute column 'genre'"),
        (("--items", "/nowhere.csv"), "/nowhere.csv"),
        (("--config", "/nowhere.toml"), "Cannot read the settings in /nowhere.toml"),
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
        ("latents = ", "Cannot read the settings in"),
        ("[sae]\nk = 8", "Setting 'sae'"),
        ("\udcff", "Cannot read the settings in"),
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
        ("id,title\n50,a\n51,Good, the Bad\n", "Expected 2 fields in line 3, saw 3"),
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
        (("--set", "Thrilller=0"), "No concept is named 'Thrilller'. Did you mean 'Thriller'"),
        (("--set", "128=0"), "There is no latent 128: latents are numbered 0 to 127."),
        (("--set", "5"), "Cannot read the setting '5'"),
        (("--set", "5=nan"), "Cannot read the setting '5=nan'"),
        (("--set", "5=1e20"), "cannot be turned by 1e+20"),
        (("--set", "5=0", "--user", "1", "--all"), "Give one of --user, --sequence and --all."),
        (("--set", "5=0", "--user", "1", "--sequence", "50"), "Give one of"),
        (("--set", "5=0", "--users", "1", "--cohort", "item:50"), "Give one of"),
        (("--set", "5=0", "--cohort", "horror"), "Cannot read the cohort 'horror'"),
        (("--with", "nothing"), "There is no steering file"),
        ((), "Nothing is turned: give --set or --with"),
    ],
)
def test_steering_that_cannot_be(options, match, refuses, recbole_run):
    assert match in refuses("steer", recbole_run, *options, code=2)


def test_the_nearest_users_are_named(refuses, recommender, recbole_run):
    user = max(recommender.sequences().users, key=len)
    error = refuses("steer", recbole_run, "--set", "5=0", "--user", f"{user}0", code=2)
    assert f"'{user}'" in error.split("Did you mean")[1]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (("--latent", 128), "There is no latent 128: latents are numbered 0 to 127."),
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


# -- debug -----------------------------------------------------------------------------------------


def test_a_traceback_only_when_asked_for(tmp_path):
    path = Path(tmp_path / "missing.pth")
    quiet, loud = (new_process("inspect", path, *more) for more in ((), ("--debug",)))
    assert quiet.returncode == 3
    assert (
        quiet.stderr == f"Error: The checkpoint {path} does not exist: give the path of a file.\n"
    )
    assert loud.returncode != 0
    assert "Traceback (most recent call last)" in loud.stderr
    assert "CannotOpenModel" in loud.stderr
    assert quiet.stdout == loud.stdout == ""


def test_stopped_by_the_user(recsae_says, monkeypatch, tmp_path):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("recsae.recommender.plugins.load_recommender", stop)
    code, out, err = recsae_says("run", checkpoint(), "--out", tmp_path / "run")
    assert (code, out) == (130, "")
    assert err.strip() == "Stopped. The same command goes on from here."


# -- demo ------------------------------------------------------------------------------------------


def test_the_demo_trains_once_and_goes_the_way_of_any_checkpoint(
    recsae_says, monkeypatch, tmp_path
):
    trained, ran = [], []

    def train(_, path, *, seed, progress):
        trained.append((path, seed, progress))
        path.parent.mkdir(parents=True)
        path.write_bytes(b"weights")

    monkeypatch.setattr("recsae_recbole.RecBolePlugin.demo_checkpoint", train)
    monkeypatch.setattr("recsae.cli.demo.make_run", lambda *given, **how: ran.append((*given, how)))
    for _ in range(2):
        code, out, err = recsae_says("demo", "--out", tmp_path / "demo", "--seed", 5)
        assert code == 0
        assert out == f"Checkpoint: {tmp_path / 'demo' / 'SASRec-ml-100k-5.pth'}\n"
        assert ("Training SASRec" in err) is (len(ran) == 1)
    path = tmp_path / "demo" / "SASRec-ml-100k-5.pth"
    assert trained == [(path, 5, None)]
    assert ran[0] == ran[1]
    config, folder, how = ran[0]
    assert config.checkpoint == str(path)
    assert config.seed == 0
    assert folder == tmp_path / "demo" / "run"
    assert how == {"trust": True, "device": "cpu"}
