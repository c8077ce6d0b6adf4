"""How a RecBole model scores: every item at once, or pair by pair where it has no full ranking."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from recsae.core.errors import CannotOpenModel, summary_of
from recsae.recommender.hooks import replaced_method

if TYPE_CHECKING:
    import torch

SCORING = ("full_sort_predict", "predict")
"""The methods by which RecBole scores: every item at once, or pairs of a row and an item."""
PAIRS_AT_ONCE = 8192
"""Pairs in one call of ``predict``: bounds its memory."""
TRIED = 8
"""About so many items stand for all where pairs are scored one item at a time."""


class ScoringStopped(Exception):
    """Raised behind the last tap that is read, as the rest of the scoring is not needed."""


class ModelCaller:
    """Scores ``(n, n_items)`` by the model's own methods, without gradients.

    Parameters
    ----------
    model
        In evaluation mode.
    n_items
        Number of rows of the item table, padding included.
    probe
        An interaction by which it is tried whether the model ranks all items itself.

    Raises
    ------
    CannotOpenModel
        The model cannot score the probe; the message has RecBole's own error.
    """

    def __init__(self, model: Any, n_items: int, probe: Any) -> None:
        self.model, self.n_items = model, n_items
        self.by_pairs = self._reads_target = False
        try:
            try:
                self(probe[:2])
            except NotImplementedError:
                self.by_pairs = True
                self(probe[:1])
            except KeyError:
                self._reads_target = hasattr(model, "ITEM_SEQ")
                self(probe[:2])
        except KeyError as error:
            raise CannotOpenModel(
                f"{type(model).__name__} asks for the field {error} of each sequence, and recsae "
                "has only items, their number and the user: it cannot attach to it."
            ) from error
        except Exception as error:  # the model's own code: anything can come out
            raise CannotOpenModel(
                f"{type(model).__name__} cannot score sequences of its own data set "
                f"({summary_of(error)}): recsae cannot attach to it."
            ) from error

    def __call__(self, interaction: Any) -> torch.Tensor:
        """Scores of all items, edits applied, on the CPU."""
        import torch

        with torch.no_grad():
            if self.by_pairs:
                return self._pairs(interaction)
            scores: torch.Tensor = self.model.full_sort_predict(self._complete(interaction))
            return scores.detach().view(len(interaction), -1).cpu()

    def scores_of_real_items(self, interaction: Any, real: torch.Tensor) -> torch.Tensor:
        """Scores of real items: of all, or of a few where pairs are scored.

        Every call has one row per sequence, so that states can be moved from one to another.
        """
        import torch

        if not self.by_pairs:
            return self(interaction)[:, real]
        items = torch.nonzero(real)[:, 0]
        some = items[:: -(-len(items) // TRIED)].to(self.model.device)
        with torch.no_grad():
            pairs = [self._with_candidates(interaction, i.repeat(len(interaction))) for i in some]
            scores = [self.model.predict(pair).view(-1) for pair in pairs]
        return torch.stack(scores, dim=1).cpu()

    def until(self, interaction: Any, *, gradients: bool = False) -> None:
        """Run the scoring of the interaction until something raises :class:`ScoringStopped`.

        A model that scores pairs is shown each sequence with its own last item as the candidate.
        """
        import torch

        with torch.set_grad_enabled(gradients), suppress(ScoringStopped):
            if self.by_pairs:
                self.model.predict(self._with_candidates(interaction, self._own(interaction)))
            else:
                self.model.full_sort_predict(self._complete(interaction))

    def _complete(self, interaction: Any) -> Any:
        """Add a target where ranking reads one: the CPR models compute a loss then, which nobody
        uses, so that any target will do."""
        if not self._reads_target:
            return interaction
        return self._with_candidates(interaction, self._own(interaction))

    def _own(self, interaction: Any) -> torch.Tensor:
        """The last item of each sequence; of a user without a sequence, the first item."""
        import torch

        model, n = self.model, len(interaction)
        if not hasattr(model, "ITEM_SEQ"):
            return torch.ones(n, dtype=torch.int64, device=model.device)
        last = interaction[model.ITEM_SEQ_LEN] - 1
        own: torch.Tensor = interaction[model.ITEM_SEQ][torch.arange(n, device=last.device), last]
        return own

    def _with_candidates(self, interaction: Any, items: torch.Tensor) -> Any:
        fields = {**interaction.interaction, self.model.ITEM_ID: items}
        return type(interaction)(fields)

    def _pairs(self, interaction: Any) -> torch.Tensor:
        import torch

        items = torch.arange(self.n_items, device=self.model.device)
        per_row = -(-self.n_items // PAIRS_AT_ONCE)  # calls for one sequence, or
        rows = max(1, PAIRS_AT_ONCE // self.n_items)  # sequences in one call
        scores = []
        for first in range(0, len(interaction), rows):
            some = interaction[first : first + rows]
            parts = []
            for candidates in items.chunk(per_row):
                pairs = some.repeat_interleave(len(candidates))
                pairs = self._with_candidates(pairs, candidates.repeat(len(some)))
                parts.append(self.model.predict(pairs).view(len(some), -1))
            scores.append(torch.cat(parts, dim=1))
        return torch.cat(scores).detach().cpu()


@contextmanager
def around_scoring(
    model: Any, wrap: Callable[[Callable[[Any], Any]], Callable[[Any], Any]]
) -> Iterator[None]:
    """Let the model's scoring methods be ``wrap(method)``; RecBole's evaluation calls them too."""
    with ExitStack() as stack:
        for name in SCORING:
            stack.enter_context(replaced_method(model, name, wrap))
        yield
