"""Attributes by which lists can be calibrated, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recsae.concepts.attributes.names import ERA, POPULARITY
from recsae.concepts.attributes.values import own_columns
from recsae.core.errors import InvalidInput, nearest
from recsae.steering.calibration.shares import ItemShares, popularity_groups
from recsae.steering.steps.goals import popularity_of

if TYPE_CHECKING:
    from recsae.run.workspace import Workspace


def item_shares(work: Workspace, name: str) -> ItemShares:
    """Look up the attribute of a name: ``popularity``, or one that items have of their own.

    Raises
    ------
    InvalidInput
        There is none of that name, items have no such values, or only one.
    """
    if name.strip().casefold() == POPULARITY:
        real = work.recommender.catalog.recommendable
        return popularity_groups(popularity_of(work.construction), real)
    attributes = work.attributes
    own = [column for column in own_columns(attributes) if attributes.names[column][0] != ERA]
    columns_of: dict[str, list[int]] = {}
    for column in own:
        columns_of.setdefault(attributes.names[column][0], []).append(column)
    known = [attribute for attribute, columns in columns_of.items() if len(columns) > 1]
    found = [one for one in columns_of if one.casefold() == name.strip().casefold()]
    can = f"Lists can be calibrated by {' or '.join([POPULARITY, *known])}."
    if not found:
        others = {attribute for attribute, _ in attributes.names} - set(columns_of)
        if name in others:
            raise InvalidInput(f"{name!r} is not an attribute of the items' own. {can}")
        hint = nearest(name, [POPULARITY, *known])
        raise InvalidInput(f"Items have no attribute {name!r}.{hint} {can}")
    columns = columns_of[found[0]]
    if len(columns) < 2:
        value = attributes.names[columns[0]][1]
        raise InvalidInput(
            f"{found[0]!r} has only one value that is frequent enough, {value!r}, so every list "
            f"has the same shares. {can}"
        )
    names = tuple(attributes.names[column][1] for column in columns)
    return ItemShares.of(found[0], names, attributes.matrix[:, columns] > 0)
