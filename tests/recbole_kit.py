"""RecBole checkpoints in a second: weights as initialised, settings and data sets of any kind."""

import atexit
import contextlib
import functools
import tempfile
from pathlib import Path

import numpy as np
import torch

from recsae_recbole.boundary import recbole_boundary
from recsae_recbole.opening import open_checkpoint

TINY = {  # of ml-100k: 202 users, 234 items
    "user_inter_num_interval": "[20,40]",
    "item_inter_num_interval": "[5,inf)",
    "MAX_ITEM_LIST_LENGTH": 20,
}
SMALL = {  # for the data set of write_data
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "MAX_ITEM_LIST_LENGTH": 6,
    "hidden_size": 8,
    "inner_size": 16,
    "embedding_size": 8,
}
TITLES = ["Alien", "Star_Wars", "The Thing", "Grease", 'He said "no"', "<script>alert(1)</script>"]
_folder = tempfile.TemporaryDirectory(prefix="recsae-tests-")
atexit.register(_folder.cleanup)
FOLDER = Path(_folder.name)


def save_checkpoint(path, model="SASRec", dataset="ml-100k", *, change=None, **settings):
    """Write what RecBole's trainer writes, through RecBole alone; ``change`` edits it before."""
    with recbole_boundary(), contextlib.redirect_stdout(None):
        config, built = built_by_recbole(model, dataset, settings)
        checkpoint = {
            "config": config,
            "epoch": 0,
            "cur_step": 0,
            "best_valid_score": 0.0,
            "state_dict": built.state_dict(),
            "other_parameter": built.other_parameter(),
            "optimizer": {},
        }
        if change:
            change(checkpoint)
        torch.save(checkpoint, path, pickle_protocol=4)
    return path


def built_by_recbole(model, dataset, settings):
    """RecBole's Config and its newly initialised model."""
    from recbole.config import Config
    from recbole.data import create_dataset
    from recbole.utils import get_model, init_seed

    by_cross_entropy = not hasattr(get_model(model), "input_type")
    fixed = {"train_neg_sample_args": None} if by_cross_entropy else {}
    fixed |= {"use_gpu": False, "checkpoint_dir": str(FOLDER / "saved")} | settings
    config = Config(model=model, dataset=dataset, config_dict=fixed)
    init_seed(config["seed"], config["reproducibility"])
    return config, get_model(model)(config, create_dataset(config).build()[0])


@functools.cache
def tiny(model="SASRec"):
    """A checkpoint on a part of ml-100k, made once."""
    return save_checkpoint(FOLDER / f"tiny-{model}.pth", model, **TINY)


@functools.cache
def opened(model="SASRec"):
    """The recommender of :func:`tiny`, opened once."""
    return open_checkpoint(tiny(model), trust=True)


@functools.cache
def small_data():
    """Folder ``data`` with the data set ``shop``, written once."""
    return write_data(FOLDER / "data" / "shop", "shop")


def write_data(folder, name, n_items=30, n_users=20):
    """A data set of users who walk through numbered items; ids look like numbers but are not."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    rows = ["user_id:token\titem_id:token\ttimestamp:float"]
    for user in range(n_users):
        items = rng.permutation(n_items)[: 5 + user % 9] if user else np.arange(n_items)
        rows += [f"{user:03d}\t{item:03d}\t{t}" for t, item in enumerate(items)]
    (folder / f"{name}.inter").write_text("\n".join(rows) + "\n")
    rows = ["item_id:token\ttitle:token\tgenres:token_seq\trelease_year:token"]
    for item in range(n_items):
        genres = ["Horror Sci-Fi", "Drama", ""][item % 3]
        rows.append(f"{item:03d}\t{TITLES[item % 6]} {item}\t{genres}\t{1970 + item}")
    (folder / f"{name}.item").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def small_checkpoint(path, model="SASRec", *, change=None, **settings):
    """A checkpoint on :func:`small_data`."""
    options = {"data_path": str(small_data().parent), **SMALL, **settings}
    return save_checkpoint(path, model, "shop", change=change, **options)


def run_by_recbole(path, folder):
    """RecBole's own trainer and loaders for a checkpoint, without any code of ours."""
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer

    checkpoint = torch.load(path, weights_only=False)
    config = checkpoint["config"]
    config["checkpoint_dir"] = str(folder)
    train, valid, test = data_preparation(config, create_dataset(config))
    model = get_model(config["model"])(config, train._dataset).to(config["device"])
    model.load_state_dict(checkpoint["state_dict"])
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    return trainer, {"valid": valid, "test": test}
