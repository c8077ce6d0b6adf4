"""The lookups by which a torch module reads items, so that it can be given vectors instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from recsae.core.errors import CannotOpenModel
from recsae.recommender.hooks import replaced_method

NOWHERE = -1
"""The place of an entry of a lookup that is no item of a history."""


@dataclass(frozen=True)
class EmbeddingLookups:
    """The tables in which a module looks up the items of a history, in order of first use."""

    tables: tuple[nn.Embedding, ...]

    def vectors(self, items: torch.Tensor) -> torch.Tensor:
        """What the tables, side by side, hold for items ``(n, length)``: ``(n, length, d_in)``."""
        with torch.no_grad():
            vectors = [table(items.to(table.weight.device)) for table in self.tables]
        return torch.cat(vectors, dim=2).cpu()

    @contextmanager
    def replaced(
        self, items: torch.Tensor, lengths: torch.Tensor, vectors: torch.Tensor
    ) -> Iterator[None]:
        """Context in which these items are looked up as ``vectors (n, length, d_in)``.

        Whatever else is looked up, such as padding and candidates, stays as it is.

        Parameters
        ----------
        items, lengths
            Histories ``(n, length)`` in the module's own ids, from the first column on, and how
            many items each has.
        """
        widths = [table.embedding_dim for table in self.tables]
        lengths = lengths.clone()  # some models write into what they are given
        with ExitStack() as stack:
            for table, part in zip(self.tables, vectors.split(widths, dim=2), strict=True):
                give = partial(_giving, items=items, lengths=lengths, vectors=part)
                stack.enter_context(replaced_method(table, "forward", give))
            yield


def find_lookups(
    module: nn.Module, items: torch.Tensor, lengths: torch.Tensor, run: Callable[[], object]
) -> EmbeddingLookups:
    """The tables in which items are looked up while ``run`` scores some histories.

    Parameters
    ----------
    items, lengths
        Those histories, a few of two items and more; see :meth:`EmbeddingLookups.replaced`.

    Raises
    ------
    CannotOpenModel
        No table is asked for the items of the histories.
    """
    tables: list[nn.Embedding] = []
    lengths = lengths.clone()

    def listening(table: nn.Embedding) -> Callable[[Any], Any]:
        def wrap(forward: Callable[..., Any]) -> Callable[..., Any]:
            def listened(index: torch.Tensor) -> Any:
                if table not in tables and _places(index, items, lengths) is not None:
                    tables.append(table)
                return forward(index)

            return listened

        return wrap

    with ExitStack() as stack:
        for part in module.modules():
            if isinstance(part, nn.Embedding):
                stack.enter_context(replaced_method(part, "forward", listening(part)))
        run()
    if not tables:
        raise CannotOpenModel(
            f"{type(module).__name__} looks up no vector for each item of a history (an "
            "nn.Embedding), so there is nothing to take gradients by."
        )
    return EmbeddingLookups(tuple(tables))


def _giving(
    forward: Callable[..., Any],
    *,
    items: torch.Tensor,
    lengths: torch.Tensor,
    vectors: torch.Tensor,
) -> Callable[..., Any]:
    def given(index: torch.Tensor) -> Any:
        output, places = forward(index), _places(index, items, lengths)
        if places is None:
            return output
        known = places != NOWHERE
        mine = vectors.flatten(0, 1)[places[known]]
        changed = output.clone()
        changed[known.to(output.device)] = mine.to(output.device, output.dtype)
        return changed

    return given


def _places(index: torch.Tensor, items: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor | None:
    """Which of ``(n, length)`` items, counted row by row, each entry of a lookup is; -1 for none.

    None if the lookup is not one of these histories.
    """
    entries, n, length = index.detach().to(items.device), len(items), items.shape[1]
    table = entries[:, None] if entries.dim() == 1 else entries
    for given in (table, table.T) if table.dim() == 2 else ():
        column = _columns(given, items, lengths) if len(given) == n else None
        if column is not None:
            flat = torch.where(
                column == NOWHERE, NOWHERE, column + length * torch.arange(n)[:, None]
            )
            return (flat if given is table else flat.T).reshape(index.shape)
    return None


def _columns(
    index: torch.Tensor, items: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor | None:
    """The same as columns ``(n, m)`` of the items, for a lookup with a row for each history.

    Layouts of a history that are recognised: from the first entry on; up to the last entry, or to
    the last but one; from the first on, without the oldest item; the newest item alone; and, as
    graphs have it, every item once in any order, where the first of several equal items counts.
    """
    size, m = lengths[:, None], index.shape[1]
    entry = torch.arange(m).expand(index.shape)
    ends = entry - m + size
    for column in (entry, ends, ends + 1, entry + 1, *([size - 1] if m == 1 else [])):
        known = (column >= 0) & (column < size)
        there = items.gather(1, column.clamp(0, items.shape[1] - 1))
        newest = (known & (column == size - 1)).any(1)
        if bool(newest.all() and (there == index)[known].all()):
            return column.masked_fill(~known, NOWHERE)
    real = torch.arange(items.shape[1]) < size
    same = (index[:, :, None] == items[:, None, :]) & real[:, None, :]
    matched = same.any(2)
    if bool((same.any(1) | ~real).all() and (matched | (index == 0)).all()):
        return torch.where(matched, same.int().argmax(2), NOWHERE)
    return None
