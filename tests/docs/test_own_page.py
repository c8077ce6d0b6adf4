"""The SAE and the labeler that docs/own.md shows, on planted truth."""

import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import numpy as np
import pytest
import torch

from helpers.pages import python_of, text_of
from helpers.runs import command
from recsae import load_run
from recsae.concepts import labeler as labelers
from recsae.core.errors import ArtifactMismatch, InvalidInput
from recsae.core.files import read_json
from recsae.finished.opened import OpenRun
from recsae.pipeline import run_pipeline
from recsae.recommender.plugins import LABELERS
from recsae.report import read_report
from recsae.run import RunConfig
from recsae.run.record import Run
from recsae.run.workspace import Workspace
from recsae.sae import SAE
from recsae.sae.config import make_config
from recsae.testing import PlantedRecommender

pytestmark = pytest.mark.end_to_end

PAGE = "docs/own.md"
OWN, LINES, LENS, LABELER = python_of(PAGE)


@pytest.fixture(scope="module")
def planted():
    return PlantedRecommender(n_users=300, n_items=120, n_concepts=4, width=8, length=20)


@pytest.fixture(scope="module")
def made(planted, tmp_path_factory):
    """The names that the SAE's lines leave, and the folder that they ran in."""
    folder = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recsae.load_recommender", lambda path, trust: planted, raising=False)
        patch.chdir(folder)
        torch.manual_seed(0)
        names = {}
        exec(compile(OWN, PAGE, "exec"), names)
        lines = LINES.replace("n_latents=512, k=8, epochs=10", "n_latents=16, k=3, epochs=40")
        exec(compile(lines, PAGE, "exec"), names)
    return names, folder


def test_the_page_counts_its_lines():
    assert len([line for line in LINES.splitlines() if line]) == 10
    assert "These ten lines" in text_of(PAGE)


def test_an_sae_of_ones_own_is_tested(made):
    names, folder = made
    concepts = names["concepts"]
    assert len(concepts) == 16
    assert (concepts["status"] == "verified").sum() > 3  # the genres can be found
    report = read_report(folder / "own-run")
    assert report.sae.activation == "topk"  # as the example encodes
    assert 1 <= report.sae.k <= 3
    assert report.sae.fvu < 0.9
    assert report.baselines.random is not None
    page = (folder / "own-run" / "report.html").read_text(encoding="utf-8")
    assert "states seen" not in page  # it was not trained by the run


def test_commands_on_a_run_with_an_sae_of_ones_own(made, capsys):
    names, folder = made
    run = str(folder / "own-run")
    assert [command(*words) for words in (["concepts", run], ["report", run], ["doctor", run])] == [
        *(0, 0, 0)
    ]
    capsys.readouterr()
    assert command("compare", run, run) == 0
    work = Workspace(Run(folder / "own-run"), names["recommender"], finished=True)
    assert work.sae.kind == "topk"  # as the example encodes
    effect = OpenRun(work).steer({int(work.verified[0]): 0}).metrics()
    assert effect.n_users > 0
    with pytest.raises(InvalidInput, match="has an SAE of its own: give it, as sae="):
        run_pipeline(names["recommender"], run, Run(folder / "own-run").config)


class Squared:
    """Encodes by code that no folder keeps: the squares of what another one reads."""

    def __init__(self, given):
        self.encode, self.decode = lambda h: given.encode(h).square(), given.decode


def test_a_run_whose_sae_is_code_takes_it_again(planted, tmp_path, capsys):
    plain = SAE(make_config(n_latents=16, k=3), planted.sites()[0].width)
    given, folder = Squared(plain), tmp_path / "run"
    run_pipeline(planted, folder, RunConfig(core="none", stability=0), sae=given)
    assert read_report(folder).sae.activation == "own (Squared)"
    assert command("compare", folder, folder) == 3
    said = capsys.readouterr().err
    assert "own (Squared), whose code is not here: in Python, recsae.open_run(" in said
    assert said.count("\n") == 1
    work = Workspace(Run(folder), planted, finished=True, given=given)
    with torch.no_grad():
        assert OpenRun(work).steer({3: 0}).metrics().n_users > 0
    other = Workspace(Run(folder), planted, finished=True, given=plain)
    with pytest.raises(ArtifactMismatch, match="is not the one that the run in"):
        _ = other.sae


def test_another_sae_is_another_run(made):
    names, folder = made
    with torch.no_grad():
        again = names["MySAE"](8, 16, 3).eval()
    with pytest.raises(InvalidInput, match=r"holds a run with other settings .sae"):
        run_pipeline(names["recommender"], folder / "own-run", sae=again)


def test_saelens_lines(planted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = RunConfig(core="none", latents=16, k=3, samples=20_000, stability=0)
    run_pipeline(planted, "my-run", config)
    names = {}
    exec(compile(LENS, PAGE, "exec"), names)
    states = torch.randn(50, 8, generator=torch.Generator().manual_seed(1))
    before = SAE.load(tmp_path / "my-run" / "sae")
    torch.testing.assert_close(names["sae"].encode(states), before.encode(states))
    torch.testing.assert_close(names["sae"](states), before(states))
    assert read_json(tmp_path / "for-saelens" / "cfg.json")["architecture"] == "topk"


def test_a_labeler_of_ones_own_is_tested(planted, tmp_path, monkeypatch):
    module = ModuleType("last_item")
    exec(compile(LABELER, PAGE, "exec"), vars(module))
    monkeypatch.setitem(sys.modules, "last_item", module)
    name, value = "last-item", "last_item:LastItem"
    assert f'{name} = "{value}"' in text_of(PAGE)
    points = [EntryPoint(name, value, LABELERS)]
    monkeypatch.setattr(labelers, "entry_points", lambda group: points)
    config = RunConfig(
        core="none", latents=16, k=3, samples=20_000, stability=1, labeler="last-item"
    )
    run_pipeline(planted, tmp_path / "run", config)
    concepts = load_run(tmp_path / "run").concepts
    assert set(concepts["labeler"]) == {"last item"}
    assert concepts["name"].str.startswith("after ").all()
    tested = concepts["precision"].notna()
    assert tested.any()
    assert (concepts.loc[tested, "precision"] > concepts.loc[tested, "fire_rate"]).mean() > 0.5
    report = read_report(tmp_path / "run")
    assert {c.labeler for c in report.concepts.list} == {"last item"}
    some = next(c for c in report.concepts.list if c.status != "dead")
    whys = {e.why for e in some.counterexamples}
    assert whys
    assert whys <= {"the label's level is 0", "the label's level is 1"}
    assert np.isfinite(report.sae.fvu)
