"""What the features of a data set say of its users."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from recsae.recommender.user_table import build_user_table
from recsae_rectools.items import feature_values

if TYPE_CHECKING:
    from recsae_rectools.dataset import Data


def user_table(data: Data) -> pd.DataFrame | None:
    """The categorical features of users, by id; None if there are none."""
    values = feature_values(data.dataset.user_features)
    ids = [str(user) for user in data.dataset.user_id_map.external_ids]
    table = pd.DataFrame({"user_id": ids, **values})
    users = list(data.sequences.users)
    return build_user_table(users, table) if values else None
