"""What is asked for on the command line."""

from __future__ import annotations

from recsae.core.errors import InvalidInput, nearest
from recsae.steering.files import GoalRequest
from recsae.steering.steps.kinds import LEAST_CANDIDATES
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
    if not 0 < max_loss < 1:
        raise InvalidInput(
            f"The loss {max_loss!r} is no part: give one between 0 and 1, e.g. 0.01."
        )
    if popularity not in (None, "-", "+"):
        raise InvalidInput(f"The popularity {popularity!r} is neither '-' (less) nor '+' (more).")
    wishes = {"more": more, "less": less, "never": never, "popularity": popularity}
    return GoalRequest.model_validate({**wishes, "max_loss": max_loss})


def asked_method(method: str | None, candidates: int | None) -> str | None:
    """The method that is asked for, checked.

    Raises
    ------
    InvalidInput
        There is no such method, or too few candidates for a list.
    """
    if method is not None and method not in NAMES:
        raise InvalidInput(
            f"There is no method {method!r}, only {', '.join(NAMES)}.{nearest(method, NAMES)}"
        )
    if candidates is not None and candidates < LEAST_CANDIDATES:
        raise InvalidInput(
            f"Among {candidates} candidates there is nothing to re-rank: give {LEAST_CANDIDATES} "
            "at least, as many as a list has."
        )
    return method
