"""RecTools models in a second: a few dozen users, one epoch, models of every kind."""

import functools
import warnings

import numpy as np
import pandas as pd
import torch
from rectools.dataset import Dataset
from rectools.models import BERT4RecModel, HSTUModel, SASRecModel
from rectools.models.nn.transformers.ligr import LiGRLayers

from recsae_rectools.boundary import rectools_boundary
from recsae_rectools.open import open_model

MODELS = {
    "SASRec": (SASRecModel, {}),
    "LiGR": (SASRecModel, {"transformer_layers_type": LiGRLayers}),
    "BERT4Rec": (BERT4RecModel, {}),
    "HSTU": (HSTUModel, {}),
}
SIZE = {"n_blocks": 2, "n_heads": 2, "n_factors": 8, "session_max_len": 6, "epochs": 1}
N_ITEMS = 30
DAY = pd.Timedelta(days=1)


@functools.cache
def interactions():
    """Walks of 40 users through 30 items, of which nobody has one twice.

    Rows are in no order. User "alone" has one interaction, with an item that nobody else has, so
    that no model comes to know it; so does the first interaction of u3.
    """
    rng = np.random.default_rng(0)
    rows = []
    for user in range(40):
        start = pd.Timestamp("2020-01-01") + user * pd.Timedelta(hours=1)
        for place, item in enumerate(rng.permutation(N_ITEMS)[: 3 + user % 15]):
            time = start + place * (1 + user % 4) * DAY
            rows.append((f"u{user}", 100 + int(item), 1.0, time))
    rows.append(("alone", 999, 1.0, pd.Timestamp("2020-01-05")))
    table = pd.DataFrame(rows, columns=["user_id", "item_id", "weight", "datetime"])
    return table.sample(frac=1, random_state=0).reset_index(drop=True)


def features():
    """Genres and kinds of the items, some of two genres; one item has none."""
    rows = [(100 + i, "genre", ["Drama", "Horror", "Western"][i % 3]) for i in range(N_ITEMS - 1)]
    rows += [(100 + i, "genre", "Comedy") for i in range(0, N_ITEMS - 1, 4)]
    rows += [(100 + i, "kind", ["film", "series"][i % 2]) for i in range(N_ITEMS - 1)]
    return pd.DataFrame(rows, columns=["id", "feature", "value"])


def dataset(with_features=False):
    """The data set of all interactions."""
    return _dataset(with_features)


@functools.cache
def _dataset(with_features):
    with rectools_boundary():
        if not with_features:
            return Dataset.construct(interactions())
        return Dataset.construct(
            interactions(), item_features_df=features(), cat_item_features=["genre", "kind"]
        )


def before_last(table):
    """The table without each user's last interaction, and those."""
    ordered = table.sort_values("datetime", kind="stable")
    last = ordered.groupby("user_id", sort=False).tail(1)
    return table.drop(last.index).reset_index(drop=True), last


def fit(model_class, data, **settings):
    """A model that was fitted in silence, seeded."""
    with rectools_boundary():
        torch.manual_seed(0)
        return model_class(**{**SIZE, **settings}).fit(data)


@functools.cache
def _fitted(name, distance, with_features):
    model_class, settings = MODELS[name]
    kwargs = {"similarity_module_kwargs": {"distance": distance}, **settings}
    return fit(model_class, dataset(with_features), **kwargs)


def fitted(name="SASRec", distance="dot", with_features=False):
    """A model of the table, fitted once on all interactions; not to be changed."""
    return _fitted(name, distance, with_features)


@functools.cache
def _attached(name, distance, with_features):
    model = fitted(name, distance, with_features)
    return open_model(model, dataset=dataset(with_features))


def attached(name="SASRec", distance="dot", with_features=False):
    """The recommender of :func:`fitted`, opened once."""
    return _attached(name, distance, with_features)


def recommended(model, users, data, k=10, at=None):
    """RecTools' own lists, a row for each place, viewed items among them."""
    context = None
    if model.require_recommend_context:
        context = pd.DataFrame({"user_id": users, "datetime": at, "weight": 1.0})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.recommend(users, data, k, filter_viewed=False, context=context)
