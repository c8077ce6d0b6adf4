"""Brief training of every RecBole model, by RecBole's own trainer."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

SEQUENTIAL = [
    "BERT4Rec", "Caser", "CORE", "DIEN", "DIN", "FDSA", "FEARec", "FOSSIL", "FPMC", "GCSAN",
    "GRU4Rec", "GRU4RecCPR", "GRU4RecF", "GRU4RecKG", "HGN", "HRM", "KSR", "LightSANs", "NARM",
    "NextItNet", "NPE", "RepeatNet", "S3Rec", "SASRec", "SASRecCPR", "SASRecF", "SHAN", "SINE",
    "SRGNN", "STAMP", "TransRec",
]  # fmt: skip
GENERAL = [
    "ADMMSLIM", "AsymKNN", "BPR", "CDAE", "ConvNCF", "DGCF", "DiffRec", "DMF", "EASE", "ENMF",
    "FISM", "GCMC", "ItemKNN", "LDiffRec", "LightGCN", "LINE", "MacridVAE", "MultiDAE",
    "MultiVAE", "NAIS", "NCEPLRec", "NCL", "NeuMF", "NGCF", "NNCF", "Pop", "RaCT", "Random",
    "RecVAE", "SGL", "SimpleX", "SLIMElastic", "SpectralCF",
]  # fmt: skip
TRAINING: dict[str, Any] = {
    "user_inter_num_interval": "[20,60]",
    "item_inter_num_interval": "[5,inf)",
    "MAX_ITEM_LIST_LENGTH": 20,
    "epochs": 5,
    "train_batch_size": 256,
    "learning_rate": 0.002,
    "metrics": ["Recall", "MRR", "NDCG"],
    "valid_metric": "NDCG@10",
}
# one state for each user: more users, and the time for more epochs
OF_GENERAL = {"user_inter_num_interval": "[20,100]", "epochs": 20}
PRETRAINING = {"S3Rec": 2, "RaCT": 20}  # epochs
STAGES = {  # trained in steps, each from the checkpoint of the one before
    "S3Rec": ("pretrain", "finetune"),
    "RaCT": ("actor_pretrain", "critic_pretrain", "finetune"),
}
NOT_SAMPLED = (  # they read a user's whole row and take no negatives
    *("CDAE", "DiffRec", "ENMF", "LDiffRec", "MacridVAE", "MultiDAE", "MultiVAE", "RaCT"),
    "RecVAE",
)
# what RecBole sets for most sequential models, but not for these
FULL_RANKING = {
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
}
KNOWLEDGE = ("GRU4RecKG", "KSR")
EMBEDDINGS: dict[str, Any] = {  # of entities and relations, read from made files
    "load_col": {
        "inter": ["user_id", "item_id", "timestamp"],
        "kg": ["head_id", "relation_id", "tail_id"],
        "link": ["item_id", "entity_id"],
        "ent": ["ent_id", "ent_emb"],
        "rel": ["rel_id", "rel_emb"],
    },
    "additional_feat_suffix": ["ent", "rel"],
    "alias_of_entity_id": ["ent_id"],
    "alias_of_relation_id": ["rel_id"],
    "preload_weight": {"ent_id": "ent_emb", "rel_id": "rel_emb"},
}
PAIRWISE = {"mlp_hidden_size": [64, 32], "eval_step": 5}  # each pair of user and item is computed
FEW_USERS = {"user_inter_num_interval": "[20,40]"}
SMALLER: dict[str, dict[str, Any]] = {  # to save time
    "DIN": PAIRWISE,
    "DIEN": PAIRWISE,
    "ConvNCF": {**FEW_USERS, "epochs": 3},
    "DGCF": {**FEW_USERS, "epochs": 8},
    "NAIS": {**FEW_USERS, "epochs": 8},
    "NNCF": {**FEW_USERS, "epochs": 3},
}
OWN: dict[str, dict[str, Any]] = {  # what a model needs beyond TRAINING
    "DIN": FULL_RANKING,
    "DIEN": FULL_RANKING,
    "NCL": {"num_clusters": 20},  # 1,000 are more than there are items
    **{name: {**EMBEDDINGS, **FULL_RANKING} for name in KNOWLEDGE},
    **{name: {"train_neg_sample_args": None} for name in NOT_SAMPLED},
}


def train(name: str, folder: Path) -> dict[str, Any]:
    """Train a model with RecBole's own trainer; the checkpoint is ``folder/NAME.pth``."""
    from recsae_recbole.boundary import recbole_boundary

    settings = {**TRAINING, "checkpoint_dir": str(folder), "use_gpu": False, "show_progress": False}
    if name in GENERAL:
        settings |= OF_GENERAL
    settings |= OWN.get(name, {}) | SMALLER.get(name, {})
    dataset, saved = "ml-100k", ""
    with recbole_boundary(), contextlib.chdir(folder):
        if name in KNOWLEDGE:
            dataset = knowledge_data(folder / "data")
            settings["data_path"] = str(folder / "data")
        for stage in STAGES.get(name, ("",)):
            if stage:
                settings |= {"train_stage": stage, "pre_model_path": saved}
                settings |= dict.fromkeys(("pretrain_epochs", "save_step"), PRETRAINING[name])
            trainer = _trained(name, dataset, settings)
            saved = str(Path(trainer.saved_model_file).replace(folder / f"{stage or name}.pth"))
    Path(saved).replace(folder / f"{name}.pth")
    return {"epochs": len(trainer.train_loss_dict), "valid": float(trainer.best_valid_score)}


def _trained(name: str, dataset: str, settings: dict[str, Any]) -> Any:
    import torch
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed
    from scipy.sparse import dok_matrix

    if not hasattr(dok_matrix, "_update"):  # gone in SciPy 1.13; RecBole's graphs need it
        dok_matrix._update = lambda self, values: self._dict.update(values)
    if not hasattr(get_model(name), "input_type"):  # cross-entropy, which forbids negatives
        settings = {**settings, "train_neg_sample_args": None}
    config = Config(model=name, dataset=dataset, config_dict=settings)
    init_seed(config["seed"], config["reproducibility"])
    loaders = data_preparation(config, create_dataset(config))
    init_seed(config["seed"], config["reproducibility"])
    model = get_model(name)(config, loaders[0]._dataset).to(config["device"])
    if name == "KSR":  # read in double precision, which its own loss then refuses
        model.relation_Matrix = model.relation_Matrix.float()
    torch.autograd.set_detect_anomaly(False)  # RecBole's import has switched it on
    trainer = get_trainer(config["MODEL_TYPE"], name)(config, model)
    trainer.fit(loaders[0], loaders[1], verbose=False)
    return trainer


def knowledge_data(folder: Path) -> str:
    """Copy ml-100k and add random embeddings; returns the name of the data set."""
    import numpy as np
    import pandas as pd
    import recbole

    name = "ml-100k-kg"  # RecBole reads ml-100k from nowhere but its own folder
    (folder / name).mkdir(parents=True, exist_ok=True)
    for file in (Path(recbole.__file__).parent / "dataset_example/ml-100k").iterdir():
        shutil.copy(file, folder / name / f"{name}{file.suffix}")
    kg = pd.read_csv(folder / name / f"{name}.kg", sep="\t", dtype=str)
    head, relation, tail = (kg[column] for column in kg)
    rng = np.random.default_rng(0)
    for kind, tokens in (("ent", pd.concat([head, tail])), ("rel", relation)):
        lines = [f"{kind}_id:token\t{kind}_emb:float_seq"]
        for token in tokens.unique():
            lines.append(f"{token}\t{' '.join(f'{v:.3f}' for v in rng.normal(0, 0.1, 64))}")
        (folder / name / f"{name}.{kind}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return name
