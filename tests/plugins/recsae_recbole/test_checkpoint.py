"""What is no RecBole checkpoint, or none that can be opened: one sentence, and nothing was run."""

import contextlib
import os
import pickle
import sys
import zipfile

import pytest
import torch

pytest.importorskip("recbole")

from helpers.recbole_kit import (
    GENERAL,
    GENRES,
    KNOWLEDGE,
    SEQUENTIAL,
    loaded_by_recbole,
    more_data,
    other_weights,
    parts_of,
    small_checkpoint,
    small_data,
    tiny,
    write_data,
)
from recsae.core.errors import CannotOpenModel, RecSAEError
from recsae.recommender.plugins import look_into_archive
from recsae_recbole import plugin
from recsae_recbole.boundary import recbole_boundary
from recsae_recbole.checkpoint import _model_names
from recsae_recbole.open import open_checkpoint

pytestmark = pytest.mark.recbole


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
    assert "recbole.config.configurator.Config" in look_into_archive(path).names
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
        (
            lambda c: c["config"].__setitem__("benchmark_filename", ["a"]),
            r"cannot build the data set .*a\.inter not exist",
        ),
    ],
)
def test_broken_checkpoints(change, match, tmp_path):
    with recbole_boundary():
        path = small_checkpoint(tmp_path / "x.pth", change=change)
    refused(path, match)


# -- models ----------------------------------------------------------------------------------------

NO_FULL_SORT = ("DIN", "DIEN", "ConvNCF", "NNCF", "NeuMF")
TRADITIONAL = ("ADMMSLIM", "AsymKNN", "EASE", "ItemKNN", "Pop", "SLIMElastic")


def test_the_tables_of_models_are_complete():
    with recbole_boundary():
        assert {*SEQUENTIAL, *GENERAL, *TRADITIONAL} == set(_model_names())


def scores_of(model, batch):
    """Scores of all items, or of one item where the model is asked for pairs."""
    with recbole_boundary(), torch.no_grad():
        if type(model).__name__ in NO_FULL_SORT:
            return model.predict(batch)
        return model.full_sort_predict(batch)


@pytest.mark.parametrize("name", [*SEQUENTIAL, *GENERAL])
def test_every_model_scores_as_the_one_recbole_loads(name, tmp_path, capfd):
    path = small_checkpoint(tmp_path / "x.pth", name, change=other_weights)
    config, data, ours = parts_of(path)
    assert capfd.readouterr() == ("", "")
    with recbole_boundary(), contextlib.redirect_stdout(None):
        from recbole.data.interaction import Interaction

        _, theirs, loaders = loaded_by_recbole(path)
        batch = next(iter(loaders["test"]))[0]
        if name in GENERAL:
            batch.update(Interaction({"item_id": torch.arange(len(batch)) % 30 + 1}))
    assert not ours.training
    assert len(batch) > 15
    if name == "KSR":  # as it is in RecBole 1.2.1 it cannot be used
        with pytest.raises(RuntimeError, match="dtype"):
            scores_of(theirs, batch)
        theirs.relation_Matrix = theirs.relation_Matrix.float()
    assert torch.equal(scores_of(ours, batch), scores_of(theirs.eval(), batch))
    weights = torch.load(path, weights_only=False)["state_dict"]
    assert all(torch.equal(value, weights[key]) for key, value in ours.state_dict().items())
    assert len(data.sequences) == (19 if name in GENERAL else 20)
    assert config["data_path"] == str(data.files[0].parent)


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("S3Rec", {"train_stage": "finetune", "pre_model_path": "gone.pth"}),
        ("RaCT", {"train_stage": "critic_pretrain", "pre_model_path": "gone.pth"}),
        ("RaCT", {"train_stage": "finetune", "pre_model_path": "gone.pth"}),
        ("ConvNCF", {"train_method": "after_pretrain", "pre_model_path": "gone.pth"}),
        ("NAIS", {"pretrain_path": "gone.pth"}),
        ("NeuMF", {"use_pretrain": True, "mf_pretrain_path": "gone.pth"}),
    ],
)
def test_weights_of_an_earlier_stage_are_not_needed(name, stage, tmp_path):
    first = small_checkpoint(tmp_path / "first.pth", name, change=other_weights)
    _, _, model = parts_of(first)

    def later_stage(checkpoint):
        other_weights(checkpoint)
        checkpoint["config"].final_config_dict.update(stage)

    later = small_checkpoint(tmp_path / "later.pth", name, change=later_stage)
    with pytest.raises(FileNotFoundError), recbole_boundary():
        loaded_by_recbole(later)
    config, _, same = parts_of(later)
    assert {key: config[key] for key in stage} == stage
    key = next(iter(stage))
    assert getattr(same, key) == stage[key]
    weights = model.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in same.state_dict().items())


@pytest.mark.parametrize("name", ["DIN", "SASRecF"])
def test_embedding_layers_let_go_of_the_data_set_they_were_saved_with(name, tmp_path):
    path = small_checkpoint(tmp_path / "x.pth", name)
    _, data, model = parts_of(path)
    layer = model.embedding_layer if name == "DIN" else model.feature_embed_layer
    assert layer.dataset is data.dataset
    assert layer.device == model.device


OWN = "from recbole.model.{0}_recommender.{1} import {2}\nclass My{2}({2}):\n    pass\n"


@pytest.mark.parametrize(
    ("kind", "base", "settings"),
    [("sequential", "SASRec", {}), ("general", "BPR", {}), ("sequential", "S3Rec", GENRES)],
)
def test_own_classes_in_own_files(kind, base, settings, tmp_path, monkeypatch):
    (tmp_path / "my_models.py").write_text(OWN.format(kind, base.lower(), base))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_models", raising=False)
    options = {"n_layers": 1, "n_heads": 2, "hidden_dropout_prob": 0.1, "attn_dropout_prob": 0.1}
    options |= {"hidden_act": "gelu", "layer_norm_eps": 1e-12, "initializer_range": 0.02}
    options |= {"loss_type": "CE", "train_stage": "pretrain"} | settings
    with recbole_boundary():
        import my_models

        found = getattr(my_models, f"My{base}")
    change = lambda c: c["config"].__setitem__("train_stage", "finetune")  # noqa: E731
    path = small_checkpoint(tmp_path / "x.pth", found, change=change, **options)
    _, _, model = parts_of(path)
    assert type(model) is found
    (tmp_path / "my_models.py").unlink()
    monkeypatch.delitem(sys.modules, "my_models")
    refused(path, r"needs the module 'my_models'.*PYTHONPATH")


@pytest.mark.parametrize("name", [*TRADITIONAL, "Random"])
def test_models_of_item_statistics_are_refused(name, tmp_path):
    path = small_checkpoint(tmp_path / "x.pth", name)
    refused(
        path, f"holds the model {name}, which has no user representation: .*item statistics alone"
    )


def test_models_of_other_kinds_are_refused(tmp_path):
    path = small_checkpoint(tmp_path / "x.pth", "FM")
    refused(path, "holds FM, a model of the kind 'context-aware': .*sequential and general")
    knowledge = KNOWLEDGE | {"data_path": str(more_data().parent)}
    path = small_checkpoint(tmp_path / "x.pth", "CFKG", **knowledge)
    refused(path, "holds CFKG, a model of the kind 'knowledge-aware': ")

    def tree(checkpoint):  # what RecBole's trainer of trees writes
        from recbole.utils import ModelType

        checkpoint["config"].final_config_dict.update(
            model="LightGBM", MODEL_TYPE=ModelType.DECISIONTREE
        )
        checkpoint["state_dict"] = "saved/temp"

    path = small_checkpoint(tmp_path / "x.pth", change=tree)
    refused(path, "holds LightGBM, a model of the kind 'decision-tree': ")


@pytest.mark.parametrize("name", ["SASRec", "BERT4Rec", "BPR", "MultiVAE"])
def test_data_with_other_items(name, tmp_path):
    """BERT4Rec has a row more, for the item that masks; MultiVAE has items in columns."""
    path = small_checkpoint(tmp_path / "x.pth", name)
    write_data(tmp_path / "shop", "shop", n_items=31)
    message = refused(path, "trained with 30 items", data_path=tmp_path)
    assert f"the files in {tmp_path / 'shop'} give 31" in message
    assert "--data-path" in message
    assert small_data() != tmp_path / "shop"


def test_data_with_other_users(tmp_path):
    path = small_checkpoint(tmp_path / "x.pth", "BPR")
    write_data(tmp_path / "shop", "shop", n_users=25)
    refused(path, "trained with 19 users, the files in .* give 24", data_path=tmp_path)


def test_a_device_that_is_not_there():
    message = refused(tiny(), "The device 'cuda:77' cannot be used here", device="cuda:77")
    assert "cpu" in message
    refused(tiny(), "The device 'tpu' cannot be used", device="tpu")


def test_what_is_refused_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(file_of("text", tmp_path / "x.pth", tiny()), "cannot be read")
    assert os.listdir() == ["x.pth"]  # noqa: PTH208
