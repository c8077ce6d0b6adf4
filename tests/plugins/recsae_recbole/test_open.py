"""Models in memory: a trainer of RecBole's, or a config and a model, attached where they are."""

import contextlib
import copy
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.recbole_kit import live, some_batch

pytest.importorskip("recbole")

import recsae
from helpers.recbole_kit import (
    FEW,
    loaded_by_recbole,
    other_weights,
    run_by_recbole,
    small_checkpoint,
    write_data,
)
from recsae.core.errors import CannotOpenModel
from recsae.testing import check_recommender
from recsae_recbole import live_parts, plugin
from recsae_recbole.boundary import recbole_boundary
from recsae_recbole.open import open_checkpoint, open_live

pytestmark = pytest.mark.recbole


# -- what is attached to -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SASRec", "BPR", "LightGCN"])
def test_a_trainer_after_training(name, tmp_path):
    settings = FEW if name != "SASRec" else {"train_neg_sample_args": None}
    path = small_checkpoint(tmp_path / "x.pth", name, **settings)
    with recbole_boundary(), contextlib.chdir(tmp_path):
        trainer, loaders = run_by_recbole(path, tmp_path)
        trainer.epochs = 1
        trainer.fit(loaders["train"], loaders["valid"], saved=False, verbose=False)
        trainer.model.train()
    recommender = recsae.load_recommender(trainer)
    assert recommender.model is trainer.model
    assert not trainer.model.training
    assert recommender.sites()[0].share >= 0.9999
    assert recommender.linear_head() is not None
    assert recommender.sources()[0].endswith("shop.inter")
    check_recommender(recommender)


def test_a_pair_of_config_and_model():
    config, model = live("GRU4Rec")
    recommender = recsae.load_recommender((config, model), device="cpu", trust=False)
    assert (recommender.name, recommender.dataset) == ("GRU4Rec", "shop")
    assert recommender.describe()["checkpoint_sha256"] is None
    batch = some_batch(recommender)
    with torch.no_grad():
        own = model.full_sort_predict(recommender.interaction(batch))
    assert torch.equal(recommender.score(batch), own)
    check_recommender(recommender)


def test_a_model_in_memory_is_the_one_on_disk(tmp_path):
    path = small_checkpoint(tmp_path / "x.pth", change=other_weights)
    on_disk = open_checkpoint(path, trust=True)
    with recbole_boundary():
        config, model, _ = loaded_by_recbole(path)
    in_memory = open_live(config, model)
    batch = some_batch(on_disk)
    assert in_memory.fingerprint() == on_disk.fingerprint()
    assert in_memory.sites() == on_disk.sites()
    assert torch.equal(in_memory.score(batch), on_disk.score(batch))
    assert in_memory.catalog.external_ids == on_disk.catalog.external_ids
    told = {"checkpoint_sha256": None, "notes": None}  # the notes say what could be compared
    assert in_memory.describe() | told == on_disk.describe() | told


def test_titles_and_attributes_can_be_given(tmp_path):
    table = tmp_path / "items.csv"
    table.write_text("item_id,name,kind\n" + "".join(f"{i:03d},Number {i},x\n" for i in range(30)))
    recommender = recsae.load_recommender(live(), items=table, title_column="name")
    assert recommender.catalog.title_column == "name"
    assert str(table) in recommender.sources()


def test_what_is_no_model_of_recboles():
    config, model = live()
    assert live_parts((config, model)) == (config, model)
    for other in (
        (model, config),
        (config,),
        (config, "SASRec"),
        [config, model],
        config,
        model,
        None,
    ):
        assert live_parts(other) is None
        assert not plugin.recognises(other)
    with pytest.raises(CannotOpenModel, match="No installed plug-in recognises an object of type"):
        recsae.load_recommender((model, config))


# -- what stays as it was ------------------------------------------------------------------------


def test_nothing_of_the_callers_changes(tmp_path, monkeypatch):
    config, model = live()
    config["save_dataset"] = True  # which opening must not do
    other, empty = write_data(tmp_path / "shop", "shop"), tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setattr(sys, "argv", ["train.py", "--learning_rate=7"])
    monkeypatch.chdir(empty)
    settings = copy.deepcopy(config.final_config_dict)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    attributes = [set(vars(module)) for module in model.modules()]
    np.random.seed(1)  # noqa: NPY002 (the generators that RecBole seeds)
    before = state_of_the_process()
    open_live(config, model, data_path=other)
    assert state_of_the_process() == before
    assert repr(config.final_config_dict) == repr(settings)
    assert [set(vars(module)) for module in model.modules()] == attributes
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert list(empty.iterdir()) == []


def state_of_the_process():
    return (
        *(tuple(sys.argv), Path.cwd(), random.getstate()),
        *(repr(np.random.get_state()), torch.get_rng_state().tolist()),  # noqa: NPY002
        *(torch.is_anomaly_enabled(), hasattr(np, "float_"), torch.is_grad_enabled()),
    )


def test_gradients_stay_on():
    """Training can go on: parameters keep their gradients, and the loss reaches them."""
    config, model = live("LightGCN", **FEW)
    recommender = open_live(config, model)
    with recommender.edit(lambda h: 2 * h):
        recommender.score(some_batch(recommender))
    with recbole_boundary():
        from recbole.data.interaction import Interaction

        ones = torch.ones(3, dtype=torch.int64)
        fields = {model.USER_ID: ones, model.ITEM_ID: ones, model.NEG_ITEM_ID: 2 * ones}
        model.train().calculate_loss(Interaction(fields)).backward()
    assert model.restore_user_e is None
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


# -- data that does not fit ----------------------------------------------------------------------


def test_data_with_other_items(tmp_path):
    config, model = live()
    other = write_data(tmp_path / "shop", "shop", n_items=33)
    with pytest.raises(CannotOpenModel) as caught:
        recsae.load_recommender((config, model), data_path=other)
    assert str(caught.value) == (
        "The data set does not match the model: SASRec knows 30 items, the files in "
        f"{other} give 33. Give the data it was trained on as data_path."
    )


def test_data_that_is_not_there(tmp_path):
    config, model = live(folder=write_data(tmp_path / "here" / "shop", "shop"))
    (tmp_path / "here").rename(tmp_path / "elsewhere")
    with pytest.raises(
        CannotOpenModel, match="The data set 'shop' of the model is not in"
    ) as caught:
        recsae.load_recommender((config, model))
    assert "--data-path" not in str(caught.value)
    recommender = recsae.load_recommender((config, model), data_path=tmp_path / "elsewhere")
    assert len(recommender.sequences()) == 20


def test_models_that_are_refused():
    with pytest.raises(CannotOpenModel, match=r"recsae cannot attach to DiffRec: .*narrower state"):
        recsae.load_recommender(live("DiffRec", **FEW))
