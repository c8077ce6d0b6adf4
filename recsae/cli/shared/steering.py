"""Options on users and settings that several commands on steering share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from recsae.core.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from recsae.recommender.protocol import Recommender
    from recsae.run.workspace import Workspace
    from recsae.steering.files import Steering


for_users = click.option("--users", help="Only for these users: a file of ids, or U1,U2,...")


for_cohort = click.option(
    "--cohort",
    metavar="RULE",
    help="Only for users that a rule chooses: 'concept:Horror>0.1' or 'item:Alien'.",
)


def requested_steering(
    work: Workspace,
    settings: tuple[str, ...],
    files: tuple[str, ...],
    users: str | None,
    cohort: str | None,
) -> Steering:
    """Join steering files and then settings; for the users given, or those of the files."""
    from recsae.steering.files import Steering, composed, load_steering, place
    from recsae.steering.parse import read_interventions

    parts = [load_steering(work.folder, place(work.folder, name)) for name in files]
    some_users = users is not None or cohort is not None
    if some_users:
        parts = [Steering(part.interventions) for part in parts]
    saved = composed(parts)
    interventions = saved.interventions + read_interventions(work, settings)
    goal = None if settings else saved.goal
    steering = saved._replace(interventions=interventions, goal=goal)
    if not some_users:
        return steering
    rows, words = chosen_users(work, users, cohort)
    return steering._replace(users=external_ids(work.recommender, rows), cohort=words)


def chosen_users(
    work: Workspace, users: str | None, cohort: str | None
) -> tuple[NDArray[np.int64], str]:
    """Return the rows of the users of a list or a rule, and how they were chosen."""
    from recsae.explore.cohorts import Profiler, listed_users

    sequences = work.recommender.sequences()
    if users is not None:
        rows, words = listed_users(users, sequences), "a list of users"
    else:
        rows = Profiler(work).cohort(cohort or "").rows
        words = str(cohort)
    if not len(rows):
        raise InvalidInput(f"The cohort {cohort!r} has no users.")
    return rows, words


def external_ids(recommender: Recommender, rows: NDArray[np.int64]) -> tuple[str, ...]:
    """Return the ids of users as people know them."""
    return tuple(str(user) for user in recommender.sequences().users[rows])
