"""The base model: RecBole's SASRec, trained on all positions of a window at once."""

import contextlib
import random

import numpy as np
import pytest
import torch

pytest.importorskip("recbole")

from recsae.core.errors import InvalidInput, RecSAEError
from recsae.recommender.sequences import pad
from recsae_recbole.boundary import recbole_boundary
from recsae_recbole.demo.all_positions import all_position_loss, batches, draw_windows
from recsae_recbole.demo.train import train_sasrec

pytestmark = pytest.mark.recbole


TINY = {"user_inter_num_interval": "[20,40]", "item_inter_num_interval": "[5,inf)"}
KEYS = ["config", "epoch", "cur_step", "best_valid_score", "state_dict", "other_parameter"]


def train(path, **options):
    options = {"max_epochs": 2, "max_length": 10, "config_overrides": TINY, "seed": 7, **options}
    return train_sasrec(path, **options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train(tmp_path_factory.mktemp("pretrain") / "sasrec.pth", max_epochs=8)


def by_recbole(path, folder):
    """The checkpoint as RecBole opens it, without any code of ours: trainer and loaders."""
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    checkpoint = torch.load(path, weights_only=False)
    config = checkpoint["config"]
    config["checkpoint_dir"] = str(folder)
    init_seed(config["seed"], config["reproducibility"])
    train, valid, test = data_preparation(config, create_dataset(config))
    model = get_model(config["model"])(config, train._dataset).to(config["device"])
    model.load_state_dict(checkpoint["state_dict"])
    model.load_other_parameter(checkpoint.get("other_parameter"))
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    return trainer, train, valid, test


def test_recbole_opens_and_evaluates_the_checkpoint(trained, tmp_path):
    with recbole_boundary(), contextlib.chdir(tmp_path):
        trainer, train_data, valid, test = by_recbole(trained.path, tmp_path)
        found = trainer.evaluate(valid, load_best_model=False)
        assert found["ndcg@10"] == round(trained.valid_ndcg, 4)
        assert 0 < trainer.evaluate(test, load_best_model=False)["ndcg@10"] < 1
        checkpoint = torch.load(trained.path, weights_only=False)
        assert list(checkpoint) == [*KEYS, "optimizer"]
        assert len(train_data._dataset) == trained.n_targets  # the same positions as RecBole's rows
        trainer.optimizer.load_state_dict(checkpoint["optimizer"])
        assert checkpoint["epoch"] == trained.best_epoch


def test_the_best_epoch_is_kept(trained):
    scores = [record.valid_ndcg for record in trained.history]
    assert trained.valid_ndcg == max(scores) == scores[trained.best_epoch]
    assert trained.history[-1].loss < trained.history[0].loss
    assert (trained.n_users, trained.n_items, trained.stopped_by) == (202, 234, "schedule")


def test_same_seed_same_bits_and_nothing_else_is_changed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(5)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    results = [train(tmp_path / "out" / f"{i}.pth", seed=seed) for i, seed in enumerate((7, 7, 8))]
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert not torch.is_anomaly_enabled()
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["0.pth", "1.pth", "2.pth", "out"]
    first, again, other = (weights(r.path) for r in results)
    assert results[0].history == results[1].history
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["item_embedding.weight"], other["item_embedding.weight"])


def weights(path):
    with recbole_boundary():
        return torch.load(path, weights_only=False)["state_dict"]


def test_loss_of_all_positions_is_the_mean_over_single_forwards(trained, tmp_path):
    histories = [[3, 9, 4, 17, 2, 5, 8, 1, 30, 31, 12], [7, 5, 6], [40, 2]]
    with recbole_boundary(), contextlib.chdir(tmp_path):
        model = by_recbole(trained.path, tmp_path)[0].model.eval()
        loss, n = all_position_loss(model, pad(histories, 11), np.random.default_rng(0))
        single = []
        for history in histories:
            for end in range(1, len(history)):
                prefix = pad([history[:end]], 10)
                scores = model.forward(prefix.items, prefix.lengths) @ model.item_embedding.weight.T
                target = torch.tensor([history[end]])
                single.append(torch.nn.functional.cross_entropy(scores, target))
    assert n == len(single) == 13
    torch.testing.assert_close(loss, torch.stack(single).mean())
    assert "gather_indexes" not in vars(model)


@pytest.mark.parametrize("length", [1, 4, 20])
def test_windows_predict_every_item_but_the_first(length):
    sizes = np.arange(2, 60)
    which, starts, ends = draw_windows(sizes, length, np.random.default_rng(length))
    assert (ends - starts <= length + 1).all()
    assert (ends - starts >= np.minimum(sizes[which], length + 1)).all()
    for row, size in enumerate(sizes):
        here = which == row
        spans = zip(starts[here], ends[here], strict=True)
        assert {t for s, e in spans for t in range(s + 1, e)} == set(range(1, size))
    moved = draw_windows(sizes, length, np.random.default_rng(length + 1))[1]
    assert length == 1 or not np.array_equal(starts, moved)


def test_a_time_limit_stops_after_an_epoch_and_says_so(tmp_path):
    told = []
    result = train(
        tmp_path / "x.pth", max_epochs=9, time_limit_s=1e-6, progress=lambda *a: told.append(a)
    )
    assert result.stopped_by == "time limit"
    assert [(done, total) for done, total, _ in told] == [(1, 9)]


def test_the_schedule_ends_with_the_time_where_that_is_before_the_epochs(tmp_path, monkeypatch):
    """On a clock of which every reading is a second later; an epoch has a few steps."""
    readings = iter(range(10**6))
    monkeypatch.setattr("recsae_recbole.demo.train.time.perf_counter", lambda: next(readings))
    rates = []
    monkeypatch.setattr(
        "recsae_recbole.demo.train._schedule", lambda done: rates.append(done) or 1.0
    )
    result = train(tmp_path / "x.pth", max_epochs=1000, patience=1000, time_limit_s=200)
    assert result.stopped_by == "time limit"
    assert 1 < len(result.history) < 1000
    assert rates == sorted(rates)
    assert 0.9 < rates[-1] < 1


def test_the_schedule_ends_with_the_epochs_where_these_are_before_the_time(tmp_path):
    limited = train(tmp_path / "x.pth", time_limit_s=1e9)
    assert (limited.stopped_by, len(limited.history)) == ("schedule", 2)
    assert limited.history == train(tmp_path / "y.pth").history


def test_batches_hold_every_window_once_and_about_as_many_predictions_each():
    lengths = np.random.default_rng(1).integers(1, 51, 1000)
    found = batches(lengths, 10, np.random.default_rng(2))
    assert sorted(np.concatenate(found).tolist()) == list(range(1000))
    predictions = [int(lengths[part].sum()) for part in found]
    assert len(found) == 100
    assert max(predictions) - min(predictions) <= 2 * 50
    assert max(int(np.ptp(lengths[part])) for part in found) <= 12
    again, other = (batches(lengths, 10, np.random.default_rng(seed)) for seed in (2, 3))
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))
    assert not np.array_equal(found[0], other[0])


def test_divergence_is_an_error_and_not_a_perfect_score(tmp_path):
    with pytest.raises(RecSAEError, match="diverged"):
        train(tmp_path / "x.pth", learning_rate=float("inf"))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"loss_type": "BPR"}, "loss_type CE"),
        ({"n_heads": 3}, "multiple"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_settings_that_cannot_be_honoured(tmp_path, overrides, message):
    with pytest.raises(InvalidInput, match=message):
        train(tmp_path / "x.pth", config_overrides=TINY | overrides)
    assert not any(tmp_path.iterdir())


def test_a_time_limit_of_nothing_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="more than 0 seconds, not 0"):
        train(tmp_path / "x.pth", time_limit_s=0)
