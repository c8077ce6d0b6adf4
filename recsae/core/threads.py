"""Work that several threads share, each of them alone with its part."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")
Found = TypeVar("Found")


def in_threads(do: Callable[[T], Found], parts: Iterable[T]) -> list[Found]:
    """What ``do`` makes of each part, in their order, by as many threads as torch uses.

    Many small products are done sooner by threads that each do some than by threads that share
    every one.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        return [do(part) for part in parts]
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(do, parts))
    finally:
        torch.set_num_threads(threads)
