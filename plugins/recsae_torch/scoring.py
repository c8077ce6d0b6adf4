"""Scores of a module in its own way of calling; states are read and edited meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from recsae.core.errors import CannotOpenModel, RecSAEError
from recsae.recommender.embeddings import EmbeddingLookups, find_lookups
from recsae_torch.hints import scores_hint, scoring_error
from recsae_torch.sites import (
    Edit,
    Layout,
    Padding,
    Place,
    Span,
    every_submodule_called,
    single_value,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from recsae.recommender.sequences import Batch

MakeBatch = Callable[[list[list[int]]], Any]
Score = Callable[[Any, Any], torch.Tensor]


class ModelCaller:
    """A module and how it scores; the parameters are those of :func:`recsae_torch.attach`.

    Parameters
    ----------
    ids
        ``(n_items,)`` the module's own id of every internal id; of padding, the first, -1.

    Attributes
    ----------
    layout
        Where ``make_batch`` puts items, and in which numbers.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        ids: NDArray[np.int64],
        make_batch: MakeBatch,
        score: Score,
        padding: Padding,
        name: str,
    ) -> None:
        self.module, self.ids, self.padding, self.name = module.eval(), ids, padding, name
        self.layout = Layout(padding, 0)
        self._make_batch, self._score = make_batch, score
        self._span: Span | None = None
        first = next(iter(module.parameters()), None)
        self._device = first.device if first is not None else torch.device("cpu")

    def span(self, batch: Batch) -> Span:
        """Where the module has the items of a batch."""
        return Span(batch.lengths, self.padding, self.layout.behind, self.layout.before)

    def scores(self, batch: Batch) -> torch.Tensor:
        """Scores ``(n, n_items)`` after each history; those of padding are 0.

        Raises
        ------
        CannotOpenModel
            What the module gives are no scores of its items.
        """
        scores, n, last = self._call_model(batch), len(batch.lengths), int(self.ids.max())
        shape = tuple(scores.shape) if isinstance(scores, torch.Tensor) else ()
        if len(shape) not in (2, 3) or shape[0] != n or shape[-1] <= last:
            seen = shape or type(scores).__name__
            raise CannotOpenModel(
                f"{self.name} gives {seen} for {n} histories, and item ids go up to {last}: let "
                "`score` return (histories, items) or (histories, positions, items)."
                f"{scores_hint(scores, n, len(self.ids) - 1, last)}"
            )
        self._check_numbers(shape[-1], last)
        if len(shape) == 3:
            scores = self.span(batch).last(scores)
        scores = scores.cpu()
        items = scores[:, torch.from_numpy(self.ids[1:])]
        return torch.cat([scores.new_zeros(n, 1), items], dim=1)

    def _check_numbers(self, n_outputs: int, last: int) -> None:
        """Refuse scores that seem to be in the numbers that ``make_batch`` makes of ``item_ids``.

        Where it adds 1, outputs that leave out padding are in the numbers of ``item_ids`` again.
        """
        shift = self.layout.shift or 0
        if (shift > 0 and n_outputs > last + shift) or (shift < 0 and self._score is call):
            raise CannotOpenModel(
                f"make_batch adds {shift} to the numbers in item_ids, and {self.name} has "
                f"{n_outputs} outputs, so the score of an item is not in the column of its number: "
                "let item_ids have the numbers that the model reads, and make_batch leave them as "
                "they are."
            )

    @cached_property
    def own_ids(self) -> torch.Tensor:
        """``(n_items,)`` the module's own id of every internal id; of padding -1."""
        return torch.from_numpy(self.ids)

    def lookups(self, batch: Batch) -> EmbeddingLookups:
        """The embedding tables in which the module looks up the items of histories."""
        return find_lookups(
            self.module, self.own_ids[batch.items], batch.lengths, lambda: self._call_model(batch)
        )

    def states_from(
        self, lookups: EmbeddingLookups, place: Place, batch: Batch, vectors: torch.Tensor
    ) -> torch.Tensor:
        """States at a place with these vectors looked up for the items, and how they were made."""
        own = self.own_ids[batch.items]
        # cuDNN's recurrent layers cannot be differentiated in evaluation mode
        with (
            lookups.replaced(own, batch.lengths, vectors),
            torch.backends.cudnn.flags(enabled=False),
        ):
            return self.states([place], batch, gradients=True)[place.name]

    def states(
        self, places: Sequence[Place], batch: Batch, *, gradients: bool = False
    ) -> dict[str, torch.Tensor]:
        """States ``(n, d)`` or ``(n, positions, d)`` at each place, out of one forward."""
        seen = self.passing(places, batch, gradients=gradients)
        longest = int(batch.lengths.max()) + self.layout.behind + self.layout.before
        return {p.name: single_value(p, seen[p.name], len(batch.lengths), longest) for p in places}

    def passing(
        self, places: Sequence[Place], batch: Batch, *, gradients: bool = False
    ) -> dict[str, list[torch.Tensor]]:
        """Copies of everything that passes each place while the batch is scored."""
        seen: dict[str, list[torch.Tensor]] = {place.name: [] for place in places}

        def keeping(place: Place) -> Callable[[Any], Any]:
            def keep(value: Any) -> Any:
                seen[place.name].append(place.read(value))
                return value

            return keep

        with ExitStack() as stack:
            for place in places:
                stack.enter_context(place.through(keeping(place)))
            self._call_model(batch, gradients=gradients)
        return seen

    @contextmanager
    def edited(self, place: Place, edit: Edit, *, newest: bool = False) -> Iterator[None]:
        """States ``(m, d)`` at the place become ``edit(states)``, or only those of the prediction.

        Padding is left alone. Where somebody else calls the module, it is not known which positions
        are padding, and every position is edited.
        """

        def change(value: Any) -> Any:
            return place.edited(value, edit, self._span, newest=newest)

        with place.through(change):
            yield

    def _call_model(self, batch: Batch, *, gradients: bool = False) -> Any:
        rows = zip(batch.items.numpy(), batch.lengths.tolist(), strict=True)
        histories = [self.ids[items[:length]].tolist() for items, length in rows]
        before, self._span = self._span, self.span(batch)
        try:
            with torch.set_grad_enabled(gradients), every_submodule_called():
                made = self.batch_of(histories)
                return self._scored(_moved(made, self._device))
        finally:
            self._span = before

    def batch_of(self, histories: list[list[int]]) -> Any:
        """What ``make_batch`` makes of histories in the module's own ids.

        Raises
        ------
        CannotOpenModel
            It fails.
        """
        try:
            return self._make_batch(histories)
        except (RecSAEError, MemoryError):
            raise
        except Exception as error:  # code of somebody else's
            kind = type(error).__name__
            raise CannotOpenModel(
                f"make_batch fails ({kind}: {error}) for {len(histories)} histories, lists of 1 to "
                f"{max(map(len, histories))} item numbers such as {histories[0][:5]}."
            ) from error

    def _scored(self, batch: Any) -> Any:
        try:
            return self._score(self.module, batch)
        except (RecSAEError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # code of somebody else's
            own = self._score is not call
            raise scoring_error(self.module, self.name, batch, error, own=own) from error


def call(module: Any, batch: Any) -> Any:
    """The module called with a batch: a tuple is its arguments, a dict its keyword arguments."""
    if isinstance(batch, tuple):
        return module(*batch)
    return module(**batch) if isinstance(batch, Mapping) else module(batch)


def _moved(batch: Any, device: torch.device) -> Any:
    if hasattr(batch, "to"):
        return batch.to(device)
    if isinstance(batch, tuple | list):
        return type(batch)(_moved(part, device) for part in batch)
    if isinstance(batch, Mapping):
        return {key: _moved(part, device) for key, part in batch.items()}
    return batch
