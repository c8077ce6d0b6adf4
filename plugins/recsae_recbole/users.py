"""What a data set's raw ``.user`` file says of its users."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from recsae.core.errors import InvalidInput
from recsae.recommender.user_table import build_user_table
from recsae_recbole.items import read_raw

if TYPE_CHECKING:
    import pandas as pd


class UserTable(NamedTuple):
    """What is known of users, and why it is nothing where there is a file."""

    table: pd.DataFrame | None
    note: str = ""


NO_USERS = UserTable(None)
"""Of a data set without a ``.user`` file."""


def user_table(config: Any, folder: Path, users: Sequence[str]) -> UserTable:
    """The raw ``.user`` file, whatever of it the settings load; a note if it cannot be read.

    Read past RecBole for the reasons that item files are.
    """
    path, key = folder / f"{config['dataset']}.user", str(config["USER_ID_FIELD"])
    if not path.is_file():
        return NO_USERS
    try:
        table, kinds = read_raw(config, path)
        if key not in table:
            raise InvalidInput(f"it has no column {key!r}, only {list(table.columns)}")
        table = table[[key, *(column for column in table.columns if column != key)]]
        expected = str(config["seq_separator"] or " ")
        return UserTable(build_user_table(users, table, kinds=kinds, expected=expected))
    except InvalidInput as error:
        said = str(error).rstrip(".")
        return UserTable(None, f"Nothing is said of users by {path.name}: {said}.")
