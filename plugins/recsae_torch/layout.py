"""Where ``make_batch`` puts the items of a history, tried on lists of the model's numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from recsae.core.errors import CannotOpenModel, InvalidInput
from recsae_torch.sites import Padding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae_torch.scoring import MakeBatch


class Layout(NamedTuple):
    """Where the items are: the padded side, and the tokens behind the newest item."""

    padding: Padding
    behind: int
    """1 if a token, as BERT4Rec's mask, follows the newest item, and the prediction is there."""


def find_layout(
    make_batch: MakeBatch, ids: NDArray[np.int64], max_length: int, padding: Padding
) -> Layout:
    """The layout of batches; as stated if the batch has no table of the items' numbers.

    Parameters
    ----------
    ids
        The model's own numbers of its items, padding left out.

    Raises
    ------
    CannotOpenModel
        Items are padded on the other side, cut, or have a token before them.
    InvalidInput
        An item's number is that of padding.
    """
    rows = _trial_rows(ids, max_length)
    tables = list(_tables(make_batch(rows), len(rows)))
    layouts = [found for table in tables for found in _layouts_of(table, rows)]
    _check_numbers(make_batch, rows, ids, layouts)
    fitting = [layout for layout, _ in layouts if layout.padding == padding]
    if fitting:
        return max(fitting, key=lambda layout: layout.behind)
    if layouts:
        other = layouts[0][0].padding
        raise CannotOpenModel(
            f"make_batch pads short histories on the {other}, not where padding={padding!r} puts "
            f"padding: say padding={other!r}, or let make_batch pad on the {padding} if the model "
            "was trained like that."
        )
    return Layout(padding, 0)


def _trial_rows(ids: NDArray[np.int64], max_length: int) -> list[list[int]]:
    """Lists of several lengths, the longest first; of one item the shortest."""
    lengths = dict.fromkeys((max_length, max(1, max_length // 2), min(2, max_length), 1))
    own = [int(i) for i in ids]
    return [[own[(start + j) % len(own)] for j in range(n)] for start, n in enumerate(lengths)]


def _tables(batch: Any, n: int) -> Iterator[torch.Tensor]:
    """Tables of integers in a batch with a row, or a column, for each of n histories."""
    if isinstance(batch, np.ndarray):
        batch = torch.as_tensor(batch)
    if isinstance(batch, torch.Tensor):
        if batch.dim() == 2 and not batch.is_floating_point() and n in batch.shape:
            table = batch.detach().cpu()
            yield table if len(table) == n else table.T
            if table.shape == (n, n):
                yield table.T
        return
    parts: Any = batch.values() if isinstance(batch, Mapping) else ()
    for part in batch if isinstance(batch, tuple | list) else parts:
        yield from _tables(part, n)


def _layouts_of(table: torch.Tensor, rows: list[list[int]]) -> Iterator[tuple[Layout, int | None]]:
    """Layouts in which a table holds the rows, and what fills the rest (None: nothing does)."""
    m, longest = table.shape[1], max(map(len, rows))
    sides: tuple[Padding, Padding] = ("right", "left")
    for padding in sides:
        for behind in (0, 1):
            if m < longest + behind:
                continue
            fillers: set[int] = set()
            tokens: set[int] = set()
            for row, cells in zip(rows, table.tolist(), strict=True):
                start = 0 if padding == "right" else m - len(row) - behind
                end = start + len(row)
                if cells[start:end] != row:
                    break
                tokens.update(cells[end : end + behind])
                fillers.update(cells[:start], cells[end + behind :])
            else:
                told_apart = not behind or (len(tokens) == 1 and not tokens & fillers)
                if told_apart and len(fillers) <= 1:
                    yield Layout(padding, behind), next(iter(fillers), None)


def _check_numbers(
    make_batch: MakeBatch,
    rows: list[list[int]],
    ids: NDArray[np.int64],
    layouts: list[tuple[Layout, int | None]],
) -> None:
    """Whether a batch is the same with and without an item: then its number is that of padding."""
    longest, fillers = rows[0], {filler for _, filler in layouts if filler is not None}
    if len(longest) < 2:
        return
    for number in sorted({0, *fillers} & set(map(int, ids))):
        short = next(([int(i)] for i in ids if i != number), [])
        if not short:
            continue
        for with_it in ([*short, number], [number, *short]):
            batch = make_batch([longest, short, with_it])
            masked = number in fillers and isinstance(batch, torch.Tensor | np.ndarray)
            if _same_rows(batch, 3) or (masked and any(found.behind for found, _ in layouts)):
                raise InvalidInput(
                    f"item_ids has an item with the number {number}, which make_batch also fills "
                    "short histories with, so the model cannot tell that item from padding. Number "
                    "items as in the training, where padding has a number of its own (often 0, "
                    "and items from 1 on)."
                )


def _same_rows(batch: Any, n: int) -> bool:
    """Whether everything that a batch holds of its last two histories is the same."""
    if isinstance(batch, np.ndarray):
        batch = torch.as_tensor(batch)
    if isinstance(batch, torch.Tensor):
        if batch.dim() == 0:
            return True
        if len(batch) == n:
            return torch.equal(batch[n - 2], batch[n - 1])
        if batch.dim() > 1 and batch.shape[1] == n:
            return torch.equal(batch[:, n - 2], batch[:, n - 1])
        return False
    if isinstance(batch, Mapping):
        return bool(batch) and all(_same_rows(part, n) for part in batch.values())
    if isinstance(batch, tuple | list) and batch:
        if len(batch) == n and not any(_has_rows(part, n) for part in batch):
            first, second = batch[n - 2 :]
            tensors = isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor)
            return torch.equal(first, second) if tensors else bool(first == second)
        return all(_same_rows(part, n) for part in batch)
    return False


def _has_rows(part: Any, n: int) -> bool:
    return isinstance(part, torch.Tensor) and part.dim() > 0 and n in part.shape[:2]
