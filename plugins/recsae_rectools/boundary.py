"""The boundary around RecTools: what it and PyTorch Lightning say and draw stays inside."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from recsae.core.errors import summary_of
from recsae_rectools.installation import no_rectools, version_of_rectools

LOGGERS = ("pytorch_lightning", "lightning_fabric", "lightning")
"""Who tells of devices when a trainer is made."""


@contextmanager
def rectools_boundary() -> Iterator[None]:
    """Run RecTools inside: no remarks of Lightning's, and torch's random numbers as they were.

    Raises
    ------
    CannotOpenModel
        RecTools cannot be imported; the message has the cure.
    """
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _require_rectools()  # which sets the levels of its loggers
        loggers = [logging.getLogger(name) for name in LOGGERS]
        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _require_rectools() -> None:
    version_of_rectools()
    try:
        import rectools.models.nn.transformers.base  # noqa: F401
    except Exception as error:  # under libraries that it was not written for
        raise no_rectools(f"RecTools cannot be imported ({summary_of(error)})") from None
