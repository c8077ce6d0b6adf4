"""Models that RecTools saved: recognised without unpickling, read with trust, and refused."""

import io
import pickle
import sys

import numpy as np
import pytest
import torch

pytest.importorskip("rectools")

from rectools.models import PopularModel, SASRecModel

from helpers.rectools_kit import MODELS, attached, dataset, fitted, recommended
from recsae.core.errors import CannotOpenModel
from recsae.recommender.plugins import get_plugin
from recsae_rectools import plugin
from recsae_rectools.boundary import rectools_boundary
from recsae_rectools.checkpoint import is_rectools, pickled_class
from recsae_rectools.open import open_model

pytestmark = pytest.mark.rectools


def saved(path, name="SASRec", change=None, **which):
    """A model's file: what ``save`` writes, or the trainer's checkpoint if it ends so."""
    model = fitted(name, **which)
    with rectools_boundary():
        if path.suffix != ".ckpt":
            model.save(path)
            return path
        model.fit_trainer.save_checkpoint(path)
    if change:
        checkpoint = torch.load(path, weights_only=False)
        change(checkpoint)
        torch.save(checkpoint, path)
    return path


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("file", ["model.pkl", "model.ckpt"])
def test_a_saved_model_is_the_one_in_memory(name, file, tmp_path):
    path = saved(tmp_path / file, name, with_features=True)
    assert plugin.recognises(path)
    found = open_model(path, trust=True, dataset=dataset(True))
    there = attached(name, "dot", True)
    assert found.fingerprint() == there.fingerprint()
    assert found.sites() == there.sites()
    users = ["u1", "u39"]
    at = found.data.times.max().astype("datetime64[ns]")
    one, other = (
        recommended(model, users, dataset(True), at=at)
        for model in (found.rectools_model, there.rectools_model)
    )
    assert one.equals(other)
    assert found.describe()["checkpoint_sha256"]


def test_nothing_is_unpickled_to_recognise_or_without_trust(tmp_path):
    class Loud:
        def __reduce__(self):
            return exec, ("raise SystemExit('unpickled')",)

    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"model_config": Loud()}))
    assert pickled_class(path).name == "builtins.exec"
    is_rectools(path)
    for file in ("model.pkl", "model.ckpt"):
        path = saved(tmp_path / file)
        with pytest.raises(CannotOpenModel, match=r"holds pickled Python objects .*--trust"):
            open_model(path, dataset=dataset())


def test_what_is_not_rectools(tmp_path):
    files = {
        "text": b"hello",
        "empty": b"",
        "zip": b"PK\x03\x04",
        "pickle": pickle.dumps({"a": np.zeros(3)}),
        "cut": pickle.dumps(np.zeros(3))[:7],
    }
    for name, content in files.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert not plugin.recognises(path), name
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "weights.pt")
    assert not plugin.recognises(tmp_path / "weights.pt")
    assert not plugin.recognises(object())
    assert not plugin.recognises(torch.nn.Linear(1, 1))
    assert get_plugin("rectools").name == "rectools"


@pytest.mark.parametrize("file", ["model.pkl", "model.ckpt"])
@pytest.mark.parametrize("cut", [40, 5000])
def test_a_file_that_was_cut_short(file, cut, tmp_path):
    path = saved(tmp_path / file)
    path.write_bytes(path.read_bytes()[:-cut])
    if file == "model.ckpt":
        assert not plugin.recognises(path)
        return
    with pytest.raises(CannotOpenModel, match="is damaged or was written by an incompatible"):
        open_model(path, trust=True, dataset=dataset())


def test_other_things_that_rectools_saves(tmp_path):
    path = tmp_path / "x.pkl"
    with rectools_boundary():
        PopularModel().fit(dataset()).save(path)
    assert plugin.recognises(path)
    with pytest.raises(CannotOpenModel, match="holds a PopularModel, which is no transformer: re"):
        open_model(path, trust=True)
    path.write_bytes(pickle.dumps(dataset()))
    with pytest.raises(CannotOpenModel, match=r"holds RecTools' Dataset, no model: .*--data-path"):
        open_model(path, trust=True)
    with rectools_boundary():
        SASRecModel().save(path)
    with pytest.raises(CannotOpenModel, match="holds a SASRecModel that is not fitted: there are"):
        open_model(path, trust=True)


def of_another_version(checkpoint):
    checkpoint["hyper_parameters"]["model_config"]["n_experts"] = 8


def without_schema(checkpoint):
    del checkpoint["hyper_parameters"]["dataset_schema"]


def narrower(checkpoint):
    checkpoint["hyper_parameters"]["model_config"]["n_factors"] = 4


def broken(checkpoint):
    next(iter(checkpoint["state_dict"].values()))[0] = float("nan")


def of_a_class_that_is_gone(checkpoint):
    checkpoint["hyper_parameters"]["model_config"]["cls"] = "my_models.Better"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            of_another_version,
            r"RecTools 0.19 cannot make the model 'SASRecModel' .*n_experts.*anot",
        ),
        (without_schema, r"is no checkpoint of RecTools 0.19: that has \['dataset_schema', "),
        (narrower, r"do not fit the model .*: torch_model\S+ is \(30?1?, 8\) in the file and "),
        (broken, "are NaN or infinite in 'item_model"),
        (of_a_class_that_is_gone, "cannot make the model 'my_models.Better'"),
    ],
)
def test_checkpoints_that_cannot_be_opened(change, words, tmp_path):
    path = saved(tmp_path / "model.ckpt", change=change)
    with pytest.raises(CannotOpenModel, match=words) as raised:
        open_model(path, trust=True, dataset=dataset())
    assert "\n" not in str(raised.value)


def test_a_function_for_training_is_not_needed(tmp_path):
    """What made the trainer may be gone where the model is read."""

    def change(checkpoint):
        checkpoint["hyper_parameters"]["model_config"]["get_trainer_func"] = "gone.trainer"

    path = saved(tmp_path / "model.ckpt", change=change)
    assert open_model(path, trust=True, dataset=dataset()).name == "SASRecModel"


OWN = "from rectools.models import SASRecModel\nclass Mine(SASRecModel):\n    pass\n"


def test_a_class_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "my_rectools.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    from helpers.rectools_kit import fit

    with rectools_boundary():
        import my_rectools
    path = tmp_path / "mine.pkl"
    with rectools_boundary():
        fit(my_rectools.Mine, dataset()).save(path)
    assert plugin.recognises(path)
    assert open_model(path, trust=True, dataset=dataset()).name == "Mine"
    monkeypatch.undo()
    monkeypatch.delitem(sys.modules, "my_rectools")
    with pytest.raises(CannotOpenModel, match="needs the module 'my_rectools', which cannot be"):
        open_model(path, trust=True, dataset=dataset())


def test_a_pickle_that_only_begins_like_a_model(tmp_path):
    """Nothing but the class and the checkpoint is taken out of it."""
    path = tmp_path / "x.pkl"
    outer = pickle.dumps(fitted().__class__, protocol=4)[:-1]
    path.write_bytes(outer + b"\x8c\x11fitted_checkpoint.")
    with pytest.raises(CannotOpenModel, match="cannot be read"):
        open_model(path, trust=True, dataset=dataset())
    assert io.BytesIO(path.read_bytes()).read(1) == b"\x80"
