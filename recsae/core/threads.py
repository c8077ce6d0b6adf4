"""A job in independent parts, done by several threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Lock
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

T = TypeVar("T")
R = TypeVar("R")


def in_threads(do: Callable[[T], R], parts: Iterable[T], *, at_once: bool = True) -> list[R]:
    """The result of ``do`` for each part, in order, with as many threads as torch uses; one after
    another, each with all of torch's threads, if they may not be done ``at_once``.

    With fewer parts than threads the others are shared out, to what is done within a part.

    Many small matrix products are done sooner by threads that each do some of them than by threads
    that share every one, and much sooner where other programs want the cores too: threads that
    share a product wait for each other at its end.
    """
    parts = list(parts)
    if not at_once:
        return [do(part) for part in parts]
    threads = torch.get_num_threads()
    workers = max(1, min(threads, len(parts)))
    own = threads // workers
    with _libraries().limit(limits=own, user_api="blas"):
        if workers == 1:
            return [do(part) for part in parts]
        try:
            with ThreadPoolExecutor(
                workers, initializer=torch.set_num_threads, initargs=(own,)
            ) as pool:
                return list(pool.map(do, parts))
        finally:
            torch.set_num_threads(threads)


def in_one_piece(
    make: Callable[[slice], Iterable[torch.Tensor]], n: int, size: int, *, at_once: bool = True
) -> list[torch.Tensor]:
    """Tensors of n rows that ``make`` gives ``size`` rows of at a time, as in :func:`in_threads`.

    Their memory is taken with the first part: parts that are kept among tables that come and go
    would hold on to the memory of these, which is many times as much.

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
    whole: list[torch.Tensor] = []
    taking = Lock()

    def fill(part: slice) -> None:
        made = list(make(part))
        with taking:
            if not whole:
                whole.extend(torch.empty(n, *one.shape[1:], dtype=one.dtype) for one in made)
        for all_rows, rows in zip(whole, made, strict=True):
            if rows.shape != all_rows[part].shape or rows.dtype != all_rows.dtype:
                raise ValueError(f"parts of other kinds: {rows.shape}, {rows.dtype}")
            all_rows[part] = rows

    in_threads(fill, parts, at_once=at_once)
    return whole


@cache
def _libraries() -> ThreadpoolController:
    """The libraries with threads of their own; to look for them takes milliseconds each time."""
    return ThreadpoolController()
