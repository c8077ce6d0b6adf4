"""One list without and with steering, and the latents that moved each item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsae.core import columns as C
from recsae.core.notebook.cells import Table, card
from recsae.recommender.lists import one_history
from recsae.run.open import list_request
from recsae.sae.editing import Intervention, turning
from recsae.steering.files import Steering
from recsae.steering.steps.applied import Applied, applied_in, state_edit
from recsae.steering.steps.ranking import Beside
from recsae.steering.unchanged import Unchanged, why_unchanged
from recsae.steering.words import in_words, promoted_values, unknown_users

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch
    from numpy.typing import NDArray

    from recsae.recommender.sequences import Batch
    from recsae.run.workspace import Workspace
    from recsae.steering.steps.kinds import Step

N_LISTED = 10
"""Length of the list."""
N_HISTORY = 9
"""At most so many of the last items of the history are shown."""
N_PUSHES = 2
"""At most so many latents are named for an item."""


class ListedItem(NamedTuple):
    """An item as people know it."""

    title: str
    external_id: str


class Push(NamedTuple):
    """How far a turned latent moved the score of an item."""

    latent: int
    name: str
    size: float
    """Change of the score, less the mean over items."""


@dataclass(frozen=True)
class ListPlace:
    """One place of the list."""

    place: int
    """From 1 on."""
    before: ListedItem
    after: ListedItem
    place_before: int | None
    """Where the item that is there now was before; None: not in the list."""
    pushes: tuple[Push, ...] | None
    """The latents that moved that item its way, the largest first; None where it is not known."""

    def to_dict(self) -> dict[str, Any]:
        """As a row of a table."""
        row = {
            "place": self.place,
            "before": f"{self.before.title} ({self.before.external_id})",
            "after": f"{self.after.title} ({self.after.external_id})",
            "was": self.place_before,
        }
        return row if self.pushes is None else {**row, "by": _words(self.pushes)}


@dataclass(frozen=True)
class RemovedItem:
    """An item that is no longer in the list."""

    item: ListedItem
    pushes: tuple[Push, ...] | None
    """The latents that lowered its score, the largest first; None where it is not known."""

    def to_dict(self) -> dict[str, Any]:
        """As a row of a table."""
        row = {"item": self.item.title}
        return row if self.pushes is None else {**row, "by": _words(self.pushes)}


@dataclass(frozen=True)
class ListChange:
    """One list without and with steering."""

    history: tuple[str, ...]
    """Titles of the last items that the list is made of, oldest first."""
    steps: tuple[Step, ...]
    """What was done; nothing where the steering is not for the user."""
    done: tuple[str, ...]
    """The same in words."""
    excluded_user: str | None
    """The user, where the steering is for others."""
    removed: tuple[RemovedItem, ...]
    places: tuple[ListPlace, ...]
    promoted: dict[int, str | None]
    """The turned latents, and the attribute value whose items each promotes most; None where that
    is not known."""
    n_unknown_users: int = 0
    """How many of the users that the steering is for the model does not know."""
    unchanged: Unchanged | None = None
    """Why the list is as it was, if it is."""

    @property
    def why_unchanged(self) -> str | None:
        """Why the list is as it was, in words; None where it is not."""
        if self.excluded_user is not None:
            return f"the steering is for other users: {self.excluded_user} is not among them"
        return None if self.unchanged is None else str(self.unchanged)

    def to_dict(self) -> dict[str, Any]:
        """As ``recsae steer --json`` has it."""
        return {
            **({} if self.why_unchanged is None else {"nothing changes": self.why_unchanged}),
            "history": list(self.history),
            "changed": list(self.done),
            **({"unknown users": self.n_unknown_users} if self.n_unknown_users else {}),
            "left the list": [one.to_dict() for one in self.removed],
            "table": [one.to_dict() for one in self.places],
        }

    def __repr__(self) -> str:
        turned = "; ".join(self.done) or "nothing"
        return (
            f"ListChange({turned}: {len(self.removed)} of {len(self.places)} items left the list)"
        )

    def _repr_html_(self) -> str:
        facts = {
            "turned": "; ".join(self.done) or "nothing",
            "nothing changes": self.why_unchanged,
            "history": " | ".join(self.history),
            "left the list": " | ".join(one.item.title for one in self.removed) or None,
        }
        rows = [
            (
                one.place,
                one.before.title,
                one.after.title,
                one.place_before,
                _words(one.pushes or ()),
            )
            for one in self.places
        ]
        columns = ("place", "before", "after", "was at", "moved by")
        return card("List without and with steering", facts, [Table("", columns, rows)])


def _words(pushes: tuple[Push, ...]) -> str:
    return ", ".join(f"{push.name} ({push.latent}) {push.size:+.2f}" for push in pushes)


def lists_before_after(
    work: Workspace,
    steering: Steering,
    user: str | None,
    sequence: str | Iterable[str] | None,
    *,
    mask_seen: bool,
) -> ListChange:
    """Make one list without and with steering; its history is that of :func:`list_request`."""
    recommender = work.recommender
    history, batch, seen = list_request(recommender, user, sequence, mask_seen=mask_seen)

    def scored() -> torch.Tensor:
        scores = recommender.score(batch).clone()
        scores[:, ~recommender.catalog.recommendable] = float("-inf")
        scores[:, seen] = float("-inf")
        return scores

    def top(
        done: Applied, scores: torch.Tensor, own: torch.Tensor | None = None, k: int = N_LISTED
    ) -> list[int]:
        lists = done.of_scores(scores, k, Beside(one_history(history), own))
        return [item for item in lists[0].tolist() if item]

    included = user is None or steering.users is None or user in steering.users
    steps = steering.steps if included else []
    interventions = steering.interventions if included else []
    own = scored()
    before = top(Applied(), own)
    with recommender.edit(state_edit(work.sae, steps), work.site):
        after = top(applied_in(work, steps), scored(), own)
    titles = recommender.catalog.titles
    ids = recommender.catalog.external_ids
    place_before = {item: place for place, item in enumerate(before, start=1)}
    gone = [item for item in before if item not in after]
    pushes = _pushes(work, interventions, batch, [*after, *gone])
    promoted = promoted_values(work, interventions)

    def listed(item: int) -> ListedItem:
        return ListedItem(titles[item], ids[item])

    def moved_by(item: int, place: int) -> tuple[Push, ...] | None:
        if item not in pushes:
            return None
        # an item that was not in the list before came from further down
        rose = place_before.get(item, N_LISTED + 1) >= place
        return pushes[item].up if rose else pushes[item].down

    return ListChange(
        history=tuple(titles[i] for i in history[-N_HISTORY:]),
        steps=tuple(steps),
        done=in_words(work, steps, promoted),
        excluded_user=None if included else user,
        removed=tuple(
            RemovedItem(listed(item), pushes[item].down if item in pushes else None)
            for item in gone
        ),
        places=tuple(
            ListPlace(place, listed(old), listed(new), place_before.get(new), moved_by(new, place))
            for place, (old, new) in enumerate(zip(before, after, strict=False), start=1)
        ),
        promoted=promoted,
        n_unknown_users=unknown_users(work, steering.users),
        unchanged=why_unchanged(
            work,
            steps,
            recommender.represent(batch, work.site),
            lambda k: np.array([top(Applied(), own, k=k)]),
        )
        if steps and before == after
        else None,
    )


class _ItemPushes(NamedTuple):
    """The latents that raised an item's score most, and those that lowered it most."""

    up: tuple[Push, ...]
    down: tuple[Push, ...]


def _pushes(
    work: Workspace, interventions: list[Intervention], batch: Batch, items: list[int]
) -> dict[int, _ItemPushes]:
    """For each item the turned latents that raised its score most, and those that lowered it most.

    A latent's push is ``(z' - z) d . e`` less its mean over items, since what is added to all
    changes no list. Empty where scores are not linear in the states of the run's site.
    """
    recommender = work.recommender
    head = work.head
    latents, change, _ = turning(work.sae, interventions)
    if head is None or not latents:
        return {}
    real = recommender.catalog.recommendable
    centred = head.items[items] - head.items[np.flatnonzero(real)].mean(0)
    z = change(recommender.represent(batch, work.site))[0]
    sizes = (z[:, None] * (work.sae.directions()[latents] @ centred.T)).double().numpy()
    names = work.dictionary.table.set_index(C.LATENT)[C.NAME]

    def largest(of_item: NDArray[np.float64], sign: int) -> tuple[Push, ...]:
        order = np.argsort(-sign * of_item)[:N_PUSHES]
        return tuple(
            Push(latents[j], names[latents[j]], float(of_item[j]))
            for j in order.tolist()
            if sign * of_item[j] > 0
        )

    return {
        item: _ItemPushes(largest(sizes[:, column], 1), largest(sizes[:, column], -1))
        for column, item in enumerate(items)
    }
