"""Exported steering gives the steered scores: by its loader, and behind a plain numpy server."""

import importlib.util
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.exports import ADDED, MIXED, batch, steered_scores
from helpers.runs import command, copy_of, with_pieces
from recsae.core.errors import ArtifactMismatch, InvalidInput, RecSAEError
from recsae.core.files import read_json, write_json
from recsae.run.open import open_workspace
from recsae.steering.context import steer
from recsae.steering.files import Steering
from recsae.steering.serving.server import Server, Steered
from recsae.steering.serving.write import export
from recsae.steering.steps.applied import applied_in, state_edit
from recsae.steering.steps.kinds import Calibration, Direction, Filter, Powers, ReRanking
from recsae.steering.steps.ranking import Beside

pytestmark = [pytest.mark.end_to_end, pytest.mark.recbole, pytest.mark.processes]


@pytest.fixture(scope="module")
def opened(recbole_run):
    return open_workspace(recbole_run)


@pytest.fixture(scope="module", params=[MIXED, ADDED], ids=["mixed", "added"])
def exported(request, opened, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "out"
    export(opened, Steering(request.param), folder)
    return request.param, folder


def module_at(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_the_loader_gives_the_steered_scores(opened, exported):
    steps, folder = exported
    loaded = module_at(folder / "loader.py", "loader").load(folder)
    states = opened.recommender.represent(batch(opened))
    real = torch.from_numpy(opened.recommender.catalog.recommendable)
    expected = steered_scores(opened, steps)
    torch.testing.assert_close(loaded(states)[:, real], expected[:, real], atol=1e-5, rtol=1e-5)
    assert not torch.isfinite(loaded(states)[:, ~real]).any()
    assert not torch.allclose(expected, opened.recommender.score(batch(opened)))


def test_the_loader_needs_nothing_of_recsae(exported):
    code = (
        "import sys; sys.modules['recsae'] = None; from loader import load; load('.');"
        "print(sorted(m for m in sys.modules if m.startswith('recsae.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=exported[1], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_server_of_plain_numpy_gives_the_steered_list(opened, exported):
    steps, folder = exported
    server = Server(("127.0.0.1", 0), Steered(folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ids = opened.recommender.catalog.external_ids
    real = torch.from_numpy(opened.recommender.catalog.recommendable)
    expected = steered_scores(opened, steps).masked_fill(~real, float("-inf"))
    url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        for row, state in enumerate(opened.recommender.represent(batch(opened))[:5]):
            asked = json.dumps({"state": state.tolist(), "k": 4}).encode()
            with urllib.request.urlopen(url, asked) as answer:
                found = json.load(answer)
            values, items = expected[row].topk(4)
            assert [one["item"] for one in found] == [ids[i] for i in items]
            assert [one["score"] for one in found] == pytest.approx(values.tolist(), abs=1e-4)
    finally:
        server.shutdown()
        server.server_close()


def test_what_is_only_added_for_everybody_needs_no_encoder(opened, exported):
    steps, folder = exported
    assert (folder / "shift.npy").exists() == (steps is ADDED)
    page = (folder / "README.md").read_text()
    assert ("Add\n  this vector to the query" in page) == (steps is ADDED)
    if steps is ADDED:
        directions = opened.sae.directions()
        by_hand = 0.5 * directions[9] - directions[3] + 2 * directions[2]
        np.testing.assert_allclose(np.load(folder / "shift.npy"), by_hand.numpy(), atol=1e-6)


@pytest.mark.parametrize("steps", [MIXED, ADDED], ids=["mixed", "added"])
def test_where_scores_are_not_linear_states_are_exported(opened, tmp_path, steps):
    """Inside the model, where states of every position pass: the module in their place gives the
    steered scores."""
    inside = with_pieces(opened, site="trm_encoder.layer.0", head=None)
    written = export(inside, Steering(steps), tmp_path / "out", ["torch", "onnx"])
    assert written.needs_encoder == (steps is MIXED)
    assert not {"items.npy", "ids.json"} & {p.name for p in (tmp_path / "out").iterdir()}
    page = (tmp_path / "out/README.md").read_text()
    assert "at the site 'trm_encoder.layer.0'" in page
    assert "put the steered ones in their place" in page
    module = module_at(tmp_path / "out/loader.py", "loader").load(tmp_path / "out")
    recommender = inside.recommender
    with recommender.edit(module.edit, inside.site):
        by_module = recommender.score(batch(opened))
    with steer(recommender, opened.sae, steps, site=inside.site):
        expected = recommender.score(batch(opened))
    torch.testing.assert_close(by_module, expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(expected, recommender.score(batch(opened)), atol=1e-3)
    states = torch.randn(3, 5, opened.sae.width)
    torch.testing.assert_close(module(states)[1], module(states[1]))


def re_ranking(by="probability", **more):
    kind = {"by": by, "more": ("Comedy",), "strength": 2.0, "unit": 0.01}
    return ReRanking(**kind | {"temperature": 0.7 if by == "probability" else None} | more)


POWERS = Powers(p=0.8, place=-0.2, popularity=0.3)
LISTS = {
    "constant": [re_ranking("constant", strength=90.0)],
    "filter": [Filter(never=("Comedy",))],
    "log popularity": [re_ranking("log popularity", more=(), popularity="-", strength=9.0)],
    "probability": [re_ranking()],
    "calibrated": [re_ranking(powers=POWERS)],
    "calibrated, rare": [re_ranking(more=(), popularity="-", candidates=40, powers=POWERS)],
    "rare items": [re_ranking(more=(), popularity="-")],
    "latents, then": [*ADDED, re_ranking(candidates=30), Filter(never=("Drama",))],
    "two queries": [
        *ADDED,
        re_ranking(candidates=31, edits="candidates"),
        re_ranking("constant", strength=50.0),
        Filter(never=("Drama",)),
    ],
    "pushes": [*ADDED, re_ranking(more=(), strength=3.0, candidates=60, edits="pushes")],
    "two queries, calibrated": [
        *ADDED,
        re_ranking(candidates=30, edits="candidates", powers=POWERS),
    ],
    "two": [re_ranking("constant", strength=50.0, candidates=25), re_ranking("constant")],
    "direction": [Direction(name="any", vector=(0.3,) * 32, strength=2.0), re_ranking()],
}


@pytest.mark.parametrize("head", [True, False], ids=["head", "no head"])
@pytest.mark.parametrize("n_first", [20, 300], ids=["of the first", "of all"])
@pytest.mark.parametrize("kind", list(LISTS))
def test_lists_are_exported_as_they_are_made(opened, tmp_path, kind, head, n_first, monkeypatch):
    """By the loader out of states, or out of the steered model's scores, and by plain numpy;
    where there are more items than lists by probability choose from, too."""
    for name in ("steps.ranking", "serving.write"):
        monkeypatch.setattr(f"recsae.steering.{name}.N_FIRST", n_first)
    steps = [
        step.model_copy(update={"vector": (0.3,) * opened.sae.width})
        if isinstance(step, Direction)
        else step
        for step in LISTS[kind]
    ]
    work = opened if head else with_pieces(opened, head=None)
    export(work, Steering(steps), tmp_path / "out")
    module = module_at(tmp_path / "out/loader.py", "loader").load(tmp_path / "out")
    done, catalog = applied_in(opened, steps), opened.recommender.catalog
    with opened.recommender.edit(state_edit(opened.sae, steps)):
        scores = opened.recommender.score(batch(opened)).clone()
    scores[:, ~catalog.recommendable] = float("-inf")
    plain = opened.recommender.score(batch(opened)).clone()
    plain[:, ~catalog.recommendable] = float("-inf")
    expected = done.of_scores(scores, 10, Beside(own=plain))
    assert (expected != plain.topk(10).indices).any(1).float().mean() > 0.5
    states = opened.recommender.represent(batch(opened))
    found = module.lists(states, 10) if head else module.rank(scores, 10, plain)
    if not head and done.needs_own:
        with pytest.raises(ValueError, match="give own=, the scores without steering"):
            module.rank(scores, 10)
    assert (found == expected).float().mean() > 0.99  # rounding may swap items that are alike
    ranks = bool(module.ranking) or module.has_banned
    assert ('load(".").rank' in (tmp_path / "out/README.md").read_text()) == ranks
    if head:
        served = Steered(tmp_path / "out")
        rows = [[catalog.external_ids[i] for i in row if i] for row in expected.tolist()]
        own = [[x["item"] for x in served.recommend(s.numpy(), 10)] for s in states[:20]]
        assert np.mean([a == b for a, b in zip(own, rows, strict=False)]) >= 0.9


def test_formats_hold_what_is_part_of_the_scores_and_no_more(opened, tmp_path):
    linear = [*ADDED, *LISTS["constant"], *LISTS["filter"]]
    export(opened, Steering(linear), tmp_path / "out", ["onnx", "torch"])
    for steps in (LISTS["probability"], [re_ranking("constant", candidates=30)]):
        with pytest.raises(InvalidInput, match=r"steered.onnx can hold .* leave --format out"):
            export(opened, Steering(steps), tmp_path / "no", ["onnx"])
    assert not (tmp_path / "no").exists()


def test_lists_that_come_out_otherwise_are_not_kept(opened, tmp_path, monkeypatch):
    name = "recsae.steering.serving.loader.SteeredStates.rank"
    monkeypatch.setattr(name, lambda self, scores, k, own: scores.topk(k).indices)
    with pytest.raises(RecSAEError, match=r"places in lists of the exported module are as they"):
        export(opened, Steering(LISTS["probability"]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_calibration_needs_histories_which_an_export_has_not(opened, tmp_path):
    step = Calibration(attribute="genre", by="greedy", strength=1.0, temperature=1.0, candidates=50)
    with pytest.raises(InvalidInput, match="Calibration needs each user's history"):
        export(opened, Steering([*ADDED, step]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_for_some_users(opened, tmp_path):
    export(opened, Steering(ADDED, ("7", "9")), tmp_path / "out")
    assert (tmp_path / "out/users.txt").read_text() == "7\n9\n"
    assert "users.txt" in (tmp_path / "out/README.md").read_text()


def test_what_cannot_be_exported(opened, tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    with pytest.raises(InvalidInput, match="is not an empty folder"):
        export(opened, Steering(ADDED), tmp_path / "full")
    with monkeypatch.context() as patch:
        patch.setattr(
            opened.sae, "config", opened.sae.config.model_copy(update={"activation": "relu"})
        )
        with pytest.raises(InvalidInput, match="activation 'relu' cannot be exported"):
            export(opened, Steering(ADDED), tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(
            "recsae.steering.serving.loader.SteeredStates.edit", lambda self, states: states
        )
        with pytest.raises(RecSAEError, match="differ from the steered ones"):
            export(opened, Steering(ADDED), tmp_path / "out")
        inside = with_pieces(opened, site="trm_encoder.layer.0", head=None)
        with pytest.raises(RecSAEError, match="differ from the steered ones"):
            export(inside, Steering(ADDED), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_from_the_command_line(tmp_path, capsys, recbole_run):
    assert command("export", recbole_run, "--set", "5+=1sd", "--out", tmp_path / "a") == 0
    assert "needs the encoder: no" in capsys.readouterr().out
    arguments = ("export", recbole_run, "--set", "5=x2", "--out", tmp_path / "b", "--json")
    assert command(*arguments) == 0
    assert json.loads(capsys.readouterr().out)["needs the encoder"] is True
    assert command("export", recbole_run, "--out", tmp_path / "c") == 2
    assert "Nothing is turned" in capsys.readouterr().err


@pytest.mark.parametrize("write", [1, 4])
def test_an_export_that_was_killed_can_be_repeated(opened, tmp_path, write):
    out, steering = tmp_path / "out", Steering(ADDED)
    pid = os.fork()
    if not pid:
        replace, number = Path.replace, itertools.count(1)

        def fatal(self, target):
            replace(self, target)
            if next(number) == write:
                os.kill(os.getpid(), signal.SIGKILL)

        Path.replace = fatal
        try:
            export(opened, steering, out)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == [".out.recsae.part"]
    export(opened, steering, out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not list(out.rglob(".*"))


def test_no_export_of_a_run_that_was_made_anew_meanwhile(recbole_run, tmp_path):
    folder = copy_of(recbole_run, tmp_path / "run")
    work = open_workspace(folder)
    taken = read_json(folder / "run.json")
    taken["stages"]["train"]["outputs"]["sae/sae.safetensors"] = "0" * 64
    write_json(folder / "run.json", taken)
    with pytest.raises(ArtifactMismatch, match="has been made anew meanwhile"):
        export(work, Steering(ADDED), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
