"""Goals of steering: what there should be more or less of in the lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recsae.concepts.attributes.names import ITEM_ITSELF
from recsae.core.errors import InvalidInput, nearest
from recsae.sae.editing import Intervention
from recsae.steering.frontier import Counted
from recsae.steering.parse import targets_of
from recsae.steering.steps.kinds import Wishes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.capture.cases import Cases
    from recsae.concepts.attributes.table import ItemAttributes
    from recsae.run.workspace import Workspace

HEAD = 0.2
"""This part of the items, the most popular ones, is the head; the rest is the long tail."""


@dataclass(frozen=True)
class Goal:
    """What there should be more or less of in the lists, as a weight for every item."""

    wishes: Wishes
    weights: NDArray[np.float32]
    """``(n_items,)`` utility of recommending each item."""
    items: NDArray[np.bool_]
    """``(n_items,)`` which items are counted in the lists."""
    more: bool = True
    """Whether more of these items are wanted."""
    by_popularity: NDArray[np.int64] | None = None
    """``(n_items,)`` how often each item was consumed, where that is what the goal is about."""
    unlearned: bool = False
    """The items are not to be recommended at all: that a user goes on to one is no loss."""

    @property
    def name(self) -> str:
        """The wishes in words."""
        return self.wishes.said()

    @property
    def log_popularity(self) -> NDArray[np.float32] | None:
        """``(n_items,)`` minus (or plus) the logarithm of one more than how often each item was
        consumed, where that is what the goal is about: the weights of logit adjustment."""
        if self.by_popularity is None:
            return None
        logs = np.log1p(self.by_popularity).astype(np.float32)
        return logs if self.more else -logs

    @property
    def counted(self) -> Counted:
        """The quantity that is counted in the lists: the items, or how popular they are."""
        if self.by_popularity is not None:
            return Counted(self.by_popularity.astype(np.float64))
        return Counted(self.items.astype(np.float64), self.items if self.unlearned else None)

    @property
    def quantity(self) -> str:
        """The name of that quantity."""
        popular = self.by_popularity is not None
        return f"{'average popularity' if popular else 'share'} of the top 10"


def goal_of(work: Workspace, wishes: Wishes) -> Goal:
    """Make the goal of more of some attributes or concepts and less of others.

    Each counts 1, an item may count several times. Counted are the items of what there should be
    more of; without any, those of the rest. What is never to be recommended, and what is popular,
    are goals of their own.

    Raises
    ------
    InvalidInput
        Wishes that cannot go together, none, or a name that is unknown here.
    """
    more, less, never = wishes.more, wishes.less, wishes.never
    if wishes.popularity is not None:
        if more or less or never:
            raise InvalidInput("Give --popularity, or --more and --less, or --never.")
        counts = popularity_of(work.construction)
        real = work.recommender.catalog.recommendable
        return popularity_goal(counts, real, more=wishes.popularity == "+")
    if never:
        if more or less:
            raise InvalidInput("Give --never, or --more and --less.")
        items = items_of_any(work, never)
        return Goal(wishes.wishes, -items.astype(np.float32), items, False, unlearned=True)
    if not more and not less:
        raise InvalidInput(
            "Say what there should be more or less of: --more NAME, --less NAME or --never NAME."
        )
    both = [name for name in more if name in less]
    if both:
        raise InvalidInput(f"There cannot be both more and less of {both[0]!r}: leave one out.")
    wanted, unwanted = ([items_of(work, name) for name in names] for names in (more, less))
    weights = np.sum([*wanted, *(-items.astype(int) for items in unwanted)], axis=0)
    items = np.any(wanted or unwanted, axis=0)
    return Goal(wishes.wishes, weights.astype(np.float32), items, bool(wanted))


def popularity_of(cases: Cases) -> NDArray[np.int64]:
    """Count how often each item came next: ``(n_items,)``."""
    return np.bincount(cases.targets, minlength=cases.catalog.n_items)


def popularity_goal(popularity: NDArray[np.int64], real: NDArray[np.bool_], *, more: bool) -> Goal:
    """Make the goal of less (or more) popular items.

    The utility of an item is minus (or plus) its popularity as a part of the largest; counted are
    the items of the head. ``real (n_items,)`` are the items that can be recommended.
    """
    wishes = Wishes(popularity="+" if more else "-")
    weights = popularity / max(int(popularity.max()), 1) * (1 if more else -1)
    n_head = max(1, int(HEAD * real.sum()))
    head = np.zeros(len(popularity), dtype=bool)
    head[np.argsort(-np.where(real, popularity, -1), kind="stable")[:n_head]] = True
    return Goal(wishes, weights.astype(np.float32), head, more, popularity)


def items_of_any(work: Workspace, names: tuple[str, ...]) -> NDArray[np.bool_]:
    """Find the items ``(n_items,)`` of any of some names, see :func:`items_of`."""
    return np.asarray(np.any([items_of(work, name) for name in names], axis=0))


def items_of(work: Workspace, name: str) -> NDArray[np.bool_]:
    """Find the items ``(n_items,)`` with an attribute value, or that a concept's label speaks of.

    ``Documentary`` or, where several attributes have such a value, ``genre: Documentary``.
    """
    value = _value_named(work.attributes, name)
    if value is not None:
        return work.attributes.items_with(*value)
    values = [value for attribute, value in work.attributes.names if attribute != ITEM_ITSELF]
    known = values + work.dictionary.names()
    try:
        latents = work.dictionary.find(name, work.verified)
    except InvalidInput:
        raise InvalidInput(
            f"No attribute value and no concept is named {name!r}.{nearest(name, known)}"
        ) from None
    targets = targets_of(work, Intervention(tuple(latents), "scale", 1.0, name))
    if not targets:
        raise InvalidInput(
            f"The label of {name!r} speaks of the history, not of items: there is nothing to "
            "recommend more or less of."
        )
    return np.asarray(np.any(list(targets.values()), axis=0))


def _value_named(attributes: ItemAttributes, name: str) -> tuple[str, str] | None:
    wanted = name.strip().casefold()
    matches = [
        (attribute, value)
        for attribute, value in attributes.names
        if wanted in (value.casefold(), f"{attribute}: {value}".casefold())
        and not (attribute == ITEM_ITSELF and wanted.isdecimal())  # a number alone is a latent
    ]
    if len(matches) > 1:
        said = " or ".join(repr(f"{attribute}: {value}") for attribute, value in matches)
        raise InvalidInput(f"Several attributes have the value {name!r}: say {said}.")
    return matches[0] if matches else None
