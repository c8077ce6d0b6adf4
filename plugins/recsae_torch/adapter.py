"""A plain PyTorch module as a :class:`recsae.recommender.Recommender`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from recsae.errors import CannotOpenModel, SiteNotFound, nearest
from recsae.hooks import replaced_method
from recsae.recommender import (
    EvaluationCases,
    LinearHead,
    Site,
    find_site,
    is_causal,
    leave_one_out,
    verify_head,
)
from recsae.sequences import Batch, Sequences

if TYPE_CHECKING:
    from recsae.catalog import ItemCatalog

    Edit = Callable[[torch.Tensor], torch.Tensor]


class TorchRecommender:
    """Attach to a sequential recommender that is a ``torch.nn.Module``.

    Parameters
    ----------
    model
        The trained module; put into evaluation mode, otherwise left alone.
    catalog, sequences
        Its items and its users' histories in the model's internal ids, 0 being padding.
    site
        Name of the submodule (as in ``model.named_modules()``) whose output is the sequence
        representation: ``(n, d)``, or ``(n, length, d)`` with positions in the order of
        ``batch.items``. Of a tuple, as a GRU returns it, the first is taken.
    score
        ``score(model, batch) -> (n, n_items)``: how the model scores, ``batch.items (n, length)``
        being padded with 0 on the right; default ``model(batch.items, batch.lengths)``.
    items, bias
        Item vectors ``(n_items, d)`` and biases ``(n_items,)`` if scores are products of states
        and item vectors. It is tried, not believed.
    max_length
        Number of most recent items that the model reads.
    other_sites
        Names of further submodules to read and edit.
    evaluation
        The model's own cases; leave-one-out with full ranking if None.

    Raises
    ------
    CannotOpenModel
        The site gives no states, or ``items`` do not give the model's scores.

    Examples
    --------
    >>> import torch, recsae_torch
    >>> from recsae.testing import PlantedRecommender
    >>> data = PlantedRecommender(n_users=20)  # here stand your items and histories
    >>> class Mean(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.items = torch.nn.Embedding(301, 8, padding_idx=0)
    ...         self.state = torch.nn.Identity()
    ...     def forward(self, items, lengths):
    ...         return self.state(self.items(items).sum(1) / lengths[:, None]) @ self.items.weight.T
    >>> model = Mean()
    >>> recommender = recsae_torch.TorchRecommender(
    ...     model, catalog=data.catalog, sequences=data.sequences(), site="state",
    ...     items=model.items.weight, max_length=20)
    >>> recommender.sites()[0].every_position
    False
    """

    plugin, dataset = "torch", "given"

    def __init__(
        self,
        model: torch.nn.Module,
        *,
        catalog: ItemCatalog,
        sequences: Sequences,
        site: str,
        max_length: int,
        score: Callable[[Any, Batch], torch.Tensor] | None = None,
        items: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        other_sites: tuple[str, ...] = (),
        evaluation: EvaluationCases | None = None,
        name: str | None = None,
    ) -> None:
        self.model = model.eval()
        self.name = name or type(model).__name__
        self.catalog, self.max_length = catalog, max_length
        self._sequences, self._evaluation = sequences, evaluation
        self._score = score or (lambda model, batch: model(batch.items, batch.lengths))
        first = next(iter(model.parameters()), None)
        self.device = first.device if first is not None else torch.device("cpu")
        self._modules = dict(model.named_modules())
        for place in (site, *other_sites):
            if place not in self._modules:
                hint = nearest(place, self._modules)
                raise SiteNotFound(f"{self.name} has no submodule {place!r}.{hint}")
        self._names = (site, *other_sites)
        self._sites = [self._look_at(place) for place in self._names]
        batch = self._probe()
        self._sites = [replace(s, every_position=self._is_causal(s, batch)) for s in self._sites]
        self._head = None if items is None else self._tried(items, bias)

    def sequences(self) -> Sequences:
        """Every user's whole history."""
        return self._sequences

    def evaluation(self, split: str = "test") -> EvaluationCases:
        """The cases that were given, or leave-one-out."""
        if self._evaluation is not None and split == "test":
            return self._evaluation
        return leave_one_out(self._sequences, split)

    def sites(self) -> list[Site]:
        """The sequence representation, then the others."""
        return self._sites

    def represent(
        self, batch: Batch, site: str | None = None, *, positions: bool = False
    ) -> torch.Tensor:
        """States at the last item, or at every item."""
        states = self._states(batch, self._place(site))
        if positions and states.dim() != 3:
            raise CannotOpenModel(f"{self.name} gives one state per sequence at {site!r}.")
        if not positions and states.dim() == 3:
            states = states[torch.arange(len(states)), batch.lengths - 1]
        return states

    def score(self, batch: Batch) -> torch.Tensor:
        """Scores by the model itself."""
        with torch.no_grad():
            return self._score(self.model, Batch(*(t.to(self.device) for t in batch))).cpu()

    def linear_head(self) -> LinearHead | None:
        """The item vectors that were given."""
        return self._head

    def edit(self, edit: Edit, site: str | None = None) -> AbstractContextManager[None]:
        """Put ``edit`` behind the site's submodule, at every position that it gives."""
        return self._through(self._place(site), lambda h: edit(h.flatten(0, -2)).view(h.shape))

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.name}/{self.max_length}/{self._names}".encode())
        for key, tensor in sorted(self.model.state_dict().items()):
            digest.update(key.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        digest.update("\n".join(self.catalog.external_ids).encode())
        return digest.hexdigest()

    def fingerprint(self) -> str:
        """SHA-256 over weights, maximum length, sites and item ids."""
        return self._fingerprint

    def sources(self) -> list[str]:
        """Nothing was read: everything came as objects."""
        return []

    def describe(self) -> dict[str, Any]:
        """Facts for ``recsae inspect``."""
        return {
            "model": self.name,
            "class": f"{type(self.model).__module__}.{type(self.model).__qualname__}",
            "torch": str(torch.__version__),
            "checkpoint_sha256": None,
            "dataset": self.dataset,
            "users": len(self._sequences),
            "items": int(self.catalog.recommendable.sum()),
            "interactions": len(self._sequences.flat),
            "max_length": self.max_length,
            "title_column": self.catalog.title_column,
            "attributes": list(self.catalog.attributes),
            "notes": list(self.catalog.notes),
        }

    # -- inside ----------------------------------------------------------------------------------
    def _place(self, site: str | None) -> str:
        return self._names[0] if site is None else find_site(self, site).name

    def _states(self, batch: Batch, place: str) -> torch.Tensor:
        seen: list[torch.Tensor] = []

        def keep(states: torch.Tensor) -> torch.Tensor:
            seen.append(states)
            return states

        with self._through(place, keep):
            self.score(batch)
        shapes = {(len(batch.lengths),), (*batch.items.shape,)}
        if not seen or seen[-1].shape[:-1] not in shapes:
            found = f"gives {tuple(seen[-1].shape)}" if seen else "is never called"
            raise CannotOpenModel(
                f"{place!r} of {self.name} {found} for {len(batch.lengths)} sequences of "
                f"{batch.items.shape[1]} items: choose a submodule with one state each."
            )
        return seen[-1].detach().cpu()

    @contextmanager
    def _through(self, place: str, edit: Edit) -> Iterator[None]:
        def wrap(forward: Callable[..., Any]) -> Callable[..., Any]:
            def edited(*args: Any, **kwargs: Any) -> Any:
                output = forward(*args, **kwargs)
                if isinstance(output, tuple):
                    return (edit(output[0]), *output[1:])
                return edit(output)

            return edited

        with replaced_method(self._modules[place], "forward", wrap):
            yield

    def _look_at(self, place: str) -> Site:
        width = self._states(self._probe(), place).shape[-1]
        meaning = "the sequence representation" if place == self._names[0] else "inside the model"
        return Site(place, meaning, width, False)

    def _is_causal(self, site: Site, batch: Batch) -> bool:
        return self._states(batch, site.name).dim() == 3 and is_causal(self, site.name, batch)

    def _tried(self, items: torch.Tensor, bias: torch.Tensor | None) -> LinearHead:
        head = LinearHead(items.detach().cpu(), None if bias is None else bias.detach().cpu())
        if not verify_head(self, head, self._probe()):
            raise CannotOpenModel(
                f"The states at {self._names[0]!r} times the item vectors are not the scores of "
                f"{self.name}: give the right site, or leave items out."
            )
        return head

    def _probe(self, n: int = 64) -> Batch:
        """Some real sequences of different lengths, for numerical checks."""
        rows = np.flatnonzero(self._sequences.lengths >= 2)
        rows = rows[np.linspace(0, len(rows) - 1, min(n, len(rows))).astype(np.int64)]
        room = np.minimum(self._sequences.lengths[rows], self.max_length)
        ends = np.maximum(2, room - np.arange(len(rows)) % 7).clip(max=room)
        return self._sequences.batch(rows, np.zeros_like(rows), ends, self.max_length)
