"""Scores of a module in its own way of calling; states are read and edited meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from recsae.core.errors import CannotOpenModel, RecSAEError
from recsae.recommender.embeddings import EmbeddingLookups, find_lookups
from recsae.recommender.sequences import Batch
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

SCORES_AT_ONCE = 2**27
"""Scores that a module makes in one go at most: 512 MB."""
MakeBatch = Callable[[list[list[int]]], Any]
Score = Callable[[Any, Any], torch.Tensor]


class _AllRead(BaseException):
    """Everything that was asked of a forward has been read; what comes after is not needed."""


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
    stops
        Whether a forward ends where the last state that is asked for has been read; see
        :meth:`can_stop`.
    n_outputs
        Scores that the module makes for a history at most, known once it made some: of every item,
        or of every item at every position.
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
        self.stops, self.n_outputs = False, 0
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
        n, size = len(batch.lengths), SCORES_AT_ONCE // max(self.n_outputs, 1)
        if n > max(size, 1):
            parts = (Batch(*(t[i : i + size] for t in batch)) for i in range(0, n, max(size, 1)))
            return torch.cat([self.scores(part) for part in parts])
        scores, last = self._call_model(batch), int(self.ids.max())
        shape = tuple(scores.shape) if isinstance(scores, torch.Tensor) else ()
        if len(shape) not in (2, 3) or shape[0] != n or shape[-1] <= last:
            seen = shape or type(scores).__name__
            raise CannotOpenModel(
                f"{self.name} gives {seen} for {n} histories, and item ids go up to {last}: let "
                "`score` return (histories, items) or (histories, positions, items)."
                f"{scores_hint(scores, n, len(self.ids) - 1, last)}"
            )
        self._check_numbers(shape[-1], last)
        self.n_outputs = max(self.n_outputs, scores.numel() // n)
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
        seen = self.passing(places, batch, gradients=gradients, stop=self.stops)
        longest = int(batch.lengths.max()) + self.layout.behind + self.layout.before
        return {p.name: single_value(p, seen[p.name], len(batch.lengths), longest) for p in places}

    def passing(
        self,
        places: Sequence[Place],
        batch: Batch,
        *,
        gradients: bool = False,
        stop: bool = False,
    ) -> dict[str, list[torch.Tensor]]:
        """Copies of everything that passes each place while the batch is scored.

        Places come in the order in which something passes them first, those that nothing passes
        last. If ``stop``, scoring ends once something has passed each of them.
        """
        seen: dict[str, list[torch.Tensor]] = {}

        def keeping(place: Place) -> Callable[[Any], Any]:
            def keep(value: Any) -> Any:
                seen.setdefault(place.name, []).append(place.read(value))
                if stop and len(seen) == len(places):
                    raise _AllRead
                return value

            return keep

        with ExitStack() as stack, suppress(_AllRead):
            for place in places:
                stack.enter_context(place.through(keeping(place)))
            self._call_model(batch, gradients=gradients)
        return {**seen, **{p.name: [] for p in places if p.name not in seen}}

    def can_stop(
        self, places: Sequence[Place], batch: Batch, whole: Mapping[str, list[torch.Tensor]]
    ) -> bool:
        """Whether what passes the places is as in a ``whole`` forward where one ends behind them.

        Most models go on to score every item at every position.
        """
        try:
            part = self.passing(places, batch, stop=True)
        except Exception:  # code of somebody else's that cannot be left half way
            return False
        return all(
            len(part[name]) == len(values) == 1 and torch.equal(part[name][0], values[0])
            for name, values in whole.items()
        )

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
