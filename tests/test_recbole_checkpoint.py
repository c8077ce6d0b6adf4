"""What is no RecBole checkpoint, or none that can be opened: one sentence, and nothing was run."""

import os
import pickle
import zipfile

import pytest
import torch

pytest.importorskip("recbole")

from recbole_kit import small_checkpoint, small_data, tiny, write_data
from recsae.errors import CannotOpenModel, RecSAEError
from recsae_recbole import plugin
from recsae_recbole.boundary import recbole_boundary
from recsae_recbole.checkpoint import pickled_names
from recsae_recbole.opening import open_checkpoint


def refused(path, match, **options):
    """Opening raises one kind of error with one short message without line breaks."""
    with pytest.raises(RecSAEError, match=match) as caught:
        open_checkpoint(path, **{"trust": True, **options})
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    assert caught.value.exit_code in (2, 3)
    return message


class Trap:
    """Unpickling this makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


# -- what a file is, without running it ------------------------------------------------------------


def test_without_trust_nothing_is_unpickled(tmp_path):
    trap = tmp_path / "trap"
    path = small_checkpoint(tmp_path / "x.pth", change=lambda c: c.update(epoch=Trap(trap)))
    assert plugin.recognises(path)
    assert "recbole.config.configurator.Config" in pickled_names(path)
    with pytest.raises(CannotOpenModel, match=r"can run any code .* --trust .* trust=True"):
        plugin.open(path)
    assert not trap.exists()
    plugin.open(path, trust=True)
    assert trap.exists()


def file_of(kind, path, good):
    data = good.read_bytes()
    if kind == "torch":
        torch.save({"weight": torch.ones(3)}, path)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "hello")
    elif kind == "zip with text":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", "hello")
    else:
        content = {
            "empty": b"",
            "text": b"user_id\titem_id\n",
            "truncated": data[: len(data) // 2],
            "pickle": pickle.dumps({"config": {}}),
            "overwritten": data[:200] + b"\0" * 400 + data[600:],
        }
        path.write_bytes(content[kind])
    return path


KINDS = ("empty", "text", "truncated", "torch", "zip", "zip with text", "pickle", "overwritten")


@pytest.mark.parametrize("kind", KINDS)
def test_other_files_are_not_recognised(kind, tmp_path):
    path = file_of(kind, tmp_path / "x.pth", tiny())
    assert not plugin.recognises(path)
    refused(path, r"x\.pth (cannot be read|is no checkpoint)")


def test_objects_and_folders_are_not_recognised(tmp_path):
    assert not plugin.recognises(tmp_path)
    assert not plugin.recognises(tmp_path / "nothing")
    assert not plugin.recognises(torch.nn.Linear(2, 2))
    assert plugin.recognises(tiny())


def test_weights_cut_out_of_the_archive(tmp_path):
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(tiny()) as whole, zipfile.ZipFile(path, "w") as part:
        for name in whole.namelist():
            if not name.endswith("/data/3"):
                part.writestr(name, whole.read(name))
    assert plugin.recognises(path)
    refused(path, r"cannot be read .* Copy it again")


# -- what is in it ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda c: c.pop("state_dict"), r"'state_dict', this file has \['best_valid_score', 'c"),
        (lambda c: c.update(state_dict=None), "'state_dict', this file has"),
        (lambda c: c.update(config={"model": "SASRec"}), "is no checkpoint of a RecBole trainer"),
        (lambda c: c["config"].__setitem__("model", "SASrec"), "no model of RecBole.*'SASRec'"),
        (lambda c: c["config"].__setitem__("model", "Mine"), "'Mine'.*Config\\(model=TheClass\\)"),
        (lambda c: c["config"].__setitem__("n_heads", 3), "cannot build the model 'SASRec'"),
        (
            lambda c: c["config"].__setitem__("hidden_size", 6),
            "do not fit .* \\(8,\\) in the file and \\(6,\\)",
        ),
        (lambda c: c["config"].__setitem__("n_layers", 1), "do not fit .* missing"),
        (lambda c: c["state_dict"].clear(), "do not fit .* missing"),
        (lambda c: c["state_dict"]["item_embedding.weight"][3, 3].fill_(torch.nan), "NaN .*'item_"),
        (lambda c: c["config"].__setitem__("benchmark_filename", ["a"]), "split beforehand"),
    ],
)
def test_broken_checkpoints(change, match, tmp_path):
    with recbole_boundary():
        path = small_checkpoint(tmp_path / "x.pth", change=change)
    refused(path, match)


def test_a_class_that_cannot_be_imported(tmp_path, monkeypatch):
    module = tmp_path / "my_models.py"
    module.write_text(
        "from recbole.model.sequential_recommender.sasrec import SASRec\n"
        "class MySASRec(SASRec):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with recbole_boundary():
        from my_models import MySASRec

    def own_class(checkpoint):
        checkpoint["config"]["model"] = "MySASRec"
        checkpoint["config"].model_class = MySASRec

    path = small_checkpoint(tmp_path / "x.pth", change=own_class)
    assert open_checkpoint(path, trust=True).describe()["class"] == "my_models.MySASRec"
    module.unlink()
    monkeypatch.delitem(__import__("sys").modules, "my_models")
    refused(path, r"needs the module 'my_models'.*PYTHONPATH")


def test_a_general_model(tmp_path):
    settings = {"eval_args": {"order": "RO"}, "repeatable": False}
    path = small_checkpoint(tmp_path / "x.pth", "BPR", **settings)
    refused(path, "BPR, which is no sequential model")


@pytest.mark.parametrize(
    ("model", "match"),
    [
        ("BERT4Rec", r"BERT4Rec yet: its forward gives a tensor \(20, 6, 8\) for 20 sequences"),
        ("RepeatNet", "RepeatNet yet: its forward gives the scores themselves"),
        ("FPMC", "FPMC yet: its forward takes no part in its scoring"),
        ("SASRecCPR", "SASRecCPR yet: its forward gives a list"),
        ("DIN", "DIN yet: its forward is called for each pair"),
    ],
)
def test_models_without_one_state_per_sequence(model, match, tmp_path):
    path = small_checkpoint(tmp_path / "x.pth", model, mlp_hidden_size=[8], reduction_ratio=1)
    refused(path, match)


def test_scores_that_are_not_made_from_the_state(tmp_path, monkeypatch):
    from recbole.model.sequential_recommender.sasrec import SASRec

    def with_a_bias_per_sequence(model, interaction):
        scores = original(model, interaction)
        return scores + interaction["item_id_list"][:, :1] * torch.arange(scores.shape[1])

    original = SASRec.full_sort_predict
    path = small_checkpoint(tmp_path / "x.pth")
    monkeypatch.setattr(SASRec, "full_sort_predict", with_a_bias_per_sequence)
    refused(path, "does not give all that its scores are made from")


def test_data_with_other_items(tmp_path):
    path = small_checkpoint(tmp_path / "x.pth")
    write_data(tmp_path / "shop", "shop", n_items=31)
    message = refused(path, "trained with 30 items", data_path=tmp_path)
    assert f"the files in {tmp_path / 'shop'} give 31" in message
    assert "--data-path" in message
    assert small_data() != tmp_path / "shop"


def test_a_device_that_is_not_there():
    message = refused(tiny(), "The device 'cuda:77' cannot be used here", device="cuda:77")
    assert "cpu" in message
    refused(tiny(), "The device 'tpu' cannot be used", device="tpu")


def test_what_is_refused_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(file_of("text", tmp_path / "x.pth", tiny()), "cannot be read")
    assert os.listdir() == ["x.pth"]  # noqa: PTH208
