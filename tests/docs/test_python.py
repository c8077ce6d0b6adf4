"""The Python on the pages runs: against the tests' own run, and on a plain torch model."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("recbole")

from helpers.pages import PAGES, python_of, text_of
from helpers.runs import checkpoint, command, copy_of
from recsae import open_run
from recsae.pipeline import run_pipeline
from recsae.report import read_report
from recsae.run import RunConfig
from recsae.testing import PlantedRecommender

pytestmark = [pytest.mark.end_to_end, pytest.mark.recbole]


CLASS, ATTACH, *_ = python_of("docs/torch.md")
RUN_HERE = {"README.md", "docs/start.md", "docs/run-folder.md", "docs/torch.md"}
RUN_ELSEWHERE = {
    *("docs/plugins.md", "docs/own.md", "docs/rectools.md"),
    *("docs/examples/ray.md", "docs/examples/spark.md"),
}
"""By test_plugin_page, test_own_page and test_engines; RecTools' page and the usual shapes of torch
models by the plug-ins' test_page and test_shapes."""


def test_every_page_with_python_is_run():
    assert {page for page in PAGES if python_of(page)} == RUN_HERE | RUN_ELSEWHERE


def executed(code, page, names=None):
    """The names that a page's code leaves."""
    names = dict(names or {})
    exec(compile(code, page, "exec"), names)
    return names


@pytest.fixture(scope="module")
def known(recbole_run):
    """What stands for the names on the pages in the tests' own run, which is of other data."""
    run = open_run(recbole_run)
    sequences, titles = run.recommender.sequences(), run.recommender.catalog.titles
    values = run.recommender.catalog.frequent_values()
    return {
        "saved/SASRec.pth": str(checkpoint()),
        "452": "45",
        "user=23": f"user={sequences.users[5]!s}",
        "Alien": titles[int(np.bincount(sequences.flat).argmax())],
        "Horror": run.search(status="verified")["name"].iloc[0],
        "Documentary": next(iter(values["class"])),
    }


@pytest.mark.parametrize("page", ["README.md", "docs/start.md"])
def test_a_run_from_python(page, tmp_path, monkeypatch, recbole_run, known):
    asked, finished = [], recbole_run

    def run_pipeline(recommender, folder, config):
        asked.append((recommender.name, config))
        copy_of(finished, folder)

    monkeypatch.setattr("recsae.pipeline.run_pipeline", run_pipeline)
    monkeypatch.chdir(tmp_path)
    (code,) = python_of(page)
    for old, new in known.items():
        code = code.replace(old, new)
    names = executed(code, page)
    assert asked == [("SASRec", RunConfig(checkpoint=str(checkpoint())))]
    assert len(names["concepts"]) == read_report(recbole_run).sae.n_latents
    assert names["card"].concept["latent"] == 45
    assert names["why"].item.title == known["Alien"]
    assert len(names["lists"].places) == 10
    assert 0.9 < names["tuned"].result.effect.ndcg_kept[0] < 1.1
    assert Path("serving/loader.py").exists()


def test_a_finished_run_as_tables(recbole_run):
    (code,) = python_of("docs/run-folder.md")
    names = executed(code.replace("my-run", str(recbole_run)), "docs/run-folder.md")
    assert {*names["verified"]["status"]} == {"verified"}
    assert {"sae", "random"} <= {*names["shares"].columns} | {*names["shares"].index}
    assert "ndcg_kept" in names["goals"]


@pytest.fixture
def torch_names(tmp_path, monkeypatch):
    """The page's own model, trained for a moment on planted data, and the files it speaks of."""
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
    names = executed(CLASS, "docs/torch.md")
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


def test_the_torch_lines_make_a_report(torch_names, monkeypatch):
    real = run_pipeline

    def quickly(recommender, folder):
        config = RunConfig(samples=20_000, latents=64)
        return real(recommender, folder, config)

    monkeypatch.setattr("recsae.pipeline.run_pipeline", quickly)
    lines = re.findall(r"^(?!import|from).+$", ATTACH, flags=re.MULTILINE)
    assert len(lines) == 8
    assert "eight lines" in text_of("docs/torch.md")
    executed(ATTACH, "docs/torch.md", torch_names)
    report = read_report(Path("gru-run"))
    assert (report.model.name, report.data.n_users) == ("NextItem", 150)
    assert report.model.linear_head
    assert report.data.attributes == ["genre"]
    assert Path("gru-run/report.html").stat().st_size > 10_000
    assert command("concepts", "gru-run") == command("report", "gru-run") == 0
