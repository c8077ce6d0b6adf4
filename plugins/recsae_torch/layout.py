"""Where ``make_batch`` puts the items of a history, tried on lists of the model's numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from recsae.core.errors import CannotOpenModel, InvalidInput
from recsae_torch.sites import Layout, Padding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae_torch.scoring import MakeBatch


MOST_TOKENS = 3
"""So many tokens before the oldest item, or behind the newest, are looked for."""


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
        Items are padded on the other side, or cut.
    InvalidInput
        An item's number is that of padding.
    """
    rows = _trial_rows(ids, max_length)
    tables = list(_tables(make_batch(rows), len(rows)))
    found = [layout for table in tables for layout in _layouts_of(table, rows)]
    own = [(layout, filler) for layout, filler in found if layout.shift == 0]
    _check_numbers(make_batch, rows, ids, own)
    layouts = [layout for layout, _ in own or found]
    fitting = [layout for layout in layouts if layout.padding == padding]
    if fitting:
        return max(
            fitting,
            key=lambda x: (not x.newest_first, x.shift is not None, -x.before, x.behind),
        )
    if layouts:
        other = layouts[0].padding
        raise CannotOpenModel(
            f"make_batch pads short histories on the {other}, not where padding={padding!r} puts "
            f"padding: say padding={other!r}, or let make_batch pad on the {padding} if the model "
            "was trained like that."
        )
    for table in tables:
        _refuse_cut(table, rows)
    return Layout(padding, 0)


def _refuse_cut(table: torch.Tensor, rows: list[list[int]]) -> None:
    """Refuse batches that hold short histories, and not the longest whole."""
    for shorter in range(1, len(rows) - 1):
        found = _layouts_of(table[shorter:], rows[shorter:])
        if any(layout.shift is not None for layout, _ in found):
            raise CannotOpenModel(
                f"make_batch holds a history of {len(rows[shorter])} items whole and one of "
                f"{len(rows[0])} not: say with max_length how many items the model reads."
            )


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
    constant = (table == table[0]).all(0).tolist()
    most = MOST_TOKENS if len(rows) > 1 else 0
    sides: tuple[Padding, Padding] = ("right", "left")
    for padding in sides:
        for edge in range(most + 1):  # tokens at the end that is padded
            if edge and not constant[-edge if padding == "right" else edge - 1]:
                break
            inner = table[:, : len(constant) - edge] if padding == "right" else table[:, edge:]
            yield from _layouts_inside(inner, rows, padding, most)


class _Cut(NamedTuple):
    """The cells of one history, by what they are."""

    before: list[int]
    items: list[int]
    behind: list[int]
    fillers: list[int]


def _layouts_inside(
    table: torch.Tensor, rows: list[list[int]], padding: Padding, most: int
) -> Iterator[tuple[Layout, int | None]]:
    width, longest = table.shape[1], max(map(len, rows))
    for before, behind in product(range(most + 1), range(max(most, 1) + 1)):
        if width < before + longest + behind:
            continue
        cuts = []
        for cells, row in zip(table.tolist(), rows, strict=True):
            start = before if padding == "right" else width - len(row) - behind
            end = start + len(row)
            rest = cells[: start - before] + cells[end + behind :]
            cuts.append(
                _Cut(
                    cells[start - before : start], cells[start:end], cells[end : end + behind], rest
                )
            )
        first, fillers = cuts[0], {filler for cut in cuts for filler in cut.fillers}
        alike = all((c.before, c.behind) == (first.before, first.behind) for c in cuts)
        if not alike or len(fillers) > 1 or fillers & {*first.before, *first.behind}:
            continue
        filler = next(iter(fillers), None)
        for turned in (False, True) if longest > 1 else (False,):
            held = [cut.items[::-1] if turned else cut.items for cut in cuts]
            numbers = _numbers(rows, held)
            if numbers is not None:
                shifts = {theirs - ours for ours, theirs in numbers.items()}
                shift = shifts.pop() if len(shifts) == 1 else None
                yield Layout(padding, behind, before, turned, shift), filler


def _numbers(rows: list[list[int]], held: list[list[int]]) -> dict[int, int] | None:
    """The number that a table has for each of the rows' items; None if it has not one for each."""
    found: dict[int, int] = {}
    for row, cells in zip(rows, held, strict=True):
        for ours, theirs in zip(row, cells, strict=True):
            if found.setdefault(ours, theirs) != theirs:
                return None
    return found if len(set(found.values())) == len(found) else None


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
