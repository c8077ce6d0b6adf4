"""Lazy faces of packages: a public name is imported when it is first used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of a package that imports nothing by itself.

    Parameters
    ----------
    package
        Its ``__name__``.
    homes
        Public names, and the module of the package that each is defined in.

    >>> get, names = lazy("recsae.core", {"nearest": "errors"})
    >>> get("nearest").__module__, names()
    ('recsae.core.errors', ['nearest'])
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return get, lambda: sorted(homes)
