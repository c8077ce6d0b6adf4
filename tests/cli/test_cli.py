"""Every command on a RecBole checkpoint."""

import json
import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

pytest.importorskip("recbole")

import recsae
from helpers.runs import (
    RECBOLE,
    checkpoint,
    command,
    copy_of,
    first_output,
    in_brief,
    settings,
)
from recsae.cli.shared.tables import titles_of
from recsae.core.text import readable
from recsae.pipeline.plan import STAGES
from recsae.recommender.plugins import LABELERS
from recsae.report import read_report
from recsae.report.words.formats import floor_percent, two_digits
from recsae.run.record import Run

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.recbole,
    pytest.mark.processes,
]


QUICK = "latents = 64\nsamples = 20000\n"
QUICK += "construction_positions = 1500\nheldout_positions = 800\n"


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
    stages = err.splitlines()  # a line for each stage, and no bars, in a pipe
    assert [line.split(":")[0] for line in stages] == list(STAGES)
    assert all(re.fullmatch(r"[a-z]+: [\d.]+ s, [\d.]+ CPU s, [\d,]+ MB", s) for s in stages)
    assert out.rstrip().endswith(f"Report: {recbole_run / 'report.html'}")
    assert "peak memory" in out
    assert "verified" in out
    assert report.sae.n_latents == report.sae.n_core + RECBOLE["latents"]
    assert 0 < report.sae.n_core < report.sae.core.n_learnable < report.sae.core.n_candidates
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


def test_options_win_over_the_file(folder, tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text(QUICK + 'attribute_columns = ["class"]\nseed = 7\n')
    arguments = ("run", checkpoint(), "--trust", "--out", folder, "--config", file)
    with in_brief():
        assert command(*arguments, "--replace", "--latents", 32, "--k", 4) == 0
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
    with in_brief():
        code = command(
            *("run", checkpoint(), "--trust", "--out", folder, "--config", file, "--replace")
        )
    out, err = capsys.readouterr()
    assert code == 0
    assert "SAE steps" in err
    assert "cases evaluated" in err
    assert "%|" not in out
    assert "\r" not in out
    assert "steps" not in out


@pytest.mark.parametrize(
    ("size", "said"),
    [("2 gallons", "A size is a number and a unit"), ("300MB", "--memory allows 300 MB: take a")],
)
def test_what_a_run_may_take(size, said, folder, capsys):
    code = command("run", checkpoint(), "--trust", "--out", folder / "new", "--memory", size)
    assert code == 2
    assert said in capsys.readouterr().err
    assert not (folder / "new" / "run.json").exists()


# -- inspect, concepts -----------------------------------------------------------------------------


def test_inspect(says):
    out = says("inspect", checkpoint(), "--trust")
    assert "model: SASRec" in out
    assert "title column: movie_title" in out
    assert "sequence" in out
    facts = json.loads(says("inspect", checkpoint(), "--trust", "--json"))
    assert (facts["users"], facts["items"], facts["max_length"]) == (202, 234, 20)
    assert facts["sites"][0]["width"] == 64
    assert facts["linear head"] == "verified"
    assert facts["attributes"] == ["decade", "class"]
    assert len(facts["values"]["class"]) == 10
    assert facts["separated_by"] == {"class": "blanks"}
    assert f"Drama ({facts['values']['class']['Drama']})" in out
    assert len(facts["would capture"]) == 2


def test_inspect_compares_the_validation_score_on_all_cases(says):
    out = says("inspect", checkpoint(), "--trust", "--check")
    assert "validation: metric ndcg@10, stated 0." in out
    found = json.loads(says("inspect", checkpoint(), "--trust", "--check", "--json"))["validation"]
    assert found["n_cases"] == found["n_all"] == 202
    assert abs(found["found"] - found["stated"]) < 1e-4
    assert found["note"] == ""


def test_inspect_with_an_items_file(says, tmp_path):
    items = tmp_path / "items.csv"
    items.write_text("id,title,brand\n50,Star,Lucas\n")
    facts = json.loads(says("inspect", checkpoint(), "--trust", "--items", items, "--json"))
    assert facts["attributes"] == ["brand"]
    items.write_text("id,title,brand\n50,Star,Lucas/Film\n")
    more = "--items", items, "--separator", "/", "--json"
    facts = json.loads(says("inspect", checkpoint(), "--trust", *more))
    assert facts["values"] == {"brand": {"Lucas": 1, "Film": 1}}
    assert any("233 of 234 items are not in the item table" in note for note in facts["notes"])


def test_inspect_names_the_columns_that_are_not_read_and_reads_those_that_are_named(says, tmp_path):
    items = tmp_path / "items.csv"
    items.write_text("id,title,brand,colour,price\n50,Star,Lucas,red,3\n")
    given = "inspect", checkpoint(), "--trust", "--items", items
    said = "not read: colour, price. --attribute-columns NAMES reads those that you name"
    assert said in says(*given)
    named = *given, "--attribute-columns", "colour, brand", "--title-column", "price", "--json"
    facts = json.loads(says(*named))
    assert facts["values"] == {"colour": {"red": 1}, "brand": {"Lucas": 1}}
    assert facts["title_column"] == "price"
    assert facts["columns_not_read"] == ["title"]
    assert "not read" not in says("inspect", checkpoint(), "--trust")


def test_concepts(says, report, recbole_run):
    out = says("concepts", recbole_run).splitlines()
    assert out[0].split() == ["latent", "name", "status", "precision", "recall", "explains"]
    rows = json.loads(says("concepts", recbole_run, "--json"))
    assert len(rows) == report.sae.n_latents
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
    said = says("concepts", recbole_run, "--latent", 5).splitlines()
    assert f"label: {concept.label}" in said
    known = ("precision", "precision_low", "recall", "recall_low")
    for rate in ("precision", "recall"):
        low = floor_percent(facts[f"{rate}_low"])
        assert f"{rate}: {two_digits(facts[rate])} (at least {low})" in said
    assert {facts[name] for name in known} == {getattr(concept, name) for name in known}


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
        says("steer", recbole_run, "--set", f"{concept}=30", "--user", user, "--json")
    )
    assert found["changed"] == [f"{concept}: set to 30 for everybody"]
    table = found["table"]
    assert [row["place"] for row in table] == list(range(1, 11))
    assert [row["before"] for row in table] != [row["after"] for row in table]
    out = says("steer", recbole_run, "--set", f"{concept}=30", "--user", user)
    assert out.splitlines()[0] == "history: " + titles_of(found["history"])
    shown = out.split("\nplace ")[1].splitlines()[1:11]
    assert [int(line.split()[0]) for line in shown] == list(range(1, 11))
    assert all(
        readable(row["before"].rsplit(" (", 1)[0])[:12] in line
        for row, line in zip(table, shown, strict=True)
    )


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
    assert "without five: latent 5: switched off (for everybody)" in says("steer", run, "--list")
    listed = json.loads(says("steer", run, "--list", "--json"))
    assert listed == {
        "kept": {"without five": "latent 5: switched off (for everybody)"},
        "damaged": {},
    }
    with_it = says("steer", run, "--with", "without five")
    assert "changed: latent 5 (promotes " in with_it
    assert "): switched off" in with_it


def test_a_damaged_steering_file_is_told_beside_the_others(recsae_says, tmp_path, recbole_run):
    run = copy_of(recbole_run, tmp_path / "run")
    for name in ("one", "two"):
        assert recsae_says("steer", run, "--set", "5=off", "--save", name)[0] == 0
    (run / "steering" / "bad.json").write_text('{"version": 3}')
    for options in ((), ("--json",)):
        code, out, err = recsae_says("steer", run, "--list", *options)
        assert code == 3
        assert "one" in out
        assert "two" in out
        assert err.count("\n") == 1
        assert "bad.json is no steering file: 'version' is 3, and must be 1 or 2" in err
    assert list(json.loads(out)["damaged"]) == ["bad"]


def test_another_steering_is_replaced_where_that_is_asked_for(
    recsae_says, refuses, tmp_path, recbole_run
):
    run = copy_of(recbole_run, tmp_path / "run")
    path = run / "steering" / "one.json"
    switched_off = ("steer", run, "--set", "5=off", "--user", "273", "--save", "one")
    for _ in range(2):  # the same may be there
        assert recsae_says(*switched_off)[0] == 0
    kept = path.read_bytes()
    doubled = ("steer", run, "--set", "5=x2", "--user", "273", "--save", "one")
    said = refuses(*doubled, code=2)
    assert "one.json keeps another steering already, latent 5: switched off" in said
    said = refuses("tune", run, "--more", "Comedy", "--save", "one", code=2)
    assert "or replace it (--replace" in said
    assert path.read_bytes() == kept
    assert recsae_says(*doubled, "--replace")[0] == 0
    assert path.read_bytes() != kept


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
    promoted = found["promote"]["5"]
    assert found["changed"] == [
        f"{concept}: switched off",
        f"latent 5 (promotes {promoted}): 2 times as strong where active",
    ]
    assert found["held-out users"] == report.data.n_heldout_users
    measures = {row["measure"] for row in found["table"]}
    assert {"recall@10", "ndcg@10"} <= measures
    assert any(m.startswith("share of ") for m in measures)
    assert "held-out users: " in says(*arguments, "--all")


# -- beside the pipeline ---------------------------------------------------------------------------


def test_plugins(says):
    out = says("plugins")
    assert out.split()[:5] == ["kind", "name", "package", "version", "state"]
    rows = {row["name"]: row for row in json.loads(says("plugins", "--json"))}
    assert rows["recbole"]["state"] == "ready (recbole 1.2.1)"
    assert set(rows["recbole"]) == {"kind", "name", "package", "version", "state"}
    assert [rows[name]["kind"] for name in ("recbole", "attributes")] == ["plug-in", "labeler"]
    assert rows["attributes"]["state"] == "ready (where no --labeler is given)"


def test_labelers_of_other_packages_and_why_they_do_not_work(says, monkeypatch):
    values = {"mine": "collections:Counter", "gone": "no_such_module:it", "odd": "string:digits"}
    points = [EntryPoint(name, value, LABELERS) for name, value in values.items()]
    monkeypatch.setattr(
        "recsae.recommender.plugins.entry_points",
        lambda group: points if group == LABELERS else [],
    )
    rows = {row["name"]: row["state"] for row in json.loads(says("plugins", "--json"))}
    assert rows == {
        "attributes": "ready (where no --labeler is given)",
        "gone": "broken: ModuleNotFoundError: No module named 'no_such_module'",
        "mine": "ready (recsae run --labeler mine)",
        "odd": "broken: string:digits cannot be called to make a labeler",
    }


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
