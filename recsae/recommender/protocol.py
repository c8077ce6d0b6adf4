"""What recsae needs to know of a recommender, and numerical checks of what it claims to be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from recsae.core.errors import SiteNotFound, nearest

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from recsae.recommender.catalog import ItemCatalog
    from recsae.recommender.sequences import Batch, Sequences

    Edit = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Site:
    """A place where hidden states are read and edited."""

    name: str
    meaning: str
    width: int
    every_position: bool
    """The states of all positions of a window come out of one forward (verified, see is_causal)."""
    per_user: bool = False
    """There is one state for each user, whatever part of the history is shown."""
    share: float | None = None
    """How much of the scores' variance follows a state that is moved to another sequence: 1 where
    all scores are made from the state alone, None where it was not tried."""


class LinearHead(NamedTuple):
    """``scores = states @ items.T + bias``, verified on real sequences."""

    items: torch.Tensor  # (n_items, d)
    bias: torch.Tensor | None  # (n_items,)

    def score(self, states: torch.Tensor) -> torch.Tensor:
        """Scores ``(n, n_items)`` of states ``(n, d)``."""
        scores = states @ self.items.T
        return scores if self.bias is None else scores + self.bias


@dataclass(frozen=True)
class EvaluationCases:
    """The cases of the recommender's own evaluation.

    Case i asks for the item after the first ``ends[i]`` items of sequence ``rows[i]``; it is
    ranked in group ``groups[i]`` (a group of its own unless candidates are sampled per user).
    ``candidates`` is ``(case, item)`` pairs, None for full ranking. With ``filters_seen`` the
    items of a sequence before the first of its group's cases are taken out of the ranking.
    """

    rows: NDArray[np.int64]
    ends: NDArray[np.int64]
    targets: NDArray[np.int64]
    groups: NDArray[np.int64]
    candidates: NDArray[np.int64] | None
    metrics: tuple[str, ...]
    topk: tuple[int, ...]
    description: str
    filters_seen: bool = False

    @property
    def group_rows(self) -> NDArray[np.int64]:
        """``(n_groups,)`` the sequence that each group is about."""
        import numpy as np

        rows = np.zeros(int(self.groups.max()) + 1, dtype=np.int64)
        rows[self.groups] = self.rows
        return rows


@runtime_checkable
class Recommender(Protocol):
    """A trained recommender, attached. Adapters implement this; recsae uses nothing else.

    An adapter may also have ``filters_seen = True``, if its recommendations leave out the items of
    the history as its own evaluation does, ``max_positions``, at how many positions it can be
    captured in reasonable time, if it ranks slowly, ``represent_sites``, the method behind
    :func:`represent_sites`, if one forward gives the states of several sites, and the two methods
    of :class:`AcceptsVectors`, if states can be differentiated by what the model reads.
    """

    name: str
    plugin: str
    dataset: str
    catalog: ItemCatalog
    max_length: int
    """Number of most recent items that the model reads."""

    def sequences(self) -> Sequences:
        """Every user's whole history, oldest item first."""

    def evaluation(self, split: str = "test") -> EvaluationCases:
        """The cases of the model's own evaluation settings."""

    def sites(self) -> list[Site]:
        """Where states can be read; the first is the sequence representation."""

    def represent(
        self, batch: Batch, site: str | None = None, *, positions: bool = False
    ) -> torch.Tensor:
        """States ``(n, d)`` at the last item, or ``(n, length, d)`` at every item."""

    def score(self, batch: Batch) -> torch.Tensor:
        """Scores ``(n, n_items)`` by the model's own scoring, edits applied."""

    def linear_head(self) -> LinearHead | None:
        """The head behind the default site, or None if scores are not linear in it."""

    def edit(self, edit: Edit, site: str | None = None) -> AbstractContextManager[None]:
        """Within the context, states ``(n, d)`` at the site become ``edit(states)``."""

    def fingerprint(self) -> str:
        """SHA-256 over what makes the scores: weights, settings, item ids."""

    def sources(self) -> list[str]:
        """Files that the model and its data were read from."""

    def describe(self) -> dict[str, Any]:
        """Facts for ``recsae inspect``: versions, settings, what was detected and how sure."""


@runtime_checkable
class AcceptsVectors(Recommender, Protocol):
    """An adapter whose model can be given vectors in place of items; gradients need it.

    :class:`recsae.recommender.embeddings.EmbeddingLookups` does most of the work for a torch
    module. Both methods raise CannotOpenModel, with the reason, where a model cannot be read like
    that.
    """

    def input_vectors(self, batch: Batch) -> torch.Tensor:
        """What the model looks up for each item, ``(n, length, d_in)``; of padding anything."""

    def represent_from(
        self, batch: Batch, vectors: torch.Tensor, site: str | None = None
    ) -> torch.Tensor:
        """States ``(n, d)`` of the batch with these vectors as what was looked up.

        With those of ``input_vectors`` the states are those of ``represent``. They can be
        differentiated by the vectors; ``torch.autograd.grad`` leaves nothing in the model.
        """


def find_site(recommender: Recommender, name: str | None) -> Site:
    """The named site, or the default one; SiteNotFound lists what there is."""
    sites = recommender.sites()
    if name is None:
        return sites[0]
    for site in sites:
        if site.name == name:
            return site
    known = [s.name for s in sites]
    raise SiteNotFound(
        f"{recommender.name} has no site {name!r}.{nearest(name, known)} It has: {known}."
    )


def filters_seen(recommender: Recommender) -> bool:
    """Whether the recommender's lists leave out the items of the history."""
    return bool(getattr(recommender, "filters_seen", False))


def represent_sites(
    recommender: Recommender, batch: Batch, sites: Sequence[str], *, positions: bool = False
) -> dict[str, torch.Tensor]:
    """States at several sites, in one forward where the adapter can; see ``represent``."""
    together = getattr(recommender, "represent_sites", None)
    if together is not None:
        states: dict[str, torch.Tensor] = together(batch, sites, positions=positions)
        return states
    return {name: recommender.represent(batch, name, positions=positions) for name in sites}
