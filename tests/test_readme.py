"""What the README tells people to type works, and what it names is there."""

import re
import shlex
from pathlib import Path

import click
import pandas as pd
import pytest
import torch

pytest.importorskip("recbole")

import recsae.pipeline.plan
from helpers.runs import checkpoint, command, copy_of, recbole_run
from recsae.cli.entry import group
from recsae.pipeline.plan import run_pipeline
from recsae.report import read_report
from recsae.run.config import RunConfig
from recsae.testing import PlantedRecommender

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [
    shlex.split(part, comments=True)[1:]
    for _, block in BLOCKS
    for part in re.split(r"[\n;]\s*", block)
    if part.startswith("recsae ")
]
PYTHON, CLASS, ATTACH = (block for language, block in BLOCKS if language == "python")


def parsed(arguments):
    """The command that these arguments call, after click has read and checked every option."""
    name, *options = arguments
    called = group.get_command(click.Context(group), name)
    assert called is not None, name
    return called.make_context(name, list(options)).params


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_commands_can_be_typed(arguments):
    assert isinstance(parsed(arguments), dict)


def test_every_command_is_shown():
    assert {c[0] for c in COMMANDS} == set(group.list_commands(click.Context(group))) - {"demo"}
    assert "make demo" in README


def here(text):
    """With the places and latents of the tests' own run."""
    text = text.replace("saved/SASRec.pth", str(checkpoint())).replace("452", "45")
    return text.replace("my-run", str(recbole_run()))


@pytest.mark.parametrize(
    "arguments",
    [
        c
        for c in COMMANDS
        if c[0] in ("concepts", "steer") and not {"--user", "--edit", "--migrate"} & {*c}
    ],
    ids=" ".join,
)
def test_commands_on_a_run_run(arguments, capsys):
    """Names of concepts are those of the README's data set; here any verified one stands in."""
    capsys.readouterr()
    assert command("concepts", recbole_run(), "--status", "verified") == 0
    known = capsys.readouterr().out.splitlines()[1].split()[0]
    typed = [re.sub(r"^(Horror|Sci-Fi)=", f"{known}=", here(a)) for a in arguments]
    known_items = {"Alien": "Star Wars", "Alien, Aliens, Toy Story": "Star Wars, Scream"}
    typed = [known_items.get(a, a) for a in typed]
    assert command(*typed) == 0
    assert capsys.readouterr().err == ""


def test_the_python_lines_run(tmp_path, monkeypatch):
    asked, finished = [], recbole_run()

    def run_pipeline(recommender, folder, config):
        asked.append((recommender.name, config))
        copy_of(finished, folder)

    monkeypatch.setattr(recsae.pipeline.plan, "run_pipeline", run_pipeline)
    monkeypatch.chdir(tmp_path)
    names = {}
    code = PYTHON.replace("saved/SASRec.pth", str(checkpoint())).replace("452", "45")
    exec(compile(code, "README.md", "exec"), names)
    assert asked == [("SASRec", RunConfig(checkpoint=str(checkpoint())))]
    assert len(names["concepts"]) == 128


@pytest.fixture
def torch_names(tmp_path, monkeypatch):
    """The README's own model, trained for a moment on planted data, and the files it speaks of."""
    planted = PlantedRecommender(n_users=150, n_items=60, n_concepts=4, width=8, length=20)
    ids, sequences = planted.catalog.external_ids, planted.sequences()
    rows = [(u, ids[i], t) for u in range(150) for t, i in enumerate(sequences[u])]
    pd.DataFrame(rows, columns=["user", "item", "time"]).to_csv(
        tmp_path / "ratings.csv", index=False
    )
    table = planted.catalog.frame[1:].assign(genre=lambda t: t["genre"].map("|".join))
    table.to_csv(tmp_path / "items.csv", index=False)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names = {}
    exec(compile(CLASS, "README.md", "exec"), names)
    model = names["NextItem"](61)
    order = {item: number for number, item in enumerate(sorted(ids[1:]), start=1)}
    items = torch.zeros(150, 31, dtype=torch.int64)
    for row in range(150):
        history = [order[ids[i]] for i in sequences[row]]
        items[row, : len(history)] = torch.tensor(history)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(60):
        scores = model(items[:, :-1]).flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(scores, items[:, 1:].flatten(), ignore_index=0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.save(model.state_dict(), "gru.pt")
    return names


def test_the_torch_lines_make_a_report(torch_names):
    def quickly(recommender, folder):
        config = RunConfig(samples=20_000, latents=64, chance_directions=0)
        return run_pipeline(recommender, folder, config)

    assert len(re.findall(r"^.+$", ATTACH, flags=re.MULTILINE)) == 10
    exec(compile(ATTACH, "README.md", "exec"), {**torch_names, "run_pipeline": quickly})
    report = read_report(Path("gru-run"))
    assert (report.model.name, report.data.n_users) == ("NextItem", 150)
    assert report.model.linear_head
    assert report.data.attributes == ["genre"]
    assert Path("gru-run/report.html").stat().st_size > 10_000
    assert command("concepts", "gru-run") == command("report", "gru-run") == 0


def test_files_of_a_run_are_named():
    named = set(re.findall(r"^\| .*$", README, flags=re.MULTILINE)[1:])
    files = {name for row in named for name in re.findall(r"`([\w.]+/?)`", row.split("|")[1])}
    assert {"report.html", "report.json", "card.md", "concepts.csv", "sae/"} <= files
    for name in files:
        assert (recbole_run() / name).exists(), name


def test_make_targets_are_there():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_within_the_repository(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        target = ROOT / path if path else ROOT / page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings]
            assert anchor in slugs, link
