"""Names that tell the concepts of a dictionary apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import pandas as pd

from recsae.concepts.attributes.names import LENGTH
from recsae.concepts.wording import amount_in, place_of
from recsae.core import columns as C

if TYPE_CHECKING:
    Row = dict[str, object]


def told_apart(table: pd.DataFrame) -> list[str]:
    """A name of its own for each concept of a table.

    Where several are about the same, each says where it looks ("Drama in the last 5 items"); if
    that is the same too, how much of it there is ("Drama, at least 2 of the last 5 items"); and
    else its latent.

    Parameters
    ----------
    table
        Concepts, one row each, with what they are about and the predicates of their labels.
    """
    rows = table.to_dict("records")
    names = [str(row[C.ABOUT]) for row in rows]
    several = {about for about, number in Counter(names).items() if number > 1}
    todo = [number for number, about in enumerate(names) if about in several]
    for detail in (_place, _amount, _latent):
        found = {number: f"{rows[number][C.ABOUT]}{detail(rows[number])}" for number in todo}
        taken = Counter([*found.values(), *(n for i, n in enumerate(names) if i not in found)])
        for number in [number for number in todo if taken[found[number]] == 1]:
            names[number] = found[number]
            todo.remove(number)
    for number in todo:  # a catalog with a value that looks like another's name
        names[number] = f"{rows[number][C.ABOUT]}, {rows[number][C.LABEL]} ({number})"
    return names


def _place(row: Row) -> str:
    places = _of_parts(row, lambda view, *_: place_of(view))
    whole = row[C.SECOND_ATTRIBUTE] is None and not row[C.NEGATED] and "," not in str(row[C.ABOUT])
    return f"{' ' if whole else ', '}{' and '.join(places)}" if places else ""


def _amount(row: Row) -> str:
    return "".join(f", {amount}" for amount in _of_parts(row, amount_in))


def _of_parts(row: Row, say: Callable[[str, int, bool], str]) -> list[str]:
    parts = []
    for attribute, view, threshold, negated in (
        (C.ATTRIBUTE, C.VIEW, C.THRESHOLD, C.NEGATED),
        (C.SECOND_ATTRIBUTE, C.SECOND_VIEW, C.SECOND_THRESHOLD, C.SECOND_NEGATED),
        (C.THIRD_ATTRIBUTE, C.THIRD_VIEW, C.THIRD_THRESHOLD, C.THIRD_NEGATED),
    ):
        if isinstance(row[attribute], str) and row[attribute] != LENGTH:
            parts.append(say(str(row[view]), int(str(row[threshold])), bool(row[negated])))
    return list(dict.fromkeys(parts))


def _latent(row: Row) -> str:
    return f" (latent {row[C.LATENT]})"
