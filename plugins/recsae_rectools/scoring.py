"""Scores of a RecTools model in its own way of reading histories; states are read meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from recsae.core.errors import CannotOpenModel
from recsae.recommender.hooks import replaced_method
from recsae_rectools.sites import SESSION, Edit, Place
from recsae_rectools.times import times_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsae.recommender.sequences import Batch
    from recsae_rectools.dataset import Data


class Layout(NamedTuple):
    """Where a model's data preparator puts the items of a history, which it pads on the left."""

    max_length: int
    """Most recent items that are read."""
    behind: int
    """Tokens behind the newest item: 1 for BERT4Rec's mask."""


class ModelCaller:
    """A fitted model and how it scores the histories of a data set.

    Attributes
    ----------
    shift
        What lies between recsae's internal ids, of which 0 is padding, and the model's, which begin
        with one or more tokens.
    """

    def __init__(self, model: Any, data: Data) -> None:
        self.net, self.sequences, self.times = model.torch_model, data.sequences, data.times
        self.preparator = model.data_preparator
        self.shift = self.preparator.n_item_extra_tokens - 1
        self.cosine = str(self.net.similarity_module.distance.value) == "cosine"
        self.layout = self._find_layout()
        self._edits = 0
        self._real: list[torch.Tensor] = []

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        device: torch.device = next(self.net.parameters()).device
        return device

    # -- what the model reads ----------------------------------------------------------------------
    def inputs(self, batch: Batch) -> dict[str, torch.Tensor]:
        """What the model's own data preparator makes of the histories, to recommend."""
        elements = []
        for items, length, user in zip(
            batch.items.numpy(), batch.lengths.tolist(), batch.users.tolist(), strict=True
        ):
            own = items[:length] + self.shift
            session, extras = own.tolist(), {}
            if self.preparator.add_unix_ts:  # it takes off the item that it recommends instead of
                asked = times_of(items[:length], user, self.sequences, self.times)
                session = [*session, 0]
                extras["unix_ts"] = _seconds(np.append(asked.times, asked.at))
            elements.append((session, [1.0] * len(session), extras))
        made = self.preparator._collate_fn_recommend(elements)
        return {name: values.to(self.device) for name, values in made.items()}

    def _find_layout(self) -> Layout:
        """Where the data preparator puts items, tried on a history of two and on a long one."""
        item = self.shift + 1
        size = int(self.preparator.session_max_len)
        short, long = (self._tokens([item] * n) for n in (2, size + 2))
        where = torch.nonzero(short == item)[:, 0].tolist()
        behind = len(short) - 1 - where[-1] if where else 0
        n_read = int((long == item).sum())
        as_known = (
            where == [len(short) - behind - 2, len(short) - behind - 1]
            and not bool(short[: where[0]].any())
            and len(long) == len(short) == n_read + behind
            and behind <= 1
        )
        if not as_known:
            raise CannotOpenModel(
                f"{type(self.preparator).__name__} makes {short.tolist()} of the history "
                f"{[item, item]}: recsae reads models that pad on the left, with at most one token "
                "behind the newest item."
            )
        return Layout(n_read, behind)

    def _tokens(self, session: list[int]) -> torch.Tensor:
        extras = {}
        if self.preparator.add_unix_ts:
            session = [*session, 0]
            extras["unix_ts"] = [0] * len(session)
        element = (session, [1.0] * len(session), extras)
        tokens: torch.Tensor = self.preparator._collate_fn_recommend([element])["x"][0]
        return tokens

    # -- scores ------------------------------------------------------------------------------------
    def item_vectors(self) -> torch.Tensor:
        """``(n_items, d)`` what states are multiplied with, of recsae's internal ids."""
        vectors: torch.Tensor = self.net.similarity_module.item_tower_forward(self._table())
        return self._normalised(vectors[self.shift :])

    def scores(self, batch: Batch) -> torch.Tensor:
        """Scores ``(n, n_items)`` after each history; of padding they mean nothing."""
        with torch.no_grad():
            encoded = self.net.encode_sessions(self.inputs(batch), self._table())
            states = self._session(encoded[:, -1])
            scores: torch.Tensor = states @ self.item_vectors().T
            return scores.cpu()

    def _table(self) -> torch.Tensor:
        """``(n_tokens + n_items, d)`` vectors of all the model's ids."""
        return self.net.item_model.get_all_embeddings()  # type: ignore[no-any-return]

    def _normalised(self, vectors: torch.Tensor) -> torch.Tensor:
        return self.net.similarity_module._get_embeddings_norm(vectors) if self.cosine else vectors

    def _session(self, encoded: torch.Tensor) -> torch.Tensor:
        """The states that scores are products of, edits applied, of encoded sessions ``(m, d)``."""
        states = self.net.similarity_module.session_tower_forward(encoded)
        return states if self._edits else self._normalised(states)

    # -- states ------------------------------------------------------------------------------------
    def states(
        self, batch: Batch, places: Sequence[Place], *, positions: bool
    ) -> dict[str, torch.Tensor]:
        """States ``(n, d)`` at the prediction, or ``(n, length, d)`` at every item, on the CPU."""
        with torch.no_grad():
            seen = self._passing(self.inputs(batch), self._table(), places)
        pick = self._at_items if positions else self._at_prediction
        return {name: pick(batch, states).cpu() for name, states in seen.items()}

    def states_from(self, batch: Batch, place: Place, vectors: torch.Tensor) -> torch.Tensor:
        """States ``(n, d)`` with these vectors ``(n, length, d)`` looked up for the items."""
        inputs, table = self.inputs(batch), self._table().detach()
        length = vectors.shape[1]
        there = torch.arange(length) < batch.lengths[:, None]
        given = vectors[there].to(table)  # in the order in which the model has them, row by row
        tokens = inputs["x"].clone()
        tokens[self._items(batch, tokens)] = len(table) + torch.arange(
            len(given), device=tokens.device
        )
        with torch.enable_grad():
            seen = self._passing({**inputs, "x": tokens}, torch.cat([table, given]), [place])
            return self._at_prediction(batch, seen[place.name]).cpu()

    def vectors(self, batch: Batch) -> torch.Tensor:
        """What the model looks up for each item, ``(n, length, d)``, on the CPU."""
        with torch.no_grad():
            own = torch.where(batch.items > 0, batch.items + self.shift, 0)
            return self._table()[own.to(self.device)].cpu()

    def _passing(
        self, inputs: dict[str, torch.Tensor], table: torch.Tensor, places: Sequence[Place]
    ) -> dict[str, torch.Tensor]:
        """What passes each place, ``(n, positions, d)``, while the sessions are encoded."""
        seen: dict[str, torch.Tensor] = {}
        with ExitStack() as stack:
            for place in places:
                if place.name != SESSION:
                    keep = _keeping(seen, place.name)
                    stack.enter_context(place.through(self.net, keep))
            encoded = self.net.encode_sessions(inputs, table)
        if any(place.name == SESSION for place in places):
            states = self._session(encoded.reshape(-1, encoded.shape[-1]))
            seen[SESSION] = states.reshape(*encoded.shape[:2], -1)
        return {place.name: seen[place.name] for place in places}

    def _at_prediction(self, batch: Batch, states: torch.Tensor) -> torch.Tensor:
        return states[:, -1].clone()  # a view would keep the states of all positions in memory

    def _at_items(self, batch: Batch, states: torch.Tensor) -> torch.Tensor:
        """Item j at j, zeros behind the last."""
        length = batch.items.shape[1]
        aligned = states.new_zeros(len(states), length, states.shape[2])
        aligned[torch.arange(length) < batch.lengths[:, None]] = states[self._items(batch, states)]
        return aligned

    def _items(self, batch: Batch, values: torch.Tensor) -> torch.Tensor:
        """``(n, positions)`` True where the model has the items of histories."""
        n_positions = values.shape[1] - self.layout.behind
        where = torch.arange(values.shape[1])
        first = n_positions - batch.lengths[:, None]
        return ((where >= first) & (where < n_positions)).to(values.device)

    # -- edits -------------------------------------------------------------------------------------
    @contextmanager
    def edited(self, place: Place, edit: Edit) -> Iterator[None]:
        """States ``(m, d)`` at the place become ``edit(states)``, for RecTools' own lists too.

        Padding is left alone.
        """
        if place.name == SESSION:
            with self._edited_session(edit):
                yield
            return

        def change(states: torch.Tensor) -> torch.Tensor:
            real = self._real[-1]
            after = states.clone()
            after[real] = edit(states[real]).to(states.dtype)
            return after

        with self._watching_sessions(), place.through(self.net, change):
            yield

    @contextmanager
    def _edited_session(self, edit: Edit) -> Iterator[None]:
        first = self._edits == 0  # the innermost of several normalises, then each edits

        def wrap(tower: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Any], torch.Tensor]:
            def edited(encoded: torch.Tensor) -> torch.Tensor:
                states = tower(encoded)
                return edit(self._normalised(states) if first else states).to(states.dtype)

            return edited

        self._edits += 1
        try:
            with replaced_method(self.net.similarity_module, "session_tower_forward", wrap):
                yield
        finally:
            self._edits -= 1

    @contextmanager
    def _watching_sessions(self) -> Iterator[None]:
        """Know which positions are no padding whoever lets the model encode sessions."""

        def wrap(encode: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
            def watched(batch: dict[str, torch.Tensor], table: torch.Tensor) -> torch.Tensor:
                self._real.append(batch["x"] != 0)
                try:
                    return encode(batch, table)
                finally:
                    self._real.pop()

            return watched

        with replaced_method(self.net, "encode_sessions", wrap):
            yield


def _seconds(times: NDArray[np.int64]) -> list[int]:
    """Whole seconds of nanoseconds, in RecTools' arithmetic."""
    seconds: list[int] = (times / 10**9).astype(np.int64).tolist()
    return seconds


def _keeping(seen: dict[str, torch.Tensor], name: str) -> Edit:
    def keep(states: torch.Tensor) -> torch.Tensor:
        seen[name] = states.clone()  # what comes next in the model works in place
        return states

    return keep
