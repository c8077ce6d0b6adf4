"""Taps: places in a model where states are read and edited while the model scores.

RecBole scores by ``full_sort_predict`` (or ``predict``), which calls ``forward`` and submodules
with whatever arguments the model wants. That same call runs here and is listened to, so that no
model's signature has to be known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol

from recsae.core.errors import CannotOpenModel
from recsae.recommender.hooks import replaced_method
from recsae_recbole.scoring import ScoringStopped, around_scoring

if TYPE_CHECKING:
    import torch

    Edit = Callable[[torch.Tensor], torch.Tensor]

Layout = Literal["rows", "positions", "last column", "users"]


class Tap(Protocol):
    """One place, read at the last item of each sequence and edited wherever it is a state."""

    call: str
    layout: Layout

    def watch(self, see: Callable[[torch.Tensor], None]) -> AbstractContextManager[None]:
        """Context in which ``see`` is given what passes, edits applied."""

    def edit(self, edit: Edit) -> AbstractContextManager[None]:
        """Context in which states ``(m, d)`` that pass become ``edit(states)``."""

    def swapped(self) -> AbstractContextManager[None]:
        """Context in which each sequence has the states of the one before it."""


class OutputTap:
    """What a method of the model, or a submodule, gives.

    Parameters
    ----------
    call
        Name of a method (``forward``, ``gather_indexes``) or path of a submodule (``gru_layers``).
        Of a tuple the first is taken, as recurrent layers give them; of a list the last, as
        encoders give one per layer.
    layout
        ``rows``: one state per sequence; ``positions``: one per item, edited at real items only;
        ``last column``: one per column, padding or not, read at the last and edited at all;
        ``users``: a table of all users, of which the rows of a call's users are edited.
    """

    def __init__(self, model: Any, call: str, layout: Layout = "rows") -> None:
        self.model, self.call, self.layout = model, call, layout
        modules = dict(model.named_modules())
        self._owner, self._method = (
            (modules[call], "forward") if call in modules and call else (model, call)
        )

    @contextmanager
    def _replaced(self, change: Edit) -> Iterator[None]:
        def wrap(method: Callable[..., Any]) -> Callable[..., Any]:
            def changed(*args: Any, **kwargs: Any) -> Any:
                output = method(*args, **kwargs)
                if type(output) is tuple:  # a packed sequence is one too, but a single value
                    return (change(output[0]), *output[1:])
                if isinstance(output, list) and output:
                    return [*output[:-1], change(output[-1])]
                return change(output)

            return changed

        with replaced_method(self._owner, self._method, wrap):
            yield

    def watch(self, see: Callable[[torch.Tensor], None]) -> AbstractContextManager[None]:
        def seen(output: torch.Tensor) -> torch.Tensor:
            see(output)
            return output

        return self._replaced(seen)

    def substituted(self, states: torch.Tensor) -> AbstractContextManager[None]:
        """Context in which ``states`` stand in place of what passes."""
        return self._replaced(lambda output: states.reshape(output.shape))

    def swapped(self) -> AbstractContextManager[None]:
        return self.edit(rolled) if self.layout == "users" else self._replaced(rolled)

    @contextmanager
    def edit(self, edit: Edit) -> Iterator[None]:
        calls: list[Any] = []

        def noting(score: Callable[[Any], Any]) -> Callable[[Any], Any]:
            def noted(interaction: Any) -> Any:
                calls.append(interaction)
                try:
                    return score(interaction)
                finally:
                    calls.pop()

            return noted

        def change(output: torch.Tensor) -> torch.Tensor:
            if self.layout == "rows":
                return edit(output.reshape(len(output), -1)).view(output.shape)
            where = self._where(output, calls[-1] if calls else None)
            output = output.clone()
            output[where] = edit(output[where])
            return output

        with ExitStack() as stack:
            if self.layout in ("positions", "users"):
                stack.enter_context(around_scoring(self.model, noting))
            stack.enter_context(self._replaced(change))
            yield

    def _where(self, output: torch.Tensor, interaction: Any) -> Any:
        """Which entries are states; all of them in the last-column layout, and outside of the
        model's scoring, where nothing is known of the sequences."""
        import torch

        if interaction is None:
            return torch.ones(output.shape[:-1], dtype=torch.bool, device=output.device)
        if self.layout == "users":
            return interaction[self.model.USER_ID].unique()
        lengths = interaction[self.model.ITEM_SEQ_LEN].view(-1, 1)
        return torch.arange(output.shape[1], device=output.device) < lengths


def rolled(states: torch.Tensor) -> torch.Tensor:
    """Each sequence's states are those of the one before it."""
    return states.roll(1, 0)


def read(taps: Sequence[Tap], run: Callable[[], None]) -> list[list[torch.Tensor]]:
    """What passes each tap while ``run`` runs, which is stopped when all were passed."""
    states: list[list[torch.Tensor]] = [[] for _ in taps]
    with ExitStack() as stack:
        for mine, tap in zip(states, taps, strict=True):

            def see(output: torch.Tensor, mine: list[torch.Tensor] = mine) -> None:
                mine.append(output)
                if all(states):
                    raise ScoringStopped

            stack.enter_context(tap.watch(see))
        run()
    return states


@contextmanager
def watching_gathered(model: Any, gathered: list[torch.Tensor]) -> Iterator[None]:
    """Keep what the model takes the last position's state out of, ``(n, length, d)``."""

    def wrap(gather: Callable[..., Any]) -> Callable[..., Any]:
        def listening(output: torch.Tensor, index: torch.Tensor) -> Any:
            gathered.append(output)
            return gather(output, index)

        return listening

    with replaced_method(model, "gather_indexes", wrap):
        yield


def at_last_item(model: Any, tap: Tap, output: torch.Tensor, interaction: Any) -> torch.Tensor:
    """States ``(n, d)`` out of what passed a tap, as plain values on the CPU."""
    return differentiable_at_last_item(model, tap, output, interaction).detach().cpu()


def differentiable_at_last_item(
    model: Any, tap: Tap, output: torch.Tensor, interaction: Any
) -> torch.Tensor:
    """States ``(n, d)`` out of what passed a tap, where and as the model made them.

    Raises
    ------
    CannotOpenModel
        There is not one state for each sequence in it.
    """
    import torch

    n, given = len(interaction), output
    if not isinstance(output, torch.Tensor):
        raise CannotOpenModel(f"{tap.call} of {type(model).__name__} gives no tensor.")
    if tap.layout == "last column" and output.dim() == 3:
        output = output[:, -1]
    elif tap.layout == "users":
        output = output[interaction[model.USER_ID]]
    elif tap.layout == "positions" and output.dim() == 3:
        row = torch.arange(n, device=output.device)
        output = output[row, interaction[model.ITEM_SEQ_LEN] - 1]
    elif tap.layout == "rows" and output.dim() == 3 and output.shape[1] == 1:
        output = output[:, 0]
    if output.dim() != 2 or len(output) != n:
        raise CannotOpenModel(
            f"{tap.call} of {type(model).__name__} gives a tensor {tuple(given.shape)} for {n} "
            "sequences, where one vector for each is needed."
        )
    return output
