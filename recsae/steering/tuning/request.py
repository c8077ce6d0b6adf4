"""What is asked for on the command line."""

from __future__ import annotations

from typing import get_args

from recsae.core.errors import InvalidInput, nearest
from recsae.steering.files import GoalRequest
from recsae.steering.steps.kinds import LEAST_CANDIDATES, Calibrating
from recsae.steering.tuning.choice import NAMES


def goal_request(
    more: tuple[str, ...],
    less: tuple[str, ...],
    never: tuple[str, ...],
    popularity: str | None,
    max_loss: float,
) -> GoalRequest:
    """What is asked for, checked.

    Raises
    ------
    InvalidInput
        A loss that is no part, or a popularity that is neither ``-`` nor ``+``.
    """
    if not _is(max_loss, int, float) or not 0 < max_loss < 1:
        raise InvalidInput(
            f"The loss {max_loss!r} is no part: give one between 0 and 1, e.g. 0.01."
        )
    if popularity not in (None, "-", "+"):
        raise InvalidInput(f"The popularity {popularity!r} is neither '-' (less) nor '+' (more).")
    wishes = {"more": more, "less": less, "never": never, "popularity": popularity}
    return GoalRequest.model_validate({**wishes, "max_loss": max_loss})


RE_RANK = (
    *("re-ranking", "probability", "calibrated-probability", "logit-adjustment"),
    *("latents+re-ranking", "latents-by-probability"),
)
"""Methods that re-rank lists, by their names in ``NAMES``."""
CALIBRATING = get_args(Calibrating)
TURN = ("latents", "latents-by-probability", "latents+re-ranking")
"""Methods that turn latents."""


def asked_method(
    method: str | None, candidates: int | None, n_latents: int | None, *, compare: bool
) -> str | None:
    """The method that is asked for, checked with what it would not heed.

    Raises
    ------
    InvalidInput
        There is no such method, it re-ranks nothing though candidates are given or turns nothing
        though a number of latents is, or there are too few candidates for a list.
    """
    if method is not None and not _is(method, str):
        raise InvalidInput(f"The method {method!r} is no text, such as 'latents'.")
    if candidates is not None and not _is(candidates, int):
        raise InvalidInput(f"The candidates {candidates!r} are no whole number, such as 100.")
    if method in CALIBRATING:
        raise InvalidInput(f"The method {method} is for --calibrate (`run.calibrate`).")
    if method is not None and method not in NAMES:
        raise InvalidInput(
            f"There is no method {method!r}, only {', '.join(NAMES)}.{nearest(method, NAMES)}"
        )
    if method is not None and candidates is not None and method not in RE_RANK:
        raise InvalidInput(
            f"The method {method} re-ranks nothing, so candidates ({candidates}) say nothing: "
            f"leave them out, or ask for one of {', '.join(RE_RANK)}."
        )
    if method is not None and n_latents is not None and method not in TURN and not compare:
        raise InvalidInput(
            f"The method {method} turns no latents, and nothing is compared with it, so their "
            f"number ({n_latents}) says nothing: leave it out, or ask for {' or '.join(TURN)}."
        )
    if candidates is not None and candidates <= LEAST_CANDIDATES:
        raise InvalidInput(
            f"Among {candidates} candidates there is nothing to re-rank: give more than "
            f"{LEAST_CANDIDATES}, which a list has."
        )
    return method


def _is(value: object, *kinds: type) -> bool:
    """Whether a value is of one of some kinds, whatever it is said to be."""
    return isinstance(value, kinds) and not isinstance(value, bool)
