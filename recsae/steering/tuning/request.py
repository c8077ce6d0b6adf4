"""The goal that is asked for on the command line, or that a steering file was tuned towards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recsae.core.errors import InvalidInput
from recsae.steering.files import GoalRequest
from recsae.steering.tuning.goals import Goal, goal_of
from recsae.steering.tuning.popularity import popularity_goal, popularity_of

if TYPE_CHECKING:
    from recsae.run.workspace import Workspace


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


def requested_goal(work: Workspace, request: GoalRequest) -> Goal:
    """Make the goal, on the items of a run.

    Raises
    ------
    InvalidInput
        Wishes that cannot go together, none, or a name that is unknown here.
    """
    if request.popularity is None:
        return goal_of(work, request.more, request.less, request.never)
    if request.more or request.less or request.never:
        raise InvalidInput("Give --popularity, or --more and --less, or --never.")
    counts = popularity_of(work.construction)
    real = work.recommender.catalog.recommendable
    return popularity_goal(counts, real, more=request.popularity == "+")
