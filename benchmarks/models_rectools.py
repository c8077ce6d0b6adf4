"""Brief training of RecTools' transformers, on the users of the sequential models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from models_factors import split, table
from models_training import TRAINING

if TYPE_CHECKING:
    import pandas as pd

    from recsae.recommender.protocol import Recommender

SETTINGS: dict[str, Any] = {
    "n_factors": 64,
    "n_blocks": 2,
    "n_heads": 2,
    "session_max_len": 20,
    "lr": 0.002,
    "epochs": 10,
}
"""What is not as RecTools sets it."""
RECTOOLS = ["RecTools-SASRec", "RecTools-LiGR", "RecTools-BERT4Rec", "RecTools-HSTU"]


def train_rectools(name: str, folder: Path) -> dict[str, Any]:
    """Train a model without the last item of each user, and save it with all interactions."""
    import pandas as pd
    import torch
    from rectools import models
    from rectools.dataset import Dataset
    from rectools.models.nn.transformers.ligr import LiGRLayers

    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "RecTools-SASRec": (models.SASRecModel, {}),
        "RecTools-LiGR": (models.SASRecModel, {"transformer_layers_type": LiGRLayers}),
        "RecTools-BERT4Rec": (models.BERT4RecModel, {}),
        "RecTools-HSTU": (models.HSTUModel, {}),
    }
    make, own = kinds[name]
    train, test = (_as_rectools(part) for part in _split())
    torch.manual_seed(0)
    model = make(**SETTINGS, **own)
    model.fit(Dataset.construct(train))
    model.save(folder / "model.pkl")
    pd.concat([train, test]).to_parquet(folder / "interactions.parquet", index=False)
    table("item").to_csv(folder / "items.csv", index=False)
    return {"epochs": SETTINGS["epochs"]}


def attached_rectools(folder: Path) -> Recommender:
    """Attach to the files of a trained model."""
    from recsae import load_recommender

    return load_recommender(str(folder / "model.pkl"), trust=True, items=str(folder / "items.csv"))


def _split() -> tuple[pd.DataFrame, pd.DataFrame]:
    return split(table("inter"), TRAINING["user_inter_num_interval"])


def _as_rectools(part: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    names = {"user": "user_id", "item": "item_id", "time": "datetime"}
    rows = part.rename(columns=names).assign(weight=1.0)
    return rows.assign(datetime=pd.to_datetime(rows["datetime"], unit="s"))
