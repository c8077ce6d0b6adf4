"""The conformance kit for adapters, recsae's own and those of other plug-ins."""

from __future__ import annotations

import random

import numpy as np
import torch

from recsae.core.errors import CannotOpenModel
from recsae.core.files import digest_of_module
from recsae.recommender.protocol import Recommender, as_recommender
from recsae.testing.checks import CHECKS
from recsae.testing.probe import Probe, need


def check_recommender(recommender: Recommender, n: int = 32) -> list[str]:
    """Check that an adapter keeps what the protocol :class:`recsae.Recommender` promises.

    For authors of plug-ins: call it in a test on a small model with real sequences in it, of which
    some are longer than the model reads. Everything is tried on the model and nothing is assumed
    of it. Takes seconds, needs no network, and leaves the recommender as it was.

    Parameters
    ----------
    recommender
        What the plug-in's ``open`` returns.
    n
        Number of sequences to try.

    Returns
    -------
    list of str
        Names of the checks, all passed.

    Raises
    ------
    AssertionError
        A check failed; the message names it and says what was seen.

    Examples
    --------
    >>> from recsae.testing import PlantedRecommender, check_recommender
    >>> recommender = PlantedRecommender(n_users=40)  # here stands your adapter
    >>> passed = check_recommender(recommender)
    >>> "no-op edit leaves scores bit-equal" in passed
    True

    The commonest fault is an edit that the model's own scoring never sees:

    >>> from contextlib import nullcontext
    >>> from recsae.recommender.protocol import find_site
    >>> recommender.edit = lambda edit, site=None: nullcontext(find_site(recommender, site))
    >>> check_recommender(recommender)
    Traceback (most recent call last):
        ...
    AssertionError: Planted fails 'edit changes scores': at site 'sequence' scores stayed the same \
when every state was shifted.
    """
    try:
        as_recommender(recommender)
    except CannotOpenModel as error:
        raise AssertionError(str(error)) from error
    probe = _probe(recommender, n)
    before = _state(recommender)
    for name, check in CHECKS.items():
        try:
            check(probe)
            after = _state(recommender)
            changed = [key for key in before if before[key] != after[key]]
            need(not changed, f"it changed {' and '.join(changed)}.")
        except AssertionError as error:
            raise AssertionError(f"{recommender.name} fails {name!r}: {error}") from error
        except Exception as error:
            seen = f"{type(error).__name__}: {error}"
            raise AssertionError(f"{recommender.name} fails {name!r}: raised {seen}") from error
    return [*CHECKS, "nothing is changed"]


def _probe(recommender: Recommender, n: int) -> Probe:
    usable = np.flatnonzero(recommender.sequences().lengths >= 2)
    need(len(usable) > 0, "the recommender has no sequence of two items or more.")
    by_length = usable[np.argsort(recommender.sequences().lengths[usable], kind="stable")]
    chosen = by_length[np.linspace(0, len(usable) - 1, min(n, len(usable))).astype(np.int64)]
    return Probe(recommender, np.unique(chosen))


def _state(recommender: Recommender) -> dict[str, object]:
    """What using a recommender must not change; of the model only where there is one to look at."""
    model = recommender.model
    seen: dict[str, object] = {
        "torch's random numbers": torch.get_rng_state().numpy().tobytes(),
        "NumPy's random numbers": _numpy_state(),
        "Python's random numbers": random.getstate(),
        "torch's grad mode": torch.is_grad_enabled(),
    }
    if isinstance(model, torch.nn.Module):
        seen["the model's parameters"] = digest_of_module(model)
        seen["the model's gradients"] = [
            (p.requires_grad, p.grad is None) for p in model.parameters()
        ]
        seen["the model's training mode"] = [m.training for m in model.modules()]
        seen["the model's methods"] = [_own_methods(m) for m in model.modules()]
        seen["the model's hooks"] = [
            (len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()
        ]
    return seen


def _own_methods(module: torch.nn.Module) -> list[str]:
    """What stands on this one object instead of on its class, such as a replaced ``forward``."""
    return sorted(name for name, value in vars(module).items() if callable(value))


def _numpy_state() -> tuple[bytes, int]:
    state = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
    return state["key"].tobytes(), state["pos"]
