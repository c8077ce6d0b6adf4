"""Brief training of factor models by implicit and LightFM, on the users of general models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from models_training import OF_GENERAL, TRAINING

if TYPE_CHECKING:
    import pandas as pd

    from recsae.recommender.protocol import Recommender

FACTORS: dict[str, dict[str, Any]] = {
    "implicit-ALS": {"factors": 32, "alpha": 10.0, "iterations": 15},
    "implicit-BPR": {"factors": 32, "learning_rate": 0.05, "iterations": 200},
    "LightFM": {"no_components": 32, "loss": "warp", "epochs": 50},
}
"""What is not as the libraries set it."""


def train_factors(name: str, folder: Path) -> dict[str, Any]:
    """Train a model without the last item of each user; its arrays are ``folder/NAME.npz``."""
    import numpy as np
    import pandas as pd
    from scipy.sparse import csr_matrix

    train, _ = split(table("inter"), OF_GENERAL["user_inter_num_interval"])
    rows, users = pd.factorize(train["user"])
    columns, items = pd.factorize(train["item"])
    seen = csr_matrix((np.ones(len(train), dtype=np.float32), (rows, columns)))
    settings = dict(FACTORS[name])
    arrays: dict[str, Any] = {"user_ids": users.to_numpy(str), "item_ids": items.to_numpy(str)}
    if name == "LightFM":
        import lightfm

        epochs = settings.pop("epochs")
        model = lightfm.LightFM(random_state=0, **settings).fit(seen, epochs=epochs)
        _, arrays["user_vectors"] = model.get_user_representations()
        arrays["item_biases"], arrays["item_vectors"] = model.get_item_representations()
    else:
        import implicit

        kinds = {
            "implicit-ALS": implicit.als.AlternatingLeastSquares,
            "implicit-BPR": implicit.bpr.BayesianPersonalizedRanking,
        }
        model = kinds[name](random_state=0, num_threads=1, **settings)
        model.fit(seen, show_progress=False)
        arrays |= {"user_vectors": model.user_factors, "item_vectors": model.item_factors}
    np.savez(folder / f"{name}.npz", **arrays)
    return {"epochs": FACTORS[name].get("epochs", FACTORS[name].get("iterations"))}


def attached_factors(name: str, folder: Path) -> Recommender:
    """Attach to the arrays of a trained model."""
    import numpy as np

    import recsae_torch

    with np.load(folder / f"{name}.npz") as saved:
        arrays = dict(saved)
    train, test = split(table("inter"), OF_GENERAL["user_inter_num_interval"])
    known = test["item"].isin(arrays["item_ids"])
    return recsae_torch.attach_factors(
        **arrays, histories=train, test=test[known], items=table("item"), name=name
    )


def table(kind: str) -> pd.DataFrame:
    """A file of the ml-100k that RecBole ships."""
    import pandas as pd
    import recbole

    path = Path(recbole.__file__).parent / f"dataset_example/ml-100k/ml-100k.{kind}"
    read = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    return read.set_axis([name.partition(":")[0] for name in read.columns], axis=1)


def split(ratings: pd.DataFrame, users: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Interactions of the training, and the last one, of users with so many."""
    kept = ratings.rename(columns={"user_id": "user", "item_id": "item", "timestamp": "time"})
    kept = kept.assign(time=kept["time"].astype(float)).sort_values("time", kind="stable")
    fewest, most = _bounds(users)
    kept = kept[kept.groupby("user")["item"].transform("size").between(fewest, most)]
    fewest, most = _bounds(TRAINING["item_inter_num_interval"])
    kept = kept[kept.groupby("item")["user"].transform("size").between(fewest, most)]
    last = ~kept.duplicated("user", keep="last")
    columns = ["user", "item", "time"]
    return kept.loc[~last, columns], kept.loc[last, columns]


def _bounds(interval: Any) -> tuple[float, float]:
    """Least and most of an interval as RecBole writes it, ``"[5,inf)"``."""
    low, high = str(interval).strip("[)]").split(",")
    return float(low), float(high)
