"""Concepts of a finished run turned: lists, metrics, files, and goals that are tuned towards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from recsae.core.errors import InvalidInput, nearest
from recsae.core.notebook.cells import Table, card
from recsae.explore.cohorts import Profiler, listed_users
from recsae.explore.migration import Migration, check_promise, migrate
from recsae.run.open import READ
from recsae.steering.context import steer
from recsae.steering.effects import SteeringEffect, metrics_before_after
from recsae.steering.files import (
    GoalRequest,
    Steering,
    check_saving,
    composed,
    described,
    load_steering,
    place,
    save_steering,
)
from recsae.steering.lists import ListChange, lists_before_after
from recsae.steering.parse import read_interventions, scaled
from recsae.steering.steps.goals import goal_of
from recsae.steering.steps.kinds import Filter, ReRanking, Wishes, in_order
from recsae.steering.tuning.results import GoalEffect, TuningResult
from recsae.steering.tuning.tune import tune
from recsae.steering.words import in_words, promoted_values, unknown_users

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from recsae.recommender.protocol import Recommender
    from recsae.run.workspace import Workspace
    from recsae.steering.steps.kinds import Step

Users = str | Iterable[object]
"""Ids of users, or a text: ids with commas, or a file with one on a line."""


class Steered:
    """A finished run with some of its concepts turned; the model itself is not changed."""

    def __init__(self, work: Workspace, steering: Steering) -> None:
        self._work = work
        self.steering = steering

    def lists(
        self,
        user: object | None = None,
        sequence: str | Iterable[object] | None = None,
        *,
        mask_seen: bool = False,
    ) -> ListChange:
        """One list without and with steering, of a user or of a sequence.

        Parameters
        ----------
        user
            Id of a user.
        sequence
            Ids or titles of items, oldest first; a text has them with commas.
        mask_seen
            Leave out items of the history.

        Raises
        ------
        InvalidInput
            Not one of user and sequence, or one of them is unknown.
        """
        with self._work.run.reading(*READ):
            return lists_before_after(
                self._work, self.steering, text_of(user), texts_of(sequence), mask_seen=mask_seen
            )

    def metrics(self) -> SteeringEffect:
        """Metrics of held-out users, and shares of what the concepts speak of, before and after.

        Raises
        ------
        NotEnoughData
            It is for no held-out user.
        """
        with self._work.run.reading(*READ):
            return metrics_before_after(self._work, self.steering)

    def save(self, name: str | Path, *, replace: bool = False) -> Path:
        """Keep it as a steering file: a name kept with the run, or a path ending in ``.json``.

        Parameters
        ----------
        name
            The folder of a path has to be there.
        replace
            Whether another steering that is kept there is replaced. The same one may be there.

        Raises
        ------
        InvalidInput
            Nothing is turned, or the place is not there or holds something else.
        """
        folder, run = self._work.folder, self._work.run
        path = place(folder, str(name))
        save_steering(self.steering, folder, path, run=run, replace=replace)
        return path

    def check_saving(self, name: str | Path, *, replace: bool = False) -> None:
        """Raise what :meth:`save` would raise, and write nothing: for before long work."""
        folder, run = self._work.folder, self._work.run
        path = place(folder, str(name))
        check_saving(self.steering, folder, path, run=run, replace=replace)

    @contextmanager
    def model(self) -> Iterator[Recommender]:
        """Within the context the run's recommender scores as it does when it is steered.

        Raises
        ------
        InvalidInput
            The steering is for some users only, or re-ranks lists.
        """
        work = self._work
        if self.steering.users is not None:
            raise InvalidInput(
                f"The steering is for some users only ({len(self.steering.users):,}), and a model "
                "that scores does not tell them from others: leave users and cohort out, or ask "
                "for lists and metrics."
            )
        with steer(work.recommender, work.sae, self.steering.steps, site=work.site) as it:
            yield it

    def __repr__(self) -> str:
        return f"Steered({described(self.steering)})"

    def _repr_html_(self) -> str:
        steps = self.steering.steps
        promoted = promoted_values(self._work, self.steering.interventions)
        rows = [(one,) for one in in_words(self._work, steps, promoted)]
        users, cohort = self.steering.users, self.steering.cohort
        who = "everybody" if users is None else f"{len(users):,} users: {cohort or 'a list'}"
        unknown = unknown_users(self._work, users) or None
        return card(
            "Steered run",
            {"for": who, "unknown users": unknown},
            [Table("What is done", ("step",), rows)],
        )


@dataclass(frozen=True)
class TunedSteering:
    """What was found for a goal: how far it goes, and the steering that does it."""

    result: TuningResult
    steered: Steered

    def __repr__(self) -> str:
        effect = self.result.effect
        return (
            f"TunedSteering({self.result.goal}: {self.result.method}, "
            f"{self.result.quantity} {effect.before:.4g} -> {effect.after:.4g}, "
            f"NDCG@10 kept {effect.ndcg_kept[0]:.3f})"
        )

    def _repr_html_(self) -> str:
        effect, groups = self.result.effect, self.result.groups
        facts = {
            "held-out users": effect.n_users,
            "NDCG@10 kept": "{:.3f} ({:.3f} to {:.3f})".format(*effect.ndcg_kept),
            self.result.quantity: f"{effect.before:.4g} -> {effect.after:.4g}",
            "what is done": "; ".join(self.result.done),
            "beside other methods": self.result.verdict,
            "uneven": " ".join(groups.warnings) or None if groups else None,
        }
        tried = [
            (one.method, one.effect.after, one.effect.ndcg_kept[0]) for one in self.result.choices
        ]
        tables = [Table("Methods at that loss", ("method", "reached", "NDCG@10 kept"), tried)]
        rows = [
            (str(x.latent), x.promotes or x.name, x.where_active, x.for_everybody, x.name)
            for x in self.result.latents
        ]
        if rows:
            columns = ("latent", "promotes", "where it is active", "for everybody", "name")
            tables.append(Table("Latents that are turned", columns, rows))
        if groups is not None:
            tables.append(groups.table())
        return card(self.result.goal, facts, tables)


class MigratedSteering(NamedTuple):
    """A steering of another run, carried over."""

    steered: Steered
    migration: Migration
    """What stands for each latent, and how the two runs were paired."""
    promise: GoalEffect | None
    """What it was tuned for, measured here; None where it was tuned for nothing."""


def text_of(value: object | None) -> str | None:
    """An id as text, whatever it was given as; None stays."""
    return None if value is None else str(value)


def texts_of(values: str | Iterable[object] | None) -> str | list[str] | None:
    """Ids as texts; one text, and None, stay."""
    return values if values is None or isinstance(values, str) else list(map(str, values))


def steered_run(
    work: Workspace,
    settings: Iterable[str | Mapping[int | str, float] | Steered],
    users: Users | None,
    cohort: str | None,
) -> Steered:
    """Join settings in their order; see :meth:`recsae.finished.opened.OpenRun.steer`."""
    given = list(settings)
    if not given:
        raise InvalidInput(
            "Nothing is turned: give a setting, such as 'Horror=0' or {'Horror': 0}."
        )
    saved = [one.steering for one in given if isinstance(one, Steered)]
    some_users = users is not None or cohort is not None
    if some_users:
        saved = [Steering(part.steps) for part in saved]
    before = composed(saved)
    steering = before._replace(
        steps=in_order(step for one in given for step in _steps(work, one)),
        goal=before.goal if len(saved) == len(given) else None,
    )
    if not some_users:
        return Steered(work, steering)
    rows, words = chosen_users(work, users, cohort)
    ids = external_ids(work.recommender, rows)
    return Steered(work, steering._replace(users=ids, cohort=words))


def _steps(work: Workspace, setting: str | Mapping[int | str, float] | Steered) -> Sequence[Step]:
    if isinstance(setting, Steered):
        return setting.steering.steps
    if isinstance(setting, str):
        return read_interventions(work, (setting,))
    if not isinstance(setting, Mapping):
        raise InvalidInput(
            f"{setting!r} is no setting: give factors by concept, such as {{'Horror': 0}}, a text, "
            "such as 'Horror=0', or a steering."
        )
    return scaled(work, setting)


def chosen_users(
    work: Workspace, users: Users | None, cohort: str | None
) -> tuple[NDArray[np.int64], str]:
    """Rows of the users of a list or a rule, and how they were chosen.

    Raises
    ------
    InvalidInput
        Both are given, or there is no such user.
    """
    if users is not None and cohort is not None:
        raise InvalidInput("Give one of users and cohort.")
    if users is not None:
        rows, words = listed_users(users, work.recommender.sequences()), "a list of users"
    else:
        rows, words = Profiler(work).cohort(cohort or "").rows, str(cohort)
    if not len(rows):
        raise InvalidInput(f"The cohort {cohort!r} has no users.")
    return rows, words


def external_ids(recommender: Recommender, rows: NDArray[np.int64]) -> tuple[str, ...]:
    """The ids of users as people know them."""
    return tuple(str(user) for user in recommender.sequences().users[rows])


def tuned(
    work: Workspace,
    request: GoalRequest,
    users: Users | None,
    cohort: str | None,
    *,
    n_latents: int,
    method: str | None,
    candidates: int | None,
    compare: bool,
) -> TunedSteering:
    """Tune towards a goal, and keep with the steering what it was tuned for.

    See :meth:`recsae.finished.opened.OpenRun.tune`.
    """
    goal, rows, words, ids = goal_of(work, request), None, None, None
    if users is not None or cohort is not None:
        rows, words = chosen_users(work, users, cohort)
        ids = external_ids(work.recommender, rows)
    found = tune(
        work,
        goal,
        request.max_loss,
        users=rows,
        n_latents=n_latents,
        method=method,
        candidates=candidates,
        compare=compare,
    )
    reached = request.model_copy(update={"ndcg_kept": found.result.effect.ndcg_kept[0]})
    steering = found.steering._replace(users=ids, cohort=words, goal=reached)
    return TunedSteering(found.result, Steered(work, steering))


def loaded_steering(work: Workspace, name: str) -> Steered:
    """A steering file of the run; see :meth:`recsae.finished.opened.OpenRun.load_steering`."""
    path = place(work.folder, name)
    steering = load_steering(work.folder, path)
    _check_known(work, steering, path)
    return Steered(work, steering)


def _check_known(work: Workspace, steering: Steering, path: Path) -> None:
    """Refuse names that mean nothing here, and users of whom the model knows none."""
    wishes = [
        (f"step {number}", Wishes(never=one.never) if isinstance(one, Filter) else one)
        for number, one in enumerate(steering.steps, start=1)
        if isinstance(one, Filter) or (isinstance(one, ReRanking) and one.said())
    ]
    for where, wish in [*wishes, *([("its goal", steering.goal)] if steering.goal else [])]:
        try:
            goal_of(work, wish.wishes)
        except InvalidInput as error:
            raise InvalidInput(f"{path} cannot be used: {where}: {error}") from error
    users = steering.users or ()
    if users and unknown_users(work, users) == len(users):
        known = nearest(users[0], work.recommender.sequences().users.tolist())
        raise InvalidInput(
            f"{path} cannot be used: the model knows none of its users ({len(users):,}), such as "
            f"{users[0]!r}.{known}"
        )


def migrated(work: Workspace, name: str, old: Path, *, trust: bool) -> MigratedSteering:
    """Carry a steering file of the run in ``old`` over, and measure what it was tuned for.

    See :meth:`recsae.finished.opened.OpenRun.migrate`.
    """
    path = place(old, name)
    migration = migrate(path, old, work.folder, trust=trust)
    _check_known(work, migration.steering, path)
    promise = check_promise(work, migration.steering)
    return MigratedSteering(Steered(work, migration.steering), migration, promise)
