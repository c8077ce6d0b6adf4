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
FACTORS, TWO_TOWER = "docs/factors.md", "docs/examples/two_tower.md"
RUN_HERE = {
    *("README.md", "docs/start.md", "docs/run-folder.md", "docs/torch.md"),
    *(FACTORS, TWO_TOWER),
}
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


def planted_files(folder, n_users, *, again):
    """Planted data as the files that pages speak of; items are had ``again`` or not."""
    planted = PlantedRecommender(n_users=n_users, n_items=60, n_concepts=4, width=8, length=20)
    ids, sequences = planted.catalog.external_ids, planted.sequences()
    rows = [(u, ids[i], t) for u in range(n_users) for t, i in enumerate(sequences[u])]
    ratings = pd.DataFrame(rows, columns=["user", "item", "time"])
    ratings = ratings if again else ratings.drop_duplicates(["user", "item"])
    ratings.to_csv(folder / "ratings.csv", index=False)
    table = planted.catalog.frame[1:].assign(genre=lambda t: t["genre"].map("|".join))
    table.to_csv(folder / "items.csv", index=False)
    return planted


def small_run(recommender, folder):
    """In the place of run_pipeline on the pages of torch models."""
    return run_pipeline(recommender, folder, RunConfig(samples=20_000, latents=64))


@pytest.fixture
def torch_names(tmp_path, monkeypatch):
    """The page's own model, trained for a moment on planted data, and the files it speaks of."""
    planted = planted_files(tmp_path, 150, again=True)
    ids, sequences = planted.catalog.external_ids, planted.sequences()
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
    monkeypatch.setattr("recsae.pipeline.run_pipeline", small_run)
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


def test_a_two_tower_model_is_trained_and_makes_a_report(tmp_path, monkeypatch):
    planted_files(tmp_path, 150, again=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("recsae.pipeline.run_pipeline", small_run)
    torch.manual_seed(0)
    names = {}
    for code in python_of(TWO_TOWER):
        names = executed(code, TWO_TOWER, names)
    found = names["recommender"]
    assert [site.name for site in found.sites()] == ["user_tower", "user_tower.0"]
    assert torch.allclose(found.linear_head().items[1:], names["model"].items()[1:], atol=1e-4)
    report = read_report(Path("two-tower-run"))
    assert report.model.linear_head
    assert report.accuracy.heldout.base["ndcg@10"] > 0.15  # by chance 0.08


class Decomposed:
    """A factor model in NumPy: the first singular vectors of the table of users and items."""

    def __init__(self, names):
        table = np.zeros((len(names["user_ids"]), len(names["item_ids"])))
        table[names["rows"], names["columns"]] = 1
        left, sizes, right = np.linalg.svd(table, full_matrices=False)
        self.user_factors, self.item_factors = left[:, :8] * sizes[:8], right[:8].T


@pytest.fixture
def factor_names(tmp_path, monkeypatch):
    """What the page's first lines leave, but for implicit's model, and the page's other blocks."""
    planted_files(tmp_path, 600, again=False)
    monkeypatch.chdir(tmp_path)
    first, *others = python_of(FACTORS)
    assert first.count("implicit.als") == 1
    lines = re.sub(r"^(import implicit|model).*$", "", first, flags=re.MULTILINE)
    return executed(lines, FACTORS), others


def test_factors_make_a_report_and_are_steered(factor_names, monkeypatch, capsys):
    names, (attach, _, steer) = factor_names
    names["model"] = Decomposed(names)
    monkeypatch.setattr("recsae.pipeline.run_pipeline", small_run)
    names = executed(attach, FACTORS, names)
    report = read_report(Path("als-run"))
    assert report.model.one_state_per_user
    assert (report.data.n_users, report.data.attributes) == (600, ["genre"])
    assert report.accuracy.heldout.base["ndcg@10"] > 0.15  # by chance 0.08
    names = executed(steer, FACTORS, names)
    assert len(names["best"]) == 10
    assert capsys.readouterr().out.count("'") == 20
    assert command("concepts", "als-run") == command("report", "als-run") == 0
    assert command("steer", "als-run", "--user", "1", "--set", "3=0") == 2
    assert "made from a model in memory" in capsys.readouterr().err


def test_implicit_and_lightfm_as_on_the_page(factor_names, monkeypatch):
    implicit, lightfm = pytest.importorskip("implicit"), pytest.importorskip("lightfm")
    monkeypatch.setattr("recsae.pipeline.run_pipeline", lambda *_: None)
    names, (attach, of_lightfm, _) = factor_names
    names = executed(attach, FACTORS, executed(python_of(FACTORS)[0], FACTORS))
    assert isinstance(names["model"], implicit.cpu.als.AlternatingLeastSquares)
    model = lightfm.LightFM(no_components=8, loss="warp", random_state=0)
    ones = [1.0] * len(names["rows"])
    model.fit(names["csr_matrix"]((ones, (names["rows"], names["columns"]))), epochs=20)
    found = executed(of_lightfm, FACTORS, {**names, "model": model})["recommender"]
    assert found.linear_head().bias is not None
