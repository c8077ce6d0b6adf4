"""The steered scores as a file: read again it gives them, and what does not is not kept."""

import functools
import json
import logging
import re
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import pytest
import torch

from helpers.exports import ADDED, MIXED, batch, steered_scores
from helpers.runs import command
from recsae.core.errors import InvalidInput, RecSAEError
from recsae.run.open import open_workspace
from recsae.steering.files import Steering
from recsae.steering.serving import formats as export_formats
from recsae.steering.serving.formats import FORMATS, failing_as, formats_of
from recsae.steering.serving.loader import SteeredHead
from recsae.steering.serving.write import export

pytestmark = [pytest.mark.end_to_end, pytest.mark.recbole, pytest.mark.processes]


FILES = ["steered.pt2", "steered.onnx"]
STEPS = [MIXED, ADDED]
K = 2
LATENTS = 6
WIDTH = 6


@pytest.fixture(scope="module")
def opened(recbole_run):
    return open_workspace(recbole_run)


@pytest.fixture(scope="module")
def folders(opened, tmp_path_factory):
    """What is exported, by the number of its steps in ``STEPS``."""
    found = []
    for steps in STEPS:
        found.append(tmp_path_factory.mktemp("formats") / "out")
        written = export(opened, Steering(steps), found[-1], ["onnx", "torch", "onnx"])
        assert sorted(written.formats) == sorted(FILES)
    return found


@pytest.fixture(params=range(2), ids=["mixed", "added"])
def exported(request, folders):
    return STEPS[request.param], folders[request.param]


def head(steps, values, reached):
    """Latents are the dimensions, each has an item, and the first row is no item."""
    eye, rows = torch.eye(WIDTH), torch.cat([torch.zeros(1, WIDTH), torch.eye(WIDTH)])
    weights = {"mean": torch.zeros(WIDTH), "scale": torch.ones(()), "W_enc": eye, "directions": eye}
    weights |= {"b_enc": torch.zeros(LATENTS), "b_dec": torch.zeros(WIDTH), "items": rows}
    weights |= {f"gate_{part}": torch.zeros(0, WIDTH) for part in ("weight", "decoder")}
    weights |= {"gate_bound": torch.zeros(0), "bias": torch.zeros(len(rows))}
    weights["recommendable"] = rows.any(1)
    for number in range(len(steps)):
        weights |= {f"value_{number}": values[number], f"reached_{number}": reached[number]}
    return SteeredHead({"k": K, "latents": list(range(LATENTS)), "steps": steps}, weights).eval()


def without(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)


@pytest.fixture(params=["torch", "onnxruntime", "reference"])
def reader(request, monkeypatch):
    """A format's name, with each runtime that can read it."""
    if request.param == "reference":
        without(monkeypatch, "onnxruntime")
    return "torch" if request.param == "torch" else "onnx"


def test_read_again_it_gives_the_steered_scores(opened, exported, reader):
    steps, folder = exported
    score = FORMATS[reader].read((folder / FORMATS[reader].file).read_bytes())
    states, expected = opened.recommender.represent(batch(opened)), steered_scores(opened, steps)
    real = torch.from_numpy(opened.recommender.catalog.recommendable)
    for n in (1, 2, 3, 50):
        found = score(states[:n])
        assert found.shape == (n, len(real))
        torch.testing.assert_close(found[:, real], expected[:n, real], atol=1e-5, rtol=1e-5)
        assert found[:, ~real].isneginf().all()
    assert not real.all()


@functools.cache
def active_to_100():
    """A head that sets every latent that is active, and what its file holds in each format."""
    steps = [{"op": "set", "where": "active", "name": ""}]
    every = torch.ones(LATENTS, dtype=torch.bool)
    module = head(steps, [torch.full((LATENTS,), 100.0)], [every])
    with failing_as("its file"):
        return module, {name: FORMATS[name].make(module) for name in FORMATS}


def test_the_latents_that_are_active_are_those_that_torch_chooses(reader):
    module, made = active_to_100()
    with failing_as(reader):
        score = FORMATS[reader].read(made[reader])
    by_hand = [[1.0, 9.0, 3.0, 2.0, 8.0, 7.0], [1.0, -5.0, -6.0, -7.0, -8.0, -9.0]]
    steered = [[1.0, 100.0, 3.0, 2.0, 100.0, 7.0], [100.0, -5.0, -6.0, -7.0, -8.0, -9.0]]
    assert score(torch.tensor(by_hand))[:, 1:].tolist() == steered
    states = torch.randn(2000, WIDTH, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(score(states), module(states), atol=1e-5, rtol=1e-5)


def test_torchs_programs_need_nothing_of_recsae(folders, tmp_path):
    code = (
        "import sys; sys.modules['recsae'] = None; import torch\n"
        f"for path in {[str(folder / 'steered.pt2') for folder in folders]!r}:\n"
        "    print(len(torch.export.load(path).module()(torch.zeros(3, 64))))"
    )
    done = [sys.executable, "-c", code]
    done = subprocess.run(done, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "3"]


def test_onnx_is_one_file_with_a_free_number_of_states(opened, exported):
    model = onnx.load(exported[1] / "steered.onnx", load_external_data=False)
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    n_items = len(opened.recommender.catalog.recommendable)
    assert shapes == {"states": ["n", opened.sae.width], "scores": ["n", n_items]}
    assert {domain.domain for domain in model.opset_import} == {""}


def test_no_folder_of_this_machine_is_in_the_files(exported):
    program = zipfile.ZipFile(exported[1] / "steered.pt2")
    parts = [program.read(name) for name in program.namelist()]
    for part in [*parts, (exported[1] / "steered.onnx").read_bytes()]:
        assert b"exported.py" not in part
        assert str(Path(export_formats.__file__).parent).encode() not in part


def test_the_folders_readme_says_how_to_read_them(opened, exported, tmp_path, monkeypatch):
    page = (exported[1] / "README.md").read_text()
    lines = re.findall(r"`((?:torch|onnxruntime)\.[^`]*)`", page)
    assert len(lines) == 2
    monkeypatch.chdir(exported[1])
    states = opened.recommender.represent(batch(opened))
    by_torch = eval(lines[0], {"torch": torch, "states": states})
    import onnxruntime

    by_onnx = eval(lines[1], {"onnxruntime": onnxruntime, "states": states.numpy()})
    np.testing.assert_allclose(by_onnx, by_torch, atol=1e-4)
    export(opened, Steering(ADDED), tmp_path / "plain")
    plain = (tmp_path / "plain/README.md").read_text()
    assert not any(file in plain for file in FILES)
    assert "recommend them.\n- `" in page
    assert "recommend them.\n- `" in plain


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_a_missing_package_is_named(opened, tmp_path, monkeypatch, package):
    without(monkeypatch, package)
    said = rf"The package {package} is needed to write steered.onnx: pip install \"recsae\[onnx\]\""
    with pytest.raises(InvalidInput, match=said):
        export(opened, Steering(ADDED), tmp_path / "out", ["onnx"])
    assert not (tmp_path / "out").exists()
    assert list(formats_of(["torch"])) == ["torch"]


def test_without_onnxruntime_the_evaluator_of_onnx_checks(opened, tmp_path, monkeypatch):
    without(monkeypatch, "onnxruntime")
    asked = []
    original = onnx.reference.ReferenceEvaluator.run

    def counted(self, names, feeds):
        asked.append(len(feeds["states"]))
        return original(self, names, feeds)

    monkeypatch.setattr("onnx.reference.ReferenceEvaluator.run", counted)
    export(opened, Steering(MIXED), tmp_path / "out", ["onnx"])
    assert asked[:2] == [1, 7]
    assert asked[2] > 100


def other_bias(module):
    changed = dict(module.named_buffers())
    changed["bias"] = changed["bias"] + 0.01
    return SteeredHead({"k": module.k, "latents": module.latents, "steps": module.steps}, changed)


def padding_too(module):
    changed = dict(module.named_buffers())
    changed["recommendable"] = torch.ones_like(changed["recommendable"])
    return SteeredHead({"k": module.k, "latents": module.latents, "steps": module.steps}, changed)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("change", "gap"), [(other_bias, "0.01"), (padding_too, "inf")], ids=["bias", "padding"]
)
def test_a_file_with_other_scores_is_not_kept(opened, tmp_path, monkeypatch, name, change, gap):
    original = export_formats._program
    monkeypatch.setattr(export_formats, "_program", lambda module: original(change(module)))
    said = f"The scores of {FORMATS[name].file} differ from the steered ones by up to {gap}, so "
    with pytest.raises(RecSAEError, match=said):
        export(opened, Steering(MIXED), tmp_path / "out", [name])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_for_one_number_of_states_is_not_kept(opened, tmp_path, monkeypatch, name):
    def fixed(module):
        return torch.export.export(module, (torch.zeros(9, module.items.shape[1]),))

    monkeypatch.setattr(export_formats, "_program", fixed)
    said = f"^{FORMATS[name].file} could not be made .*so nothing was written: leave its --format"
    with pytest.raises(RecSAEError, match=said) as caught:
        export(opened, Steering(MIXED), tmp_path / "out", [name])
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_one_onnx_file_cannot_hold(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(export_formats, "LARGEST", 1000)
    with pytest.raises(InvalidInput, match="more than the 2 GB that fit in one ONNX file"):
        export(opened, Steering(MIXED), tmp_path / "out", ["onnx"])
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_format(opened, tmp_path):
    with pytest.raises(InvalidInput, match="There is no format 'pickle', only torch and onnx"):
        export(opened, Steering(MIXED), tmp_path / "out", ["pickle"])


def noisy_and_broken():
    sys.stdout.write("noise")
    raise ValueError


def test_nothing_is_said_and_nothing_stays_changed(opened, tmp_path, capfd):
    logger = logging.getLogger("torch.onnx")
    before = logger.level, list(warnings.filters), torch.is_grad_enabled(), torch.get_rng_state()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        export(opened, Steering(MIXED), tmp_path / "out", list(FORMATS))
    assert caught == []
    assert capfd.readouterr() == ("", "")
    assert (logger.level, list(warnings.filters), torch.is_grad_enabled()) == before[:3]
    assert torch.equal(torch.get_rng_state(), before[3])
    said = r"^a could not be made \(ValueError: no message\), so nothing was written"
    with pytest.raises(RecSAEError, match=said), failing_as("a"):
        noisy_and_broken()
    assert capfd.readouterr() == ("", "")
    assert logger.level == before[0]


def test_from_the_command_line(tmp_path, capsys, recbole_run):
    asked = ("export", recbole_run, "--set", "5+=1sd", "--out", tmp_path / "out")
    assert command(*asked, "--format", "tflite") == 2
    assert "'torch', 'onnx'" in capsys.readouterr().err
    assert command(*asked, "--format", "torch", "--format", "onnx", "--json") == 0
    assert json.loads(capsys.readouterr().out)["more files"] == FILES
    assert all((tmp_path / "out" / file).stat().st_size for file in FILES)
    assert not list((tmp_path / "out").glob(".*"))
