"""The data set of a general recommender, which has users and items but no sequences.

It is RecBole's own, split by RecBole itself. What is added is an order: every user's items of the
train part, then of the valid and of the test part, so that a history is what comes before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from recsae.recommender.sequences import Sequences

if TYPE_CHECKING:
    from numpy.typing import NDArray

POSITION_FIELD = "recsae_position"
"""The field that is added to interactions: the position of the target in the user's history."""


def general_class(config: Any, kind: type | None = None) -> type:
    """RecBole's class of data set for the model, or ``kind``, whose rows keep their number."""
    import recbole.data.dataset as datasets
    from recbole.data.interaction import Interaction

    base: Any = kind or getattr(datasets, f"{config['model']}Dataset", datasets.Dataset)

    class Numbered(base):  # type: ignore[misc]
        inter_feat: Any

        def _change_feat_format(self) -> None:
            import torch

            super()._change_feat_format()
            number = torch.arange(len(self.inter_feat))
            self.inter_feat.update(Interaction({POSITION_FIELD: number}))

    Numbered.__name__ = base.__name__
    return Numbered


def general_sequences(dataset: Any, splits: dict[str, Any]) -> Sequences:
    """Every user's items, part after part, each by time (where it is loaded) and file order.

    The rows of the parts, which come with their numbers in the file, are given their positions in
    their users' sequences instead. ``learned`` counts the items of the train part.
    """
    feats = [part.inter_feat for part in splits.values()]
    users, items, rows = (
        _joined(feats, name) for name in (dataset.uid_field, dataset.iid_field, POSITION_FIELD)
    )
    timed = dataset.time_field in feats[0]
    times = _joined(feats, dataset.time_field) if timed else np.zeros(len(rows))
    part = np.repeat(np.arange(len(feats)), [len(feat) for feat in feats])
    order = np.lexsort((rows, times, part, users))
    users_in_order = users[order]
    starts = np.flatnonzero(np.r_[True, users_in_order[1:] != users_in_order[:-1]])
    sizes = np.diff(np.r_[starts, len(users)])
    positions = np.empty(len(users), dtype=np.int64)
    positions[order] = np.arange(len(users)) - np.repeat(starts, sizes)
    set_positions(feats, positions)
    internal = users_in_order[starts].astype(np.int64)
    external = dataset.field2id_token[dataset.uid_field]
    return Sequences(
        flat=items[order].astype(np.int32),
        offsets=np.r_[starts, len(items)].astype(np.int64),
        users=np.array([str(external[user]) for user in internal], dtype=object),
        user_rows=internal,
        learned=np.bincount(users[part == 0], minlength=dataset.user_num)[internal],
    )


def _joined(feats: list[Any], field: str) -> NDArray[Any]:
    return np.concatenate([feat[field].numpy() for feat in feats])


def set_positions(feats: list[Any], positions: NDArray[np.int64]) -> None:
    """Give the rows of the parts, one part after another, their positions in their sequences."""
    import torch
    from recbole.data.interaction import Interaction

    sizes = [len(feat) for feat in feats]
    for feat, part in zip(feats, torch.from_numpy(positions).split(sizes), strict=True):
        feat.update(Interaction({POSITION_FIELD: part}))
