"""The boundary around RecBole: what it changes in the process is undone on leaving.

RecBole 1.2.1 turns on autograd's anomaly mode when a sequential model is imported, reads
``sys.argv`` as settings, relies on NumPy aliases that were removed in NumPy 1.24 and on a method of
SciPy's that went in 1.13, writes to ``CUDA_VISIBLE_DEVICES``, extends PyYAML's loader, seeds every
generator and talks on the root logger. The plug-in runs RecBole only inside
:func:`recbole_boundary`.
"""

import logging
import os
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.sparse import dok_matrix

from recsae.core.errors import NotInstalled, summary_of
from recsae_recbole.installation import no_recbole, refuse_new_pandas

_ALIASES: dict[str, Any] = {
    "bool": np.bool_,
    "int": np.int_,
    "float": np.float64,
    "float_": np.float64,
    "complex": np.complex128,
    "complex_": np.complex128,
    "object": np.object_,
    "str": np.str_,
    "long": np.int_,
    "unicode": np.str_,
    "bool8": np.bool_,
}
"""Names that were removed from NumPy and that RecBole's modules and pickles still use."""


@contextmanager
def recbole_boundary() -> Iterator[None]:
    """Run RecBole inside; NumPy, SciPy, torch, logging, argv, random state stay as they were.

    Raises
    ------
    CannotOpenModel
        RecBole cannot be imported, or pandas is too new for it; the message has the cure.
    """
    keeps = (
        *(_numpy_aliases, _scipy_method, _argv, _environment),
        *(_random_state, _torch_switches, _logging),
    )
    with ExitStack() as stack:
        for keep in keeps:
            stack.enter_context(keep())
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        with _yaml_loader():
            _require_recbole()
            yield


def seed_generators(seed: int) -> None:
    """Seed what RecBole draws from, as its ``init_seed`` does, inside the boundary.

    Left out is CUDA, which nothing here draws from: seeding it before its first use is remembered
    by torch, and could not be undone.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (RecBole draws from it)
    torch.default_generator.manual_seed(seed)


def _require_recbole() -> None:
    """Refuse an installation that lacks something, with the one command that completes it."""
    try:
        import recbole.config
        import recbole.data  # noqa: F401
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "recbole":
            raise no_recbole("RecBole is not installed", NotInstalled) from None
        raise no_recbole(f"RecBole cannot be imported ({error})") from None
    except Exception as error:  # under libraries that it was not written for
        raise no_recbole(f"RecBole cannot be imported ({summary_of(error)})") from None
    refuse_new_pandas(pd.__version__)


@contextmanager
def _numpy_aliases() -> Iterator[None]:
    before = {name: np.__dict__.get(name) for name in _ALIASES}
    for name, value in _ALIASES.items():
        if before[name] is None:
            setattr(np, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is not None:
                setattr(np, name, value)
            elif name in np.__dict__:
                delattr(np, name)


@contextmanager
def _scipy_method() -> Iterator[None]:
    """``dok_matrix._update``, by which RecBole's graph models fill their adjacency matrices."""
    if hasattr(dok_matrix, "_update"):
        yield
        return

    def update(matrix: Any, entries: dict[tuple[int, int], float]) -> None:
        matrix._dict.update(entries)

    dok_matrix._update = update
    try:
        yield
    finally:
        del dok_matrix._update


@contextmanager
def _argv() -> Iterator[None]:
    before = sys.argv
    sys.argv = before[:1] or ["recsae"]
    try:
        yield
    finally:
        sys.argv = before


@contextmanager
def _environment() -> Iterator[None]:
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = before


@contextmanager
def _random_state() -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (it is theirs)
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


@contextmanager
def _torch_switches() -> Iterator[None]:
    cudnn = torch.backends.cudnn
    anomaly = torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()
    flags = cudnn.benchmark, cudnn.deterministic
    try:
        yield
    finally:
        torch.autograd.set_detect_anomaly(*anomaly)
        cudnn.benchmark, cudnn.deterministic = flags


@contextmanager
def _logging() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


@contextmanager
def _yaml_loader() -> Iterator[None]:
    try:
        import yaml
    except ImportError:  # then RecBole cannot be imported either, and that is said
        yield
        return
    name = "yaml_implicit_resolvers"  # PyYAML copies it to the class that is extended
    before = vars(yaml.FullLoader).get(name)
    copy = None if before is None else {key: list(value) for key, value in before.items()}
    try:
        yield
    finally:
        if copy is not None:
            setattr(yaml.FullLoader, name, copy)
        elif name in vars(yaml.FullLoader):
            delattr(yaml.FullLoader, name)
