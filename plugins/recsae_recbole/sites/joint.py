"""Taps of states that are no single output: several side by side, or rows of a kept table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from recsae.core.errors import CannotOpenModel
from recsae.recommender.hooks import replaced_method
from recsae_recbole.scoring import ScoringStopped, around_scoring
from recsae_recbole.sites.taps import Layout, OutputTap, read, rolled

if TYPE_CHECKING:
    import torch

    from recsae_recbole.sites.taps import Edit


class _Composed:
    """A tap whose edit needs the whole call: several edits are put together into one."""

    layout: Layout = "rows"

    def __init__(self, model: Any) -> None:
        self.model = model
        self._edits: list[Edit] = []
        self._inside = False

    @contextmanager
    def edit(self, edit: Edit) -> Iterator[None]:
        """Later edits act on the result of earlier ones, as they do where hooks are nested."""
        with ExitStack() as stack:
            if not self._edits:
                stack.enter_context(around_scoring(self.model, self._once))
            self._edits.append(edit)
            stack.callback(self._edits.pop)
            yield

    def _once(self, score: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Edit in the outermost call alone: some models rank by calling their own ``predict``."""
        edited = self._edited(score)

        def scored(interaction: Any) -> Any:
            if self._inside:
                return score(interaction)
            self._inside = True
            try:
                return edited(interaction)
            finally:
                self._inside = False

        return scored

    def swapped(self) -> AbstractContextManager[None]:
        return self.edit(rolled)

    def watch(self, see: Callable[[torch.Tensor], None]) -> AbstractContextManager[None]:
        def seen(rows: torch.Tensor) -> torch.Tensor:
            see(rows)
            return rows

        return self.edit(seen)

    def _apply(self, rows: torch.Tensor) -> torch.Tensor:
        for edit in self._edits:
            rows = edit(rows)
        return rows

    def _edited(self, score: Callable[[Any], Any]) -> Callable[[Any], Any]:
        raise NotImplementedError


class JointTap(_Composed):
    """Several outputs side by side as one state, such as a user's vector and the last item's.

    They are listened to, edited together, and put in place of what a second call gives there.
    """

    def __init__(self, model: Any, calls: Sequence[str]) -> None:
        super().__init__(model)
        self.call = " + ".join(calls)
        self.parts = [OutputTap(model, call) for call in calls]

    def _edited(self, score: Callable[[Any], Any]) -> Callable[[Any], Any]:
        import torch

        def score_until_read(interaction: Any) -> None:
            with suppress(ScoringStopped):
                score(interaction)

        def scored(interaction: Any) -> Any:
            states = read(self.parts, lambda: score_until_read(interaction))
            for tap, seen in zip(self.parts, states, strict=True):
                if not seen:
                    raise CannotOpenModel(f"{tap.call} takes no part in the model's scoring.")
            parts = [seen[-1] for seen in states]
            rows = [part.reshape(len(part), -1) for part in parts]
            widths = [row.shape[1] for row in rows]
            edited = self._apply(torch.cat(rows, dim=1)).split(widths, dim=1)
            with ExitStack() as stack:
                for tap, piece in zip(self.parts, edited, strict=True):
                    stack.enter_context(tap.substituted(piece))
                return score(interaction)

        return scored


class UserTableTap(_Composed):
    """Rows of the table of all users that a graph model's ``forward`` makes and the model keeps.

    Within a call its users get numbers 0, 1, ... and a table of their own, the edited rows.
    """

    call = "forward"

    def _edited(self, score: Callable[[Any], Any]) -> Callable[[Any], Any]:
        import torch

        model = self.model

        def scored(interaction: Any) -> Any:
            users = interaction[model.USER_ID]
            kept = model.restore_user_e, model.restore_item_e
            if kept[0] is None:
                type(model).full_sort_predict(model, interaction[:1])  # makes the tables
                kept = model.restore_user_e, model.restore_item_e
            rows, items = self._apply(kept[0][users]), kept[1]
            own = torch.arange(len(users), device=users.device)
            fields = {**interaction.interaction, model.USER_ID: own}
            model.restore_user_e, model.restore_item_e = rows, items

            def instead(forward: Callable[..., Any]) -> Callable[..., Any]:
                return lambda *args, **kwargs: (rows, items, *forward(*args, **kwargs)[2:])

            try:
                with replaced_method(model, "forward", instead):
                    return score(type(interaction)(fields))
            finally:
                model.restore_user_e, model.restore_item_e = kept

        return scored
