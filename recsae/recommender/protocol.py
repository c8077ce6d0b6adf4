"""What recsae asks of a recommender: the protocol of adapters, and the values that they give."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast, runtime_checkable

from recsae.core.errors import CannotOpenModel, SiteNotFound, nearest

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch
    from numpy.typing import NDArray

    from recsae.recommender.catalog import ItemCatalog
    from recsae.recommender.sequences import Batch, Sequences

    Edit = Callable[[torch.Tensor], torch.Tensor]

NO_VECTORS = "The plug-in of {} cannot give it vectors in place of items."


@dataclass(frozen=True)
class Site:
    """A place where hidden states are read and edited."""

    name: str
    meaning: str
    width: int
    every_position: bool
    """The states of all positions of a window come out of one forward (checked, see is_causal)."""
    per_user: bool = False
    """There is one state for each user, whatever part of the history is shown."""
    share: float | None = None
    """Share of the scores' variance that the state determines, measured by moving states from one
    sequence to another: 1 if scores depend on nothing else, None if not measured."""


class LinearHead(NamedTuple):
    """``scores = states @ items.T + bias``, verified on real sequences."""

    items: torch.Tensor  # (n_items, d)
    bias: torch.Tensor | None  # (n_items,)

    def part(self, first: int, stop: int) -> LinearHead:
        """The head of some of the items, views of its own."""
        bias = None if self.bias is None else self.bias[first:stop]
        return LinearHead(self.items[first:stop], bias)

    def score(self, states: torch.Tensor) -> torch.Tensor:
        """Scores ``(n, n_items)`` of states ``(n, d)``."""
        scores = states @ self.items.T
        return scores if self.bias is None else scores + self.bias

    def score_items(self, states: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Scores ``(n, m)`` of items of its own ``(n, m)`` for each of the states ``(n, d)``."""
        import torch

        from recsae.core.topk import kernels_for

        compiled = kernels_for(states, self.items)
        if compiled is None or states.requires_grad or self.items.requires_grad:
            scores = (self.items[items] @ states[:, :, None])[:, :, 0]
        else:  # without a copy of the items' vectors for each of the states
            scores = torch.empty(items.shape)
            given = (one.contiguous().numpy() for one in (states, self.items, items))
            compiled.row_products(*given, scores.numpy())
        return scores if self.bias is None else scores + self.bias[items]


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


@dataclass(frozen=True)
class StatedScore:
    """What a checkpoint says that its model scored in validation.

    Parameters
    ----------
    metric, value
        As ``"ndcg@10"``, and its mean over the cases of the split "valid".
    rounding
        Half a unit of the last decimal that is kept.
    unknown
        Why there is nothing to compare with; "" if there is.
    by_chance
        Candidates are drawn anew at every evaluation, so that scores agree only roughly.
    split_by_chance
        Which interactions are kept for validation is drawn, by a generator that may have been in
        another state.
    """

    metric: str = ""
    value: float = float("nan")
    rounding: float = 5e-5
    unknown: str = ""
    by_chance: bool = False
    split_by_chance: bool = False


@runtime_checkable
class Recommender(Protocol):
    """A trained recommender, attached. Adapters inherit from this; recsae uses nothing else.

    What an adapter must define has no value here or is abstract. What it may define besides has a
    default: ``model``, ``filters_seen``, ``max_positions``, ``represent_sites``, the two methods by
    which states are differentiated, ``input_vectors`` and ``represent_from``, ``stated_score``, by
    which it is tried whether data are those of the model's training, and ``user_table``.
    """

    name: str
    plugin: str
    dataset: str
    catalog: ItemCatalog
    max_length: int
    """Number of most recent items that the model reads."""
    model: Any = None
    """The model behind the adapter; what is a ``torch.nn.Module`` is never changed for good."""
    filters_seen: bool = False
    """Whether recommendations leave out the items of the history, as ``evaluation`` does."""
    max_positions: int | None = None
    """Most positions to capture of a model that ranks slowly; None: no limit."""

    @abstractmethod
    def sequences(self) -> Sequences:
        """Every user's whole history, oldest item first."""

    @abstractmethod
    def evaluation(self, split: str = "test") -> EvaluationCases:
        """The cases of the model's own evaluation settings."""

    @abstractmethod
    def sites(self) -> list[Site]:
        """Where states can be read; the first is the sequence representation."""

    @abstractmethod
    def represent(
        self, batch: Batch, site: str | None = None, *, positions: bool = False
    ) -> torch.Tensor:
        """States ``(n, d)`` at the last item, or ``(n, length, d)`` at every item."""

    @abstractmethod
    def score(self, batch: Batch) -> torch.Tensor:
        """Scores ``(n, n_items)`` by the model's own scoring, edits applied."""

    @abstractmethod
    def linear_head(self) -> LinearHead | None:
        """The head behind the default site, or None if scores are not linear in it."""

    @abstractmethod
    def edit(self, edit: Edit, site: str | None = None) -> AbstractContextManager[None]:
        """Within the context, states ``(n, d)`` at the site become ``edit(states)``."""

    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 over what makes the scores: weights, settings, item ids."""

    @abstractmethod
    def sources(self) -> list[str]:
        """Files that the model and its data were read from."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Facts for ``recsae inspect``: versions, settings, what was detected and how sure."""

    def represent_sites(
        self, batch: Batch, sites: Sequence[str], *, positions: bool = False
    ) -> dict[str, torch.Tensor]:
        """States at several sites, see ``represent``: one forward for each, if not overridden."""
        return {name: self.represent(batch, name, positions=positions) for name in sites}

    def input_vectors(self, batch: Batch) -> torch.Tensor:
        """What the model looks up for each item, ``(n, length, d_in)``; of padding anything.

        :class:`recsae.recommender.embeddings.EmbeddingLookups` does most of the work for a torch
        module.

        Raises
        ------
        CannotOpenModel
            The model cannot be given vectors in place of items; the message has the reason.
        """
        raise CannotOpenModel(NO_VECTORS.format(self.name))

    def represent_from(
        self, batch: Batch, vectors: torch.Tensor, site: str | None = None
    ) -> torch.Tensor:
        """States ``(n, d)`` of the batch with these vectors as what was looked up.

        With those of ``input_vectors`` the states are those of ``represent``. They can be
        differentiated by the vectors; ``torch.autograd.grad`` leaves nothing in the model.

        Raises
        ------
        CannotOpenModel
            As ``input_vectors``.
        """
        raise CannotOpenModel(NO_VECTORS.format(self.name))

    def stated_score(self) -> StatedScore | None:
        """What the model scored in validation when it was trained; None if nothing says so."""
        return None

    def user_table(self) -> pd.DataFrame | None:
        """What is known of users, by id as in ``sequences().users``; None if nothing is.

        Columns of numbers, NaN where there is none, or of tuples of values, as
        :func:`recsae.recommender.build_user_table` makes them. Communities of items are said by
        what most of their people have; no user is shown with it.
        """
        return None


class MissingParts(NamedTuple):
    """Names of the protocol that an object lacks."""

    required: list[str]
    """Those that an adapter must define."""
    optional: list[str]
    """Those with a default, which an adapter gets by inheriting."""


def missing_parts(candidate: object) -> MissingParts:
    """What an object lacks of the protocol, whether or not it inherits from it."""
    parts = dict.fromkeys([*Recommender.__annotations__, *vars(Recommender)])
    own = dir(type(candidate))  # asked first: a property may open a model
    missing = [
        name
        for name in parts
        if name[0] != "_" and name not in own and not hasattr(candidate, name)
    ]
    abstract = Recommender.__abstractmethods__
    optional = [name for name in missing if name in vars(Recommender) and name not in abstract]
    return MissingParts([name for name in missing if name not in optional], optional)


def inherits(candidate: object) -> bool:
    """Whether the object's class inherits from the protocol, whatever it lacks."""
    return Recommender in type(candidate).__mro__


def as_recommender(candidate: object) -> Recommender:
    """The candidate itself, if it has every part of the protocol, inherited or not.

    Raises
    ------
    CannotOpenModel
        It lacks some; the message says which, and how to get them.
    """
    required, optional = missing_parts(candidate)
    if not required and not optional:
        return cast("Recommender", candidate)
    cures = []
    if not inherits(candidate):
        defaults = f", which has {', '.join(optional)}" if optional else ""
        cures.append(f"inherit from recsae.recommender.Recommender{defaults}")
    if required:
        cures.append(f"define {', '.join(required)}")
    raise CannotOpenModel(
        f"{type(candidate).__name__} lacks {', '.join([*required, *optional])} of the protocol of "
        f"recommenders: let it {', and '.join(cures)}."
    )


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
