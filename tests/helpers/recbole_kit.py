"""RecBole checkpoints in a second: weights as initialised, settings and data sets of any kind."""

import atexit
import contextlib
import functools
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from recsae_recbole.boundary import recbole_boundary
from recsae_recbole.checkpoint import build_model, read_checkpoint
from recsae_recbole.dataset import open_data
from recsae_recbole.open import open_checkpoint

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
COLUMNS = ["user_id", "item_id", "timestamp"]
GENRES = {
    "load_col": {"inter": COLUMNS, "item": ["item_id", "genres"]},
    "selected_features": ["genres"],
    "item_attribute": "genres",
}
PAIRS = {
    "load_col": {"inter": COLUMNS, "item": ["item_id", "genres"], "user": ["user_id", "age"]},
    "mlp_hidden_size": [8],
}
KNOWLEDGE = {
    "load_col": {
        "inter": COLUMNS,
        "kg": ["head_id", "relation_id", "tail_id"],
        "link": ["item_id", "entity_id"],
        "ent": ["ent_id", "ent_emb"],
        "rel": ["rel_id", "rel_emb"],
    },
    "additional_feat_suffix": ["ent", "rel"],
    "alias_of_entity_id": ["ent_id"],
    "alias_of_relation_id": ["rel_id"],
    "preload_weight": {"ent_id": "ent_emb", "rel_id": "rel_emb"},
    "kg_embedding_size": 8,
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO"},
}
NOTHING: dict[str, object] = {}
FEW = {"user_inter_num_interval": "[0,20]"}  # no user has all items: RecBole could draw none else
CANDIDATES = {"reranker_CAN_NUM": 5, "reduction_ratio": 1}
SEQUENTIAL = {  # every sequential model, with what it needs beyond SMALL
    **dict.fromkeys(("BERT4Rec", "CORE", "Caser", "FEARec", "FOSSIL", "FPMC", "GCSAN"), NOTHING),
    **dict.fromkeys(("GRU4Rec", "HGN", "HRM", "LightSANs", "NARM", "NPE"), NOTHING),
    **dict.fromkeys(("NextItNet", "RepeatNet", "SASRec", "SHAN", "SINE", "SRGNN"), NOTHING),
    **dict.fromkeys(("STAMP", "TransRec"), NOTHING),
    **dict.fromkeys(("FDSA", "GRU4RecF", "S3Rec", "SASRecF"), GENRES),
    **dict.fromkeys(("DIEN", "DIN"), PAIRS),
    **dict.fromkeys(("GRU4RecKG", "KSR"), KNOWLEDGE),
    **dict.fromkeys(("GRU4RecCPR", "SASRecCPR"), CANDIDATES),
}
GENERAL = {  # every general model that is trained
    **dict.fromkeys(("BPR", "CDAE", "DGCF", "DMF", "DiffRec", "ENMF", "FISM"), FEW),
    **dict.fromkeys(("GCMC", "LDiffRec", "LINE", "LightGCN", "MacridVAE", "MultiDAE"), FEW),
    **dict.fromkeys(("MultiVAE", "NAIS", "NCEPLRec", "NCL", "NGCF", "NNCF", "NeuMF"), FEW),
    **dict.fromkeys(("RaCT", "RecVAE", "SGL", "SpectralCF"), FEW),
    "SimpleX": FEW | {"history_len": 3},
    "ConvNCF": FEW | {"cnn_channels": [1, 4, 4], "cnn_kernels": [4, 2], "cnn_strides": [4, 2]},
}
TITLES = ["Alien", "Star_Wars", "The Thing", "Grease", 'He said "no"', "<script>alert(1)</script>"]
_folder = tempfile.TemporaryDirectory(prefix="recsae-tests-")
atexit.register(_folder.cleanup)
FOLDER = Path(_folder.name)


def save_checkpoint(path, model="SASRec", dataset="ml-100k", *, change=None, **settings):
    """Write what RecBole's trainer writes, through RecBole alone; ``change`` edits it before."""
    pytest.importorskip("recbole")
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
    from recbole.data.transform import construct_transform
    from recbole.utils import get_model, init_seed

    found = get_model(model) if isinstance(model, str) else model
    fixed = {} if hasattr(found, "input_type") else {"train_neg_sample_args": None}
    fixed |= {"use_gpu": False, "checkpoint_dir": str(FOLDER / "saved")} | settings
    config = Config(model=model, dataset=dataset, config_dict=fixed)
    if dataset == "ml-100k" and settings.items() >= TINY.items():
        config["data_path"] = str(part_of_ml_100k())
    construct_transform(config)  # RecBole's loaders do it, and it adds to the settings
    init_seed(config["seed"], config["reproducibility"])
    train = create_dataset(config).build()[0]
    init_seed(config["seed"], config["reproducibility"])
    return config, found(config, train)


@functools.cache
def part_of_ml_100k():
    """Folder of ml-100k without what TINY filters out; RecBole reads the whole for a second."""
    import recbole

    folder = FOLDER / "part" / "ml-100k"
    whole = Path(recbole.__file__).parent / "dataset_example" / "ml-100k"
    folder.mkdir(parents=True)
    rows = pd.read_csv(whole / "ml-100k.inter", sep="\t", dtype=str)
    kept = np.zeros(len(rows), dtype=bool)
    while not kept.all():
        of_user, of_item = (
            rows.groupby(f"{field}:token")["rating:float"].transform("size")
            for field in ("user_id", "item_id")
        )
        kept = (of_user.between(20, 40) & (of_item >= 5)).to_numpy()
        rows = rows[kept]
    rows.to_csv(folder / "ml-100k.inter", sep="\t", index=False)
    for suffix in ("item", "user"):
        (folder / f"ml-100k.{suffix}").symlink_to(whole / f"ml-100k.{suffix}")
    return folder


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


def write_more_data(folder, name, n_items=30, n_users=20):
    """Users' ages, and for items a graph of knowledge with vectors of entities and relations."""
    rng = np.random.default_rng(1)

    def vectors(names):
        return [f"{name}\t{' '.join(f'{x:.3f}' for x in rng.normal(size=8))}" for name in names]

    entities = [f"e{item}" for item in range(n_items)]
    tables = {
        "user": ["user_id:token\tage:token", *(f"{u:03d}\t{20 + u % 3}" for u in range(n_users))],
        "link": ["item_id:token\tentity_id:token"],
        "kg": ["head_id:token\trelation_id:token\ttail_id:token"],
        "ent": ["ent_id:token\tent_emb:float_seq", *vectors([*entities, "t0", "t1", "t2"])],
        "rel": ["rel_id:token\trel_emb:float_seq", *vectors(["r0", "r1"])],
    }
    tables["link"] += [f"{item:03d}\te{item}" for item in range(n_items)]
    tables["kg"] += [f"{entity}\tr{i % 2}\tt{i % 3}" for i, entity in enumerate(entities)]
    for suffix, rows in tables.items():
        (folder / f"{name}.{suffix}").write_text("\n".join(rows) + "\n")
    return folder


def small_checkpoint(path, model="SASRec", *, change=None, **settings):
    """A checkpoint on :func:`small_data`, of any model of the tables or of an own class."""
    needs: dict[str, object] = {**SEQUENTIAL, **GENERAL}.get(model, {})
    folder = more_data() if needs else small_data()
    options = {"data_path": str(folder.parent), **SMALL, **needs, **settings}
    return save_checkpoint(path, model, "shop", change=change, **options)


@functools.cache
def more_data():
    """Folder ``more`` with the data set ``shop`` and all that some models need besides."""
    return write_more_data(write_data(FOLDER / "more" / "shop", "shop"), "shop")


def other_weights(checkpoint):
    """A change for checkpoints: weights that no seed gives."""
    generator = torch.Generator().manual_seed(5)
    for value in checkpoint["state_dict"].values():
        if value.is_floating_point():
            value.add_(0.1 * torch.rand(value.shape, generator=generator))


def parts_of(path):
    """Settings, data and model of a checkpoint as the plug-in opens them."""
    with recbole_boundary():
        checkpoint = read_checkpoint(path, trust=True, device="cpu")
        config = checkpoint["config"]
        data = open_data(config, Path(config["data_path"]))
        return config, data, build_model(checkpoint, data, path)


def loaded_by_recbole(path, **changed):
    """RecBole's own loaders and model for a checkpoint, as its ``load_data_and_model`` makes them.

    ``changed`` settings are changed in the checkpoint's.
    """
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import init_seed

    checkpoint = torch.load(path, weights_only=False)
    config = checkpoint["config"]
    config.final_config_dict.update(changed)
    init_seed(config["seed"], config["reproducibility"])
    train, valid, test = data_preparation(config, create_dataset(config))
    init_seed(config["seed"], config["reproducibility"])
    model = config.model_class(config, train._dataset).to(config["device"])
    model.load_state_dict(checkpoint["state_dict"])
    model.load_other_parameter(checkpoint.get("other_parameter"))
    return config, model, {"train": train, "valid": valid, "test": test}


def run_by_recbole(path, folder):
    """RecBole's own trainer and loaders for a checkpoint, without any code of ours."""
    from recbole.utils import get_trainer

    config, model, loaders = loaded_by_recbole(path, checkpoint_dir=str(folder))
    with contextlib.chdir(folder):  # where it logs for TensorBoard
        trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    return trainer, loaders


def live(model="SASRec", folder=None, **settings):
    """RecBole's Config and model, newly made."""
    settings = {"data_path": str((folder or small_data()).parent), **SMALL, **settings}
    with recbole_boundary(), contextlib.redirect_stdout(None):
        return built_by_recbole(model, "shop", settings)


def some_batch(recommender):
    sequences = recommender.sequences()
    rows = np.arange(10)
    return sequences.batch(rows, 0 * rows, 1 + rows % 5, recommender.max_length)
