"""Sequential data that were split into files beforehand, every row with its own history.

RecBole takes such rows as they are (``benchmark_filename``). Here the rows of a user are put
together to one sequence, in which each row is a position.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from recsae.core.errors import CannotOpenModel
from recsae.recommender.sequences import Sequences
from recsae_recbole.general_data import set_positions

Row = tuple[int, ...]
"""A history and, last, its target."""


class Found(NamedTuple):
    """A user's sequence and the position of the target of every row in it; None: it has none."""

    sequence: list[int]
    positions: list[int | None]


def sequences_of_rows(dataset: Any, splits: dict[str, Any], max_length: int) -> Sequences:
    """Every user's sequence; the parts' rows are given their positions in them.

    Raises
    ------
    CannotOpenModel
        The rows have no histories, or those of a user are not of one sequence.
    """
    feats = [part.inter_feat for part in splits.values()]
    users = np.concatenate([feat[dataset.uid_field].numpy() for feat in feats]).astype(np.int64)
    field = getattr(dataset, f"{dataset.iid_field}_list_field", None)
    if field is None:
        raise CannotOpenModel(
            "The checkpoint was trained on files that were split beforehand (benchmark_filename), "
            f"and their rows have no field {dataset.iid_field}{dataset.config['LIST_SUFFIX']!s} of "
            "histories: only rows with their histories are supported."
        )
    rows: list[Row] = [row for feat in feats for row in _rows(dataset, feat, field)]
    order = np.argsort(users, kind="stable")
    starts = np.flatnonzero(np.r_[True, users[order][1:] != users[order][:-1]])
    positions = np.full(len(rows), -1, dtype=np.int64)
    sequences: list[list[int]] = []
    for mine in np.split(order, starts[1:]):
        found = one_sequence([rows[i] for i in mine], max_length)
        sequences.append(found.sequence)
        positions[mine] = [-1 if p is None else p for p in found.positions]
    lost = int((positions < 0).sum())
    if lost:
        where = int(users[np.flatnonzero(positions < 0)[0]])
        name = dataset.field2id_token[dataset.uid_field][where]
        raise CannotOpenModel(
            "The checkpoint was trained on files that were split beforehand (benchmark_filename), "
            f"and {lost:,} of their {len(rows):,} rows, one of user {str(name)!r} among them, have "
            "histories that are not part of one sequence of the user's: recsae reads one sequence "
            "of each user. Train on the whole .inter file, which RecBole splits."
        )
    set_positions(feats, positions)
    internal = users[order][starts]
    return Sequences(
        flat=np.array([item for found in sequences for item in found], dtype=np.int32),
        offsets=np.cumsum([0, *map(len, sequences)], dtype=np.int64),
        users=np.array(
            [str(dataset.field2id_token[dataset.uid_field][user]) for user in internal],
            dtype=object,
        ),
        user_rows=internal,
    )


def one_sequence(rows: list[Row], max_length: int) -> Found:
    """The shortest sequence that grows row by row and has each row's history before its target.

    >>> one_sequence([(1, 2), (1, 2, 3), (2, 3, 4)], max_length=2)
    Found(sequence=[1, 2, 3, 4], positions=[1, 2, 3])
    """
    positions: list[int | None] = [None] * len(rows)
    sequence: list[int] = []
    for i in sorted(range(len(rows)), key=lambda i: len(rows[i])):
        history = list(rows[i][:-1])[-max_length:]
        if sequence and sequence[-max_length:] == history:  # one item further
            sequence.append(rows[i][-1])
        elif history[: len(sequence)] == sequence:  # several items further, or the first row
            sequence += rows[i][len(sequence) :]
        positions[i] = _place(sequence, rows[i], max_length)
    return Found(sequence, positions)


def _place(sequence: list[int], row: Row, max_length: int) -> int | None:
    """Where the row's target is, behind the history that a model reads there."""
    history = list(row[:-1])[-max_length:]
    for end in range(len(sequence) - 1, 0, -1):
        read = sequence[max(0, end - max_length) : end]
        if sequence[end] == row[-1] and read == history:
            return end
    return None


def _rows(dataset: Any, feat: Any, field: str) -> Iterable[Row]:
    histories = feat[field].numpy()
    lengths = feat[dataset.item_list_length_field].numpy()
    targets = feat[dataset.iid_field].numpy()
    for history, length, target in zip(histories, lengths, targets, strict=True):
        yield (*history[: int(length)].tolist(), int(target))
