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


@cache
def _libraries() -> ThreadpoolController:
    """The libraries with threads of their own; to look for them takes milliseconds each time."""
    return ThreadpoolController()
