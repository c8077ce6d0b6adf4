"""Whether a data set is the one that a model was trained on: by its score, or by its own maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from recsae.core.errors import CannotOpenModel, InvalidInput
from recsae.recommender.protocol import StatedScore
from recsae.recommender.validation import compare_with_stated
from recsae_recbole.evaluation import RANKING

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae_recbole.adapter import RecBoleRecommender
    from recsae_recbole.dataset import Data

IN_MEMORY = StatedScore(
    unknown="the model is in memory, and no dataset was given to compare users and items with"
)
"""What is known of a model in memory that came without its data set."""


def stated_score(config: Any, best: Any) -> StatedScore:
    """The score that RecBole's trainer saves with the weights, and how it came about."""
    metric = str(config["valid_metric"] or "").lower()
    name, _, k = metric.partition("@")
    mode = config["eval_args"]["mode"]["valid"]
    value = float(best) if isinstance(best, int | float | np.number) else float("nan")
    unknown = ""
    if not np.isfinite(value):
        unknown = "nothing was validated when the model was trained"
    elif not value:
        unknown = "the checkpoint says that the model scored 0 in validation"
    elif name not in RANKING or int(k or 0) not in map(int, config["topk"]):
        unknown = f"recsae does not know the metric {config['valid_metric']!r} of the validation"
    elif name not in {str(m).lower() for m in config["metrics"]}:
        unknown = f"the metric {config['valid_metric']!r} is none of the checkpoint's"
    return StatedScore(
        metric,
        value,
        rounding=0.5 * 10.0 ** -int(config["metric_decimal_place"] or 4),
        unknown=unknown,
        by_chance=mode != "full",
        split_by_chance=config["eval_args"]["order"] == "RO",
    )


def with_origin(recommender: RecBoleRecommender) -> RecBoleRecommender:
    """The recommender with a note of what could not be compared.

    Raises
    ------
    CannotOpenModel
        The data cannot be those of the model's training.
    """
    found = compare_with_stated(recommender)
    if found is not None and found.note:
        recommender.catalog = recommender.catalog.with_notes(found.note)
    return recommender


def own_class(given: Any) -> type | None:
    """The class of a data set in memory, if RecBole would not choose it by itself.

    Raises
    ------
    InvalidInput
        It is no data set of RecBole's.
    """
    if not isinstance(getattr(given, "field2id_token", None), dict):
        raise InvalidInput(
            f"dataset is what RecBole's create_dataset gives, not a {type(given).__name__}."
        )
    return None if type(given).__module__.startswith("recbole.") else type(given)


def check_same_data(given: Any, data: Data) -> None:
    """Refuse files of other users, items or interactions than a data set of RecBole's in memory."""
    maps, ours = given.field2id_token, data.dataset
    for what, theirs, own in (
        ("user", given.uid_field, ours.uid_field),
        ("item", given.iid_field, ours.iid_field),
    ):
        mine, known = list(map(str, ours.field2id_token[own])), list(map(str, maps[theirs]))
        if mine == known:
            continue
        pairs = enumerate(zip(mine, known, strict=False))
        where = next((i for i, (a, b) in pairs if a != b), min(len(mine), len(known)))
        seen = [repr(ids[where]) if where < len(ids) else "nothing" for ids in (known, mine)]
        raise _other_files(data, f"{what} number {where} is {seen[0]} in it and {seen[1]} in them")
    theirs, own = _pairs(given), _every_pair(data)
    lengths = data.sequences.lengths
    whole = len(theirs) in (len(own), len(own) - len(lengths))  # without or with RecBole's prefixes
    if not whole or len(pd.Index(theirs).difference(pd.Index(own))):
        raise _other_files(data, f"it has {len(theirs):,} interactions and they {len(own):,}")


def _other_files(data: Data, what: str) -> CannotOpenModel:
    return CannotOpenModel(
        f"The data set given is not that of the files in {data.files[0].parent}: {what}. Give the "
        "files that it was made from as data_path, and the whole data set, not a part."
    )


def _pairs(dataset: Any) -> NDArray[np.int64]:
    """User and item of every interaction as one number."""
    feat = dataset.inter_feat
    users, items = (np.asarray(feat[f]) for f in (dataset.uid_field, dataset.iid_field))
    return _as_numbers(users, items, dataset)


def _every_pair(data: Data) -> NDArray[np.int64]:
    sequences = data.sequences
    users = np.repeat(sequences.user_rows, sequences.lengths)
    return _as_numbers(users, sequences.flat, data.dataset)


def _as_numbers(users: NDArray[Any], items: NDArray[Any], dataset: Any) -> NDArray[np.int64]:
    pairs: NDArray[np.int64] = users.astype(np.int64) * int(dataset.item_num) + items
    return pairs
