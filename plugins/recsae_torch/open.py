"""Attachment to a module: its data are put in order, and its sites are tried on real histories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import torch

from recsae.core.errors import CannotOpenModel, InvalidInput, NotEnoughData
from recsae.recommender.checks import is_causal, verify_head
from recsae.recommender.protocol import LinearHead, Site
from recsae.recommender.sequences import Batch, Sequences, probe_batch
from recsae_torch.adapter import TorchRecommender
from recsae_torch.dataset import make_catalog, make_user_table
from recsae_torch.histories import make_sequences
from recsae_torch.layout import find_layout
from recsae_torch.scoring import SCORES_AT_ONCE, ModelCaller, call
from recsae_torch.sites import Padding, Place, Span, find_place

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from recsae_torch.dataset import ItemTable
    from recsae_torch.histories import Histories
    from recsae_torch.scoring import MakeBatch, Score

N_PROBES = 64
"""Histories on which sites, padding and head are tried."""
FEWEST_PROBES = 8
"""So many where the scores of all would be too many at once."""
N_ALONE = 4
"""So many lengths, the shortest, are scored alone too: their histories are padded most."""
BATCH_TOLERANCE = 1e-3
"""Largest difference between scores in a batch and alone, in parts of the largest score."""


def attach(
    model: torch.nn.Module,
    *,
    site: str,
    histories: Histories,
    item_ids: Mapping[Any, int],
    make_batch: MakeBatch,
    max_length: int,
    score: Score = call,
    padding: Padding = "right",
    other_sites: Sequence[str] = (),
    items: ItemTable = None,
    title_column: str | None = None,
    attribute_columns: Sequence[str] | None = None,
    separator: str | None = None,
    users: pd.DataFrame | None = None,
    max_users: int | None = None,
    name: str | None = None,
) -> TorchRecommender:
    """Attach to a sequential recommender that is a ``torch.nn.Module``.

    Parameters
    ----------
    model
        The trained module; put into evaluation mode, otherwise left alone.
    site
        Path of the submodule (as in ``model.named_modules()``) whose output is the sequence
        representation, or ``"PATH.input"`` for what that submodule is given. States are ``(n, d)``,
        or ``(n, positions, d)``, or ``(positions, n, d)``, or packed; of a tuple, as a GRU returns
        it, the first is taken.
    histories
        Items of each user, oldest first, as a dict; or a DataFrame with a row per interaction and
        columns ``user``, ``item`` and, unless rows are in order, ``time``: numbers, dates, or text
        that can be read as dates in one way only; or the path of such a table as a Parquet file,
        or of a folder of them, which is read without ever being in memory as a whole.
    item_ids
        Which number the model knows each item by: its row in the model's input and the column of
        its score.
    make_batch
        ``make_batch(histories)`` makes what the model reads out of n lists of such numbers, each of
        one to ``max_length``, oldest first. It is moved to the model's device. If padding matters
        to the model, pad every batch to ``max_length``. A token that it puts behind the newest
        item, such as BERT4Rec's mask, is where states and scores are read then; leave room for it.
        Tokens before the oldest item may be there too.
    max_length
        Number of most recent items that the model reads.
    score
        ``score(model, batch)`` gives scores ``(n, items)``, or ``(n, positions, items)`` of which
        those at the last item count. By default the model is called: with the arguments in the
        batch if it is a tuple, with keyword arguments if it is a dict.
    padding
        The side on which ``make_batch`` pads short histories, "right" or "left".
    other_sites
        Further places to read and edit, inside the model.
    items
        Titles and attributes: a CSV file or a DataFrame, first column the item.
    title_column, attribute_columns
        Columns of it to use instead of those found by name.
    separator
        What separates the values of a cell, "none" if nothing does; by default the cells decide.
    users
        What is known of users: a DataFrame with a row per user, first column the user as in
        ``histories``; the others are numbers, text or lists of text. Communities of items are said
        by what most of their people have ("mostly in their 20s").
    max_users
        Keep at most so many users, drawn at random, the same ones each time: all histories need 4
        bytes of memory for each interaction.
    name
        What to call the model; default its class.

    Raises
    ------
    CannotOpenModel
        The model gives no scores when it is called like that, or a site has no states.
    SiteNotFound
        There is no such submodule.
    InvalidInput
        Data that do not fit together.

    Examples
    --------
    >>> import torch, recsae_torch
    >>> class Mean(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.items = torch.nn.EmbeddingBag(3, 4)
    ...         self.scores = torch.nn.Linear(4, 3)
    ...     def forward(self, histories):
    ...         return self.scores(torch.cat([self.items(h[None]) for h in histories]))
    >>> recommender = recsae_torch.attach(
    ...     Mean(), site="scores.input", histories={"ann": ["a", "b"], "bob": ["c", "a", "b"]},
    ...     item_ids={"a": 0, "b": 1, "c": 2}, max_length=10,
    ...     make_batch=lambda histories: [torch.tensor(h) for h in histories])
    >>> recommender.linear_head().items.shape  # padding is an item of recsae's
    torch.Size([4, 4])
    """
    if type(max_length) is not int or max_length < 1:
        raise InvalidInput(f"max_length is {max_length!r}: it is a whole number from 1 on.")
    if padding not in ("left", "right"):
        raise InvalidInput(f"padding is {padding!r}: say 'left' or 'right'.")
    catalog, ids = make_catalog(item_ids, items, title_column, attribute_columns, separator)
    sequences, notes = make_sequences(histories, catalog, max_users)
    known = make_user_table(users, sequences)
    catalog = replace(catalog, notes=(*catalog.notes, *notes))
    batch = _probe(sequences, max_length, len(ids))
    scorer = ModelCaller(model, ids, make_batch, score, padding, name or type(model).__name__)
    scorer.layout = find_layout(scorer.batch_of, ids[1:], max_length, padding)
    scorer.scores(batch)  # if that fails, it says why
    places = [
        _with_batch_axis(scorer, find_place(model, path), batch) for path in (site, *other_sites)
    ]
    sites = [_site(scorer, place, batch) for place in places]
    sites[0] = replace(sites[0], meaning="the sequence representation")
    whole = scorer.passing(places, batch)
    scorer.stops = scorer.can_stop(places, batch, whole)
    files = [] if items is None or isinstance(items, pd.DataFrame) else [str(items)]
    draft = TorchRecommender(
        scorer, places, sites, catalog, sequences, max_length, files, users=known
    )
    _check_placed(scorer, places, batch)
    _check_padding(scorer, places[0], batch)
    _check_alone(scorer, batch)
    return replace(
        draft,
        known_sites=[replace(s, every_position=_is_causal(draft, s, batch)) for s in sites],
        head=_measured_head(draft, batch),
        head_is_next=list(whole)[-1] == places[0].name,
    )


def _probe(sequences: Sequences, max_length: int, n_items: int) -> Batch:
    affordable = SCORES_AT_ONCE // (max_length * n_items)
    batch = probe_batch(sequences, max_length, max(FEWEST_PROBES, min(N_PROBES, affordable)))
    if not len(batch.lengths):
        raise NotEnoughData("No history has two items or more: there is nothing to look at.")
    return batch


def _check_alone(scorer: ModelCaller, batch: Batch) -> None:
    """Histories have the same scores in a batch as alone, where they are not padded."""
    lengths = batch.lengths.tolist()
    rows = [lengths.index(length) for length in sorted(set(lengths))[:N_ALONE]]
    scores = scorer.scores(batch)
    for row in rows:
        alone = scorer.scores(Batch(*(t[row : row + 1] for t in batch)))[0]
        share = max(BATCH_TOLERANCE, 8 * torch.finfo(alone.dtype).eps)  # half precision is coarse
        if not torch.allclose(scores[row], alone, rtol=0, atol=share * float(alone.abs().max())):
            raise CannotOpenModel(
                f"Scores of {scorer.name} for a history depend on the others in its batch: let "
                "make_batch pad every batch to max_length, or the model leave out what is padding."
            )


def _with_batch_axis(scorer: ModelCaller, place: Place, batch: Batch) -> Place:
    """The place with ``batch_first`` set by which of its dimensions is that of histories."""
    n = len(batch.lengths)
    for size in (n, n - 1):  # where one shape is square the other is not
        seen = scorer.passing([place], Batch(*(t[:size] for t in batch)))[place.name]
        shape = tuple(seen[0].shape) if seen else ()
        if len(shape) != 3 or shape[0] != shape[1] or n == 1:
            break
    return replace(place, batch_first=len(shape) != 3 or shape[0] == size or shape[1] != size)


def _site(scorer: ModelCaller, place: Place, batch: Batch) -> Site:
    """The site of a place; CannotOpenModel if scores do not come from its states."""
    width = scorer.states([place], batch)[place.name].shape[-1]
    shift = torch.linspace(-1, 1, width)

    def moved(states: torch.Tensor) -> torch.Tensor:
        return states + states.abs().max() * shift.to(states)

    before = scorer.scores(batch)
    with scorer.edited(place, moved):
        same = (before == scorer.scores(batch)).all(1)
    with scorer.edited(place, moved, newest=True):
        aside = (before == scorer.scores(batch)).all(1)
    if bool(same.all()):
        raise CannotOpenModel(
            f"Scores of {scorer.name} stay the same when the states at {place.name!r} change: "
            "choose a submodule that they come from (of a tuple, the first is taken)."
        )
    if bool(same.any()):
        sizes, other = batch.lengths[same].tolist(), _other(scorer.padding)
        raise CannotOpenModel(
            f"Scores of {scorer.name} after {len(sizes)} of {len(same)} histories, of {min(sizes)} "
            f"to {max(sizes)} items, stay the same when the states of their items at "
            f"{place.name!r} change: they are taken from a position of padding. If the model reads "
            f"its last position, let make_batch pad on the {other} and say padding={other!r}; or "
            "let score return (histories, positions, items)."
        )
    if bool(aside.any()):
        raise CannotOpenModel(
            f"Scores of {scorer.name} after {int(aside.sum())} of {len(aside)} histories stay the "
            f"same when the state of their last item at {place.name!r} changes: it is not where "
            "the prediction is made. Let make_batch put items, and a mask behind them, where they "
            "were in the training; or let score return (histories, items)."
        )
    return Site(place.name, "inside the model", width, every_position=False)


def _check_placed(scorer: ModelCaller, places: list[Place], batch: Batch) -> None:
    """Refuse states by position where it is not known at which one the prediction is made."""
    if not scorer.layout.unplaced:
        return
    for name, states in scorer.states(places, batch).items():
        if states.dim() == 3:
            raise CannotOpenModel(
                f"make_batch {scorer.layout.unplaced}, and states at {name!r} are by position: let "
                "it put the oldest item first and at most one token, where the prediction is made, "
                "behind the newest; or choose a submodule that gives one state for each history."
            )


def _check_padding(scorer: ModelCaller, place: Place, batch: Batch) -> None:
    """Refuse a model whose last item's state is not where ``padding`` puts it.

    It is the first state to change when the last item does, unless the model reads both ways; then
    it changes at least too.
    """
    states, last = scorer.states([place], batch)[place.name], batch.lengths - 1
    if states.dim() != 3:
        return
    items, row = batch.items.clone(), torch.arange(len(last))
    items[row, last] = torch.where(items[row, last] == 1, 2, 1)
    after = scorer.states([place], batch._replace(items=items))[place.name]
    moved = (after != states).any(2)
    other = _other(scorer.padding)
    ours = scorer.span(batch).newest(states.shape[1])
    theirs = Span(batch.lengths, other).newest(states.shape[1])
    first = moved.int().argmax(1)
    mistaken = torch.equal(first, theirs) and not torch.equal(first, ours)
    if mistaken or float(moved[row, ours].float().mean()) < 0.5:
        raise CannotOpenModel(
            f"The states of the last items are not where padding={scorer.padding!r} puts them at "
            f"{place.name!r}: say padding={other!r} if make_batch pads there, and let it add no "
            "positions of its own."
        )


def _other(side: Padding) -> Padding:
    return "left" if side == "right" else "right"


def _is_causal(recommender: TorchRecommender, site: Site, batch: Batch) -> bool:
    place = recommender.places[recommender.known_sites.index(site)]
    states = recommender.scorer.states([place], batch)[site.name]
    return states.dim() == 3 and is_causal(recommender, site.name, batch)


def _measured_head(recommender: TorchRecommender, batch: Batch) -> LinearHead | None:
    """Scores of the states 0, e_1, ..., e_d: where scores are linear, that is the head."""
    width = recommender.known_sites[0].width
    one = Batch(*(t[:1] for t in batch))
    size = float(recommender.represent(batch).abs().mean()) or 1.0
    zero, *units = torch.cat([torch.zeros(1, width), size * torch.eye(width)])

    def score(state: torch.Tensor) -> torch.Tensor:
        with recommender.edit(partial(_all_alike, state)):
            return recommender.score(one)[0]

    at_zero = score(zero)
    items = at_zero.new_empty(len(at_zero), width)
    for column, unit in enumerate(units):
        items[:, column] = (score(unit) - at_zero) / size
    head = LinearHead(items, at_zero if bool(at_zero.any()) else None)
    return head if verify_head(recommender, head, batch) else None


def _all_alike(state: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    return state.to(states).expand_as(states)
