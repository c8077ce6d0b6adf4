"""A job in independent parts, done by several threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

T = TypeVar("T")
R = TypeVar("R")


def in_threads(do: Callable[[T], R], parts: Iterable[T]) -> list[R]:
    """The result of ``do`` for each part, in order, with as many threads as torch uses.

    Many small matrix products are done sooner by threads that each do some of them than by threads
    that share every one, and much sooner where other programs want the cores too: threads that
    share a product wait for each other at its end.
    """
    threads = torch.get_num_threads()
    with _libraries().limit(limits=1, user_api="blas"):
        if threads == 1:
            return [do(part) for part in parts]
        try:
            with ThreadPoolExecutor(
                threads, initializer=torch.set_num_threads, initargs=(1,)
            ) as pool:
                return list(pool.map(do, parts))
        finally:
            torch.set_num_threads(threads)


def in_one_piece(
    make: Callable[[slice], Iterable[torch.Tensor]], n: int, size: int, *, threads: bool = True
) -> list[torch.Tensor]:
    """Tensors of n rows that ``make`` gives ``size`` rows of at a time, in threads if it may.

    Their memory is taken at the beginning: parts that are kept among tables that come and go would
    hold on to the memory of these, which is many times as much.

    Raises
    ------
    ValueError
        Rows of one part that are not those of the others in width or type, or not as many as asked
        for.

    >>> rows = torch.arange(5)[:, None]
    >>> [whole.T.tolist() for whole in in_one_piece(lambda part: (rows[part], -rows[part]), 5, 2)]
    [[[0, 1, 2, 3, 4]], [[0, -1, -2, -3, -4]]]
    """
    parts = [slice(i, min(i + size, n)) for i in range(0, max(n, 1), size)]
    begun = list(make(parts[0]))
    whole = [torch.empty(n, *one.shape[1:], dtype=one.dtype) for one in begun]

    def fill(part: slice) -> None:
        made = begun if part is parts[0] else make(part)
        for all_rows, rows in zip(whole, made, strict=True):
            if rows.shape != all_rows[part].shape or rows.dtype != all_rows.dtype:
                raise ValueError(f"parts of other kinds: {rows.shape}, {rows.dtype}")
            all_rows[part] = rows

    if threads:
        in_threads(fill, parts)
    else:
        for part in parts:
            fill(part)
    return whole


@cache
def _libraries() -> ThreadpoolController:
    """The libraries with threads of their own; to look for them takes milliseconds each time."""
    return ThreadpoolController()
