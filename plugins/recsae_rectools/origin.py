"""Whether a data set is the one that a model was fitted on, and whether RecTools' lists are ours.

A model of RecTools' has the external ids of its items, so that a title cannot belong to another
item, and no score of a validation. What it was fitted on shows in the order of its items and in how
many users and interactions there were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from recsae.core.errors import CannotOpenModel, summary_of
from recsae_rectools.dataset import ITEM, TIME, USER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae_rectools.adapter import RecToolsRecommender

SEEN = (
    "The model was fitted on all interactions of this data set, also on those that its evaluation "
    "asks for: NDCG is better than on new ones."
)
UNKNOWN = (
    "Which interactions the model was fitted on could not be told: if they are those that its "
    "evaluation asks for, NDCG is better than on new ones."
)
N_USERS = 8
"""So many users' lists are compared with RecTools' own."""
K = 10
"""Items of a list."""
TIES = 1e-4
"""Scores so near to each other, in parts of the largest, may change places."""


def origin_note(recommender: RecToolsRecommender) -> str:
    """What people must know of the evaluation; "" if the model has not seen what it asks for."""
    model, dataset = recommender.rectools_model, recommender.data.dataset
    table = dataset.get_raw_interactions()
    if _fitted_on(model, table):
        return SEEN
    last = table.sort_values(TIME, kind="stable").groupby(USER, sort=False).tail(1).index
    return "" if _fitted_on(model, table.drop(last).reset_index(drop=True)) else UNKNOWN


def _fitted_on(model: Any, table: pd.DataFrame) -> bool:
    """Whether fitting on these interactions gives the model's items in their order, and as many
    users and interactions."""
    preparator, schema = model.data_preparator, model.lightning_model.dataset_schema
    try:
        if preparator.get_val_mask_func is not None:
            kwargs = preparator.get_val_mask_func_kwargs or {}
            mask = np.asarray(preparator.get_val_mask_func(table, **kwargs))
            table = table[~mask].reset_index(drop=True)
        kept = preparator._filter_train_interactions(table)
    except Exception:  # code of somebody else's, on a part of its data
        return False
    ids = [*preparator.item_extra_tokens, *pd.unique(kept[ITEM])]
    return (
        len(kept) == schema["n_interactions"]
        and kept[USER].nunique() == schema["users"]["n_hot"]
        and ids == list(preparator.item_id_map.external_ids)
    )


def check_lists(recommender: RecToolsRecommender) -> None:
    """Refuse a model whose own ``recommend`` gives other lists than those that are made here.

    Raises
    ------
    CannotOpenModel
        It does, or it fails.
    """
    sequences = recommender.sequences()
    rows = np.unique(np.linspace(0, len(sequences) - 1, N_USERS).astype(np.int64))
    try:
        theirs = own_lists(recommender, rows)
    except Exception as error:  # a model of somebody else's class
        raise CannotOpenModel(
            f"{recommender.name} cannot recommend from this data set ({summary_of(error)})."
        ) from error
    ends = sequences.lengths[rows]
    starts = np.maximum(0, ends - recommender.max_length)
    scores = recommender.score(sequences.batch(rows, starts, ends, recommender.max_length)).numpy()
    for row, (mine, items) in enumerate(zip(scores[:, 1:], theirs, strict=True)):
        best = -np.sort(-mine)[: len(items)]
        if np.abs(mine[items - 1] - best).max(initial=0.0) > TIES * np.abs(best).max(initial=1e-12):
            raise CannotOpenModel(
                f"RecTools recommends other items to user {sequences.users[rows[row]]!r} than the "
                f"states of {recommender.name} say: recsae does not know how this model scores."
            )


def own_lists(
    recommender: RecToolsRecommender, rows: NDArray[np.int64], k: int = K
) -> list[NDArray[np.int64]]:
    """What the model's own ``recommend`` puts on top for the users of some sequences.

    Viewed items are not filtered. A model that reads times is asked at each user's last.
    """
    model, data = recommender.rectools_model, recommender.data
    ids = data.dataset.user_id_map.external_ids
    by_name = {str(user): user for user in ids}
    users = [by_name[user] for user in data.sequences.users[rows]]
    context = None
    if model.require_recommend_context:
        last = data.sequences.offsets[rows + 1] - 1
        times = data.times[last].astype("datetime64[ns]")
        context = pd.DataFrame({USER: users, TIME: times, "weight": 1.0})
    device, model.recommend_torch_device = model.recommend_torch_device, str(recommender.device)
    try:
        table = model.recommend(users, data.dataset, k, filter_viewed=False, context=context)
    finally:
        model.recommend_torch_device = device
    items = recommender.internal_ids(table[ITEM])
    by_user = dict(list(items.groupby(table[USER].map(str).to_numpy(), sort=False)))
    return [by_user[str(user)].to_numpy() for user in users]
